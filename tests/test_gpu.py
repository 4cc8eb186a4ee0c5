"""A step can be recorded as a CUDA graph, and on a GPU everything is what it is on a CPU."""

import traceback

import pytest
import torch
import yaml
from test_points import ANCHORS, CHEAP, CLOUDS, DIGITS, POINTS, SCENES, flatten
from torch.utils._python_dispatch import TorchDispatchMode

from trainers import datasets, train
from trainers.cuda_graph import WARM_UP
from trainers.settings import TrialConfig
from trainers.training import Trainer

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
BASES = {"multilayer": SCENES, "anchors": ANCHORS, "earth_parser": CLOUDS}


def members(path, seeds=(0,), **changes):
    """Of a published point, at small sizes."""
    given = dict(flatten(yaml.safe_load(path.read_text())["settings"]))
    small = {"sprites.hidden": 32} if given["sprites.kind"] == "mlp" else {}
    base = BASES.get(given.get("model.kind"), DIGITS)
    sizes = {**CHEAP, **small, "dataset.images": 120, "training.batch_size": 16, "training.report_every": 8, **changes}
    return [TrialConfig.from_flat({**base, **given, **sizes, "seed": seed}) for seed in seeds]


def trainer(configs, device="cpu"):
    return Trainer(configs, datasets.load(configs[0], None), device)


class Watch(TorchDispatchMode):
    """Notes what reads the device, or copies to it what the host made."""

    WAITING = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "lift_fresh",
        "_linalg_check_errors",
        "_unique2",
        "prod",
        "cumprod",
    )  # the last two in their gradients, which do otherwise while they are watched

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        indices = args[1] if name.startswith("index") and isinstance(args[1], (list, tuple)) else ()
        if name in self.WAITING or any(i is not None and i.dtype == torch.bool for i in indices):
            self.seen.add((name, "".join(traceback.format_stack(limit=12))))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
def test_no_step_waits_for_the_device(path):
    # two members, as F.one_hot of plain tensors reads them on a CPU and only there
    made, watch = trainer(members(path, (0, 1))), Watch()
    step = made._one_step

    def watched(*args):
        with watch:
            return step(*args)

    made._one_step = watched
    made.one_epoch()
    made.epoch = made.config.training.epochs - 1  # with all that joins later
    made.one_epoch()
    assert not watch.seen, watch.seen


def test_what_waits_is_noticed():
    with Watch() as watch:
        x = torch.ones(3)
        assert x.sum().item() == 3 and torch.tensor([1.0]).any() and len(x[x > 0]) == 3 and x.prod() == 1
    assert {name for name, _ in watch.seen} >= {"_local_scalar_dense", "lift_fresh", "index", "prod"}


@pytest.fixture
def full_precision():
    """Convolutions in float32, as on a CPU, and not in the 19 bits that GPUs take for it by default."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before


@needs_gpu
@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
def test_loss_and_gradients_are_those_of_a_cpu(path, full_precision):
    configs = members(path, (0, 1))
    phase = trainer(configs).model.phase(configs[0].training.epochs - 1, training=True)
    found = []
    for device in ("cpu", "cuda"):
        made = trainer(configs, device)
        torch.manual_seed(0)
        with torch.no_grad():  # away from the start, where most parameters are zero and nothing would show
            for value in made.stack.parameters.values():
                value.add_(0.05 * torch.randn(value.shape).to(device))
        noise = {n: torch.rand(2, *shape).to(device) for n, shape in made.model.noise(16).items()}
        x = datasets.floats(made.images[made.train_index[:32]]).unflatten(0, (2, 16))
        outcome = made.stack.call("loss", (x, noise, made.weights), training=True, phase=phase)
        parameters = list(made.stack.parameters.values())
        gradients = torch.autograd.grad(outcome.loss.sum(), parameters, allow_unused=True)
        found.append([outcome.loss.detach().cpu(), *(g.cpu() for g in gradients if g is not None)])
    for cpu, gpu in zip(*found, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-3, atol=1e-3 * float(cpu.abs().max()) + 1e-7)


def trained(configs, epochs):
    """The trainer, and loss and error of each epoch, of members trained on a GPU."""
    made, sums = trainer(configs, "cuda"), []
    for _ in range(epochs):
        sums.append(torch.stack([*made.one_epoch().values()]))
        made.epoch += 1
    return made, torch.stack(sums).cpu()


@needs_gpu
@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)], ids=["alone", "three"])
def test_a_replayed_step_is_the_plain_step(path, seeds, full_precision):
    few = {"optimizer.learning_rate": 1e-4}  # rounding differs from run to run and must not grow
    plain, expected = trained(members(path, seeds, **few, **{"training.cuda_graph": False}), 8)
    replayed, found = trained(members(path, seeds, **few), 8)
    assert plain.graph is None and replayed.graph[1].graph is not None
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-5)
    steps = plain.optimizer.steps
    assert all(replayed.optimizer.steps[n].equal(s) for n, s in steps.items()), "each step counted once"


@needs_gpu
def test_a_graph_is_recorded_anew_when_the_curriculum_or_the_rate_moves_on():
    configs = members(POINTS[0], **{"training.epochs": 8, "optimizer.decay_at": 0.75})
    made, recorded = trainer(configs, "cuda"), []
    for _ in range(8):
        made.one_epoch()
        made.epoch += 1
        recorded.append(made.graph[1])
    assert len({id(graph) for graph in recorded}) > 2 and recorded[6] is recorded[7]
    assert recorded[7].runs == WARM_UP


@needs_gpu
@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
def test_members_on_a_gpu_equal_separate_runs(path, full_precision):
    few = {"optimizer.learning_rate": 1e-4}
    together = trained(members(path, (0, 1), **few), 3)[1]
    alone = [trained(members(path, (seed,), **few), 3)[1] for seed in (0, 1)]
    torch.testing.assert_close(together, torch.cat(alone, -1), rtol=1e-2, atol=1e-5)


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_no_replay_waits_for_the_gpu(monkeypatch):
    made, _ = trained(members(POINTS[0], **{"transformations.strategy": "all"}), 2)
    order = made._order()  # made on the host once an epoch
    monkeypatch.setattr(made, "_order", lambda: order)
    torch.cuda.set_sync_debug_mode("error")
    try:
        made.one_epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_resumed_training_goes_on_as_it_would_have(tmp_path, full_precision):
    configs = members(POINTS[0], **{"training.report_every": 1, "optimizer.learning_rate": 1e-4})
    whole = []
    for progress in train(configs, device="cuda"):
        if progress.epoch == 3:
            progress.save(tmp_path / "c")
        whole.append(progress.metrics[0]["train/loss"])
    resumed = [p.metrics[0]["train/loss"] for p in train(configs, device="cuda", resume=tmp_path / "c")]
    assert resumed == pytest.approx(whole[3:], rel=1e-2)


@needs_gpu
def test_a_step_that_waits_is_refused_with_what_to_do(monkeypatch):
    made = trainer(members(POINTS[0], **{"transformations.strategy": "all"}), "cuda")
    step = made._one_step

    def waits(*args):
        p = step(*args)
        p.sum().item()
        return p

    monkeypatch.setattr(made, "_one_step", waits)
    with pytest.raises(RuntimeError, match=r"cannot be recorded as a CUDA graph .* training\.cuda_graph: false"):
        made.one_epoch()
