"""Members trained together do what each does alone, and the stack keeps what modules keep."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from trainers import train
from trainers.members import Stack, build, check_members, seed_of
from trainers.settings import SettingError, TrialConfig

DIGITS = {
    "dataset.name": "digits",
    "dataset.images": 40,
    "sprites.count": 3,
    "sprites.hidden": 32,
    "encoder.width": 4,
    "training.epochs": 2,
    "training.batch_size": 12,
    "transformations.strategy": "all",
}
SCENES = {
    **DIGITS,
    "dataset.name": "multi_dsprites",
    "dataset.size": 16,
    "dataset.images": 20,
    "model.kind": "multilayer",
    "sprites.size": 8,
}
EXACT = {**SCENES, "model.mix": "exact"}
#: What members may differ in.
OWN = (
    {"seed": 3, "optimizer.learning_rate": 1e-3, "regularisers.binary.weight": 0.0},
    {"seed": 4, "optimizer.learning_rate": 3e-3, "regularisers.binary.weight": 0.1},
    {"seed": 5, "optimizer.learning_rate": 1e-3, "regularisers.binary.weight": 0.01},
)


@pytest.mark.parametrize("kind", ["linear", "weight_prediction"])
@pytest.mark.parametrize("base", [DIGITS, SCENES, EXACT], ids=["clustering", "layers", "exact mix"])
def test_members_equal_separate_runs(base, kind):
    configs = [TrialConfig.from_flat({**base, "decision.kind": kind, **own}) for own in OWN]
    together = list(train(configs, device="cpu"))
    for member, config in enumerate(configs):
        for packed, alone in zip(together, train([config], device="cpu"), strict=True):
            assert packed.epoch == alone.epoch
            for name in ("train/loss", "train/reconstruction", "val/reconstruction"):
                assert packed.metrics[member][name] == pytest.approx(alone.metrics[0][name], rel=1e-3), name


@pytest.mark.parametrize("base", [DIGITS, SCENES], ids=["clustering", "layers"])
def test_members_that_take_the_best_sprite_equal_separate_runs(base):
    configs = [TrialConfig.from_flat({**base, "decision.kind": "min_loss", "seed": seed}) for seed in (1, 2)]
    together = next(iter(train(configs, device="cpu")))
    for member, config in enumerate(configs):
        alone = next(iter(train([config], device="cpu")))
        assert together.metrics[member]["train/loss"] == pytest.approx(alone.metrics[0]["train/loss"], rel=1e-3)


def test_members_may_differ_in_weights_and_the_settings_these_bring():
    with_and_without = [{"regularisers.frequency.weight": 0.0}, {"regularisers.frequency.weight": 0.1}]
    check_members([TrialConfig.from_flat({**DIGITS, **own}) for own in with_and_without])
    different = [
        {"regularisers.frequency.weight": 0.1, "regularisers.frequency.threshold": t, "seed": i}
        for i, t in enumerate((0.2, 0.4))
    ]
    with pytest.raises(SettingError, match=r"threshold is 0\.2 in one member and 0\.4 in another"):
        check_members([TrialConfig.from_flat({**DIGITS, **own}) for own in different])


def test_a_threshold_counts_even_when_the_first_member_has_no_such_penalty():
    weights = [{"regularisers.frequency.weight": 0.0}, {"regularisers.frequency.weight": 10.0}]
    settings = [
        w | ({"regularisers.frequency.threshold": 1.0} if w["regularisers.frequency.weight"] else {}) for w in weights
    ]
    configs = [TrialConfig.from_flat({**DIGITS, **own}) for own in settings]
    together, alone = next(iter(train(configs, device="cpu"))), next(iter(train(configs[1:], device="cpu")))
    assert together.metrics[1]["train/loss"] == pytest.approx(alone.metrics[0]["train/loss"], rel=1e-3)


def test_members_of_other_shapes_are_refused():
    configs = [TrialConfig.from_flat({**DIGITS, "encoder.pool": pool}) for pool in (1, 2)]
    with pytest.raises(SettingError, match=r"encoder.pool is 1 in one member and 2 in another; .* differ in seed"):
        check_members(configs)
    with pytest.raises(SettingError, match=r"model.kind is 'clustering'"):
        check_members([TrialConfig.from_flat(DIGITS), TrialConfig.from_flat({**DIGITS, "model.kind": "multilayer"})])


class Counter(nn.Module):
    """A linear map that counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(2, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, method, *args, **flags):
        return getattr(self, method)(*args, **flags)

    def run(self, offset, x, *, twice=False):
        if self.training:
            self.calls += 1
        return self.map(x) * (2 if twice else 1) + offset


@pytest.mark.parametrize("count", [1, 3])
def test_a_stack_calls_every_member_with_its_own_state(count):
    modules = [Counter() for _ in range(count)]
    stack, x, offset = Stack(modules), torch.randn(count, 4, 2), torch.tensor(0.5)
    expected = torch.stack([m.map(own) * 2 + 0.5 for m, own in zip(modules, x, strict=True)]).detach()
    for _ in range(2):
        assert_close(stack.call("run", (x,), (offset,), training=True, twice=True).detach(), expected)
    stack.call("run", (x,), (offset,), training=False)
    assert stack.buffers["calls"].tolist() == [2.0] * count


def test_gradients_of_members_do_not_mix():
    stack = Stack([Counter() for _ in range(3)])
    out = stack.call("run", (torch.ones(3, 4, 2),), (torch.tensor(0.0),), training=False)
    (gradient,) = torch.autograd.grad(out[1].sum(), [stack.parameters["map.weight"]])
    assert gradient[1].abs().min() > 0 and not gradient[[0, 2]].any()


def test_building_leaves_the_global_random_state_alone_and_depends_on_seeds_only():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = build(lambda member: Counter(), [7, 8])
    assert torch.rand(3).equal(expected)
    second = build(lambda member: Counter(), [8])
    assert first.parameters["map.weight"][1].equal(second.parameters["map.weight"][0])
    assert not first.parameters["map.weight"][0].equal(first.parameters["map.weight"][1])


def test_seeds_of_different_purposes_are_unrelated():
    seeds = {seed_of(s, purpose, epoch) for s in range(20) for purpose in ("order", "noise") for epoch in range(20)}
    assert len(seeds) == 800 and all(0 <= s < 2**32 for s in seeds)
