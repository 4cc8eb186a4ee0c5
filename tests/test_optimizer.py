"""Adam over stacked members against torch.optim.Adam on each member alone."""

import pytest
import torch
from torch.testing import assert_close

from trainers.optimizer import OptimizerConfig, Rate, StackedAdam, learning_rates


def test_members_are_stepped_as_torch_adam_steps_them_alone():
    g = torch.Generator().manual_seed(0)
    start = {"a": torch.randn(3, 4, 5, generator=g), "b": torch.randn(3, 7, generator=g)}
    rates = {"a": Rate((1e-2, 3e-3, 1e-2), 0.1), "b": Rate((1e-2, 3e-3, 1e-2))}
    stacked = {n: p.clone() for n, p in start.items()}
    ours = StackedAdam(stacked)
    alone = [{n: torch.nn.Parameter(p[m].clone()) for n, p in start.items()} for m in range(3)]
    theirs = [
        torch.optim.Adam(
            [
                {"params": [alone[m][n]], "weight_decay": rates[n].weight_decay, "lr": rates[n].learning_rates[m]}
                for n in start
            ]
        )
        for m in range(3)
    ]
    for step in range(6):
        gradients = {n: torch.randn(p.shape, generator=g) for n, p in start.items()}
        if step < 3:
            gradients["b"] = None  # joins later, afresh
        ours.step(gradients.items(), rates)
        for m in range(3):
            for n in start:
                alone[m][n].grad = None if gradients[n] is None else gradients[n][m].clone()
            theirs[m].step()
    for n in start:
        assert_close(stacked[n], torch.stack([alone[m][n].detach() for m in range(3)]))
    assert ours.steps["a"].tolist() == [6, 6, 6] and ours.steps["b"].tolist() == [3, 3, 3]


def test_gradients_of_any_memory_layout_are_read_right():
    g = torch.Generator().manual_seed(0)
    gradient, rates = torch.randn(2, 5, 3, generator=g), {"p": Rate((0.1, 0.1))}
    plain, transposed = StackedAdam({"p": torch.zeros(2, 3, 5)}), StackedAdam({"p": torch.zeros(2, 3, 5)})
    plain.step([("p", gradient.transpose(1, 2).contiguous())], rates)
    transposed.step([("p", gradient.transpose(1, 2))], rates)
    assert_close(plain.parameters["p"], transposed.parameters["p"])


def test_a_parameter_without_gradient_is_left_alone_even_with_decay():
    p = torch.ones(2, 3)
    ours = StackedAdam({"p": p})
    ours.step([("p", None)], {"p": Rate((0.1, 0.1), 0.5)})
    assert p.tolist() == torch.ones(2, 3).tolist() and ours.steps["p"].tolist() == [0, 0]


def test_state_goes_through_a_checkpoint():
    g = torch.Generator().manual_seed(0)
    p = torch.randn(2, 3, generator=g)
    first, rates = StackedAdam({"p": p.clone()}), {"p": Rate((0.1, 0.2))}
    first.step([("p", torch.randn(2, 3, generator=g))], rates)
    second = StackedAdam({"p": first.parameters["p"].clone()})
    second.load(first.state())
    gradient = torch.randn(2, 3, generator=g)
    for one in (first, second):
        one.step([("p", gradient)], rates)
    assert first.parameters["p"].equal(second.parameters["p"])


def test_rows_are_copied_with_their_moments_and_not_shared_afterwards():
    p = torch.arange(6.0).reshape(1, 3, 2)
    ours, rates = StackedAdam({"p": p}), {"p": Rate((0.1,))}
    ours.step([("p", torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))], rates)
    before = p.clone()
    ours.copy_rows("p", torch.tensor([[0, 1, 0]]))
    assert p[0, 2].tolist() == before[0, 0].tolist() and p[0, 1].tolist() == before[0, 1].tolist()
    first, second = ours.moments["p"]
    assert first[0, 2].equal(first[0, 0]) and second[0, 2].equal(second[0, 0])
    ours.step([("p", torch.tensor([[[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]]))], rates)
    assert not p[0, 2].equal(p[0, 0])


@pytest.mark.parametrize(
    ("done", "sprites", "expected"), [(0.5, True, 0.1), (0.875, True, 0.1), (0.875, False, 0.01), (0.9, False, 0.01)]
)
def test_learning_rates_drop_once_and_may_spare_the_sprites(done, sprites, expected):
    config = OptimizerConfig(decay_sprites=False)
    assert learning_rates([0.1], config, done=done, sprites=sprites) == (pytest.approx(expected),)


def test_a_drop_at_the_end_never_comes():
    assert learning_rates([0.1], OptimizerConfig(decay_at=1.0), done=1.0, sprites=False) == (0.1,)
