"""Decisions: rows are probabilities, noise only comes in from outside, temperatures mean what they say."""

import pytest
import torch
from torch.testing import assert_close

from trainers.decisions import DECISIONS, PredictsProbabilities, choose, gumbel, one_hot

PREDICTING = DECISIONS.names(PredictsProbabilities)
SIZES = dict(features=6, layers=2, sprites=3, latent=5)


def make(name, *, empty=True, **settings):
    torch.manual_seed(0)
    member = DECISIONS[name]
    return member(member.Config(**settings), **SIZES, empty=empty)


@pytest.mark.parametrize("activation", ["softmax", "gumbel_softmax", "hard_gumbel_softmax"])
@pytest.mark.parametrize("name", PREDICTING)
@pytest.mark.parametrize("empty", [True, False])
def test_rows_are_probabilities(name, activation, empty):
    decide = make(name, empty=empty, activation=activation)
    noise = gumbel(torch.rand(7, 2, 3 + empty))
    p = decide(torch.randn(7, 6), torch.randn(3, 5), noise)
    assert p.shape == (7, 2, 3 + empty)
    assert_close(p.sum(-1), torch.ones(7, 2))
    assert (p > -1e-6).all()  # a hard choice is one-hot up to rounding


@pytest.mark.parametrize("name", PREDICTING)
def test_a_forbidden_empty_sprite_gets_nothing_and_the_others_keep_their_odds(name):
    decide, f, z = make(name, activation="softmax"), torch.randn(4, 6), torch.randn(3, 5)
    free, without = decide(f, z), decide(f, z, allow_empty=False)
    assert (without[..., -1] == 0).all()
    assert_close(without[..., :-1], free[..., :-1] / free[..., :-1].sum(-1, keepdim=True))


@pytest.mark.parametrize("name", PREDICTING)
def test_evaluation_is_the_plain_softmax_whatever_the_activation(name):
    f, z = torch.randn(4, 6), torch.randn(3, 5)
    soft, noisy = make(name, activation="softmax"), make(name, activation="gumbel_softmax")
    assert_close(soft(f, z), noisy(f, z))


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
def test_the_temperature_starts_where_it_is_set(temperature, learned):
    decide = make("linear", temperature=temperature, learned_temperature=learned, activation="softmax")
    f = torch.randn(3, 6)
    assert_close(decide(f, None), (decide.scores(f, None) / temperature).softmax(-1))
    assert sum(1 for n, _ in decide.named_parameters() if "temperature" in n) == learned


def test_hard_choices_are_one_hot_with_the_gradient_of_the_soft_ones():
    scores, noise = torch.randn(5, 4, requires_grad=True), gumbel(torch.rand(5, 4))
    direction = torch.randn(5, 4)
    hard = choose(scores, 0.7, "hard_gumbel_softmax", noise)
    soft = choose(scores, 0.7, "gumbel_softmax", noise)
    assert_close(hard, one_hot(soft))
    assert_close(*(torch.autograd.grad((p * direction).sum(), scores)[0] for p in (hard, soft)))


def test_gumbel_noise_has_its_mean_and_spread_and_is_always_finite():
    noise = gumbel(torch.rand(200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert noise.var().item() == pytest.approx(torch.pi**2 / 6, abs=0.02)
    assert gumbel(torch.tensor([0.0, 1.0])).isfinite().all()


def test_weight_prediction_prefers_the_sprite_whose_code_is_the_query():
    decide = make("weight_prediction", empty=False, activation="softmax")
    f, z = torch.randn(1, 6), torch.randn(3, 5)
    query = decide.query(f).unflatten(-1, (2, 5))
    z[1] = query[0, 0].detach()
    assert decide(f, z)[0, 0].argmax().item() == 1
    # ⟨norm(q), norm(z)⟩ of equal vectors is their length 5, divided by √6 features
    assert decide.scores(f, z)[0, 0, 1].item() == pytest.approx(5 / 6**0.5, rel=1e-3)


def test_weight_prediction_has_codes_of_its_own_when_sprites_have_none():
    torch.manual_seed(0)
    member = DECISIONS["weight_prediction"]
    decide = member(member.Config(activation="softmax"), features=6, layers=2, sprites=3, latent=0, empty=True)
    assert decide.codes.shape == (4, 128)
    assert decide(torch.randn(2, 6), None).shape == (2, 2, 4)
