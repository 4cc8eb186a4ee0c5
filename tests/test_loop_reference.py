"""The batched models agree with a plain loop over sprites and layers, in loss and in every gradient."""

import sys
from pathlib import Path

import pytest
import torch

from trainers.settings import TrialConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from loop_reference import Loop
from step_time import SHAPES, images, settings

from trainers.training import Trainer

#: smaller than published: the equations do not depend on it
SMALL = {
    "training.batch_size": 6,
    "encoder.kind": "conv",
    "encoder.pool": 2,
    "sprites.latent": 16,
    "sprites.hidden": 32,
}
OTHERS = {
    "every motion": (
        "mnist",
        {"transformations.sprite": "identity_linearcolor_contrast_rotation_translation_similarity"},
    ),
    "thumbnail": ("gtsrb8", {"encoder.thumbnail": 5}),
    "thumbnail of scenes": ("multi_dsprites", {"encoder.thumbnail": 5, "decision.kind": "weight_prediction"}),
    "shared": ("mnist", {"transformations.shared": True}),
    "weighted sum": ("mnist", {"decision.loss": "weighted_sum"}),
    "weight prediction": ("multi_dsprites", {"decision.kind": "weight_prediction", "decision.temperature": 0.5}),
    "shared in layers": ("multi_dsprites", {"transformations.shared": True}),
    "undecided": ("multi_dsprites", {"regularisers.binary.weight": 0.1, "regularisers.frequency.weight": 0.3}),
    "no noise on masks": ("tetrominoes", {"training.mask_noise": 0.0}),
    "bent grounds": ("gtsrb8", {"model.kind": "multilayer", "model.mix": "exact", "model.layers": 1,
                                "transformations.sprite": "color_projective_tps",
                                "transformations.background": "color_projective_tps"}),
}  # fmt: skip
CASES = {name: (name, {}) for name in SHAPES} | OTHERS


@pytest.mark.parametrize("case", CASES)
def test_batched_model_equals_the_loop(case):
    published, changes = CASES[case]
    (channels, side), given, _ = SHAPES[published]
    config = settings({**given, **SMALL, **changes})
    trainer = Trainer([config], images((channels, min(side, 24)), 6), "cpu")
    torch.manual_seed(0)
    with torch.no_grad():  # away from the start, where most parameters are zero and nothing would show
        for value in trainer.stack.parameters.values():
            value.add_(0.1 * torch.randn_like(value))
    model = trainer.model
    model.load_state_dict({n: t[0] for n, t in trainer.stack.state().items()}, strict=False)
    reference = Loop(model.train())
    x = trainer.images.float() / 255
    noise = next(trainer._noise(len(x), 1))
    phase = model.phase(0, training=True)
    weights = {n: float(w) for n, w in trainer.weights.items()}

    outcome = trainer.stack.call("loss", (x[None], noise, trainer.weights), training=True, phase=phase)
    expected = reference.loss(x, {n: u[0] for n, u in noise.items()}, weights, phase)
    torch.testing.assert_close(outcome.loss[0], expected, atol=1e-5, rtol=1e-5)

    gradients = dict(
        zip(
            trainer.stack.parameters,
            torch.autograd.grad(outcome.loss.sum(), list(trainer.stack.parameters.values()), allow_unused=True),
            strict=True,
        )
    )
    expected.backward()
    compared = 0
    for name, parameter in reference.named_parameters():
        if name in gradients and gradients[name] is not None:
            torch.testing.assert_close(gradients[name][0], parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
            compared += 1
    assert compared
    for name, heads in (("sequence", "own"), ("layer_sequence", "placing")):
        if not hasattr(model, name):
            continue
        for part in getattr(model, name).heads:
            ours = gradients[f"{name}.heads.{part}.bias3"][0]
            theirs = torch.stack([slot.regressors[part][-1].bias.grad for slot in getattr(reference, heads)])
            if len(ours) < len(theirs):
                theirs = theirs.sum(0, keepdim=True)
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def test_cases_cover_both_kinds_of_model():
    kinds = {settings({**SHAPES[n][1], **c}).flat()["model.kind"] for n, c in CASES.values()}
    assert kinds == {"clustering", "multilayer"}
    assert all(isinstance(settings(given), TrialConfig) for _, given, _ in SHAPES.values())
