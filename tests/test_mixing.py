"""The mix of placed sprites: the plain formula, its gradients, and members one by one."""

import pytest
import torch
from torch.func import vmap

from trainers.mixing import mix_of_masked
from trainers.transformations import soft_clamp

B, L, K, H, W = 2, 3, 4, 3, 5


def plain(placed, noise, p):
    if noise is None:
        colours, masks = placed.split((placed.shape[-3] - 1, 1), -3)
    else:
        colours, masks, support = placed.split((placed.shape[-3] - 2, 1, 1), -3)
        masks = soft_clamp(masks + support * noise[:, None])
    shares = p[..., None, None, None] * masks
    return shares.sum(2), (shares * colours).sum(2)


def given(channels, *, noisy, members=()):
    """Placed sprites with rows and channels as warps leave them, noise and p; many masks are where the clamp bends."""
    g = torch.Generator().manual_seed(channels)
    kinds = channels + 1 + noisy
    placed = 2 * torch.rand(*members, B, L, H, K, kinds, W, generator=g, dtype=torch.float64) - 0.5
    placed[..., channels, :].round_()
    if noisy:
        placed[..., channels + 1, : W // 2] = 0
    noise = torch.rand(*members, K, H, W, generator=g, dtype=torch.float64) - 0.5 if noisy else None
    p = torch.rand(*members, B, L, K, generator=g, dtype=torch.float64).softmax(-1)
    return placed.movedim(-4, -2).requires_grad_(), noise, p.requires_grad_()


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_and_gradients_are_those_of_the_formula(channels, noisy):
    placed, noise, p = given(channels, noisy=noisy)
    ours, expected = (f(placed, noise, p) for f in (mix_of_masked, plain))
    weights = [torch.randn_like(x) for x in expected]
    found, right = (torch.autograd.grad(made, (placed, p), weights) for made in (ours, expected))
    for a, b in zip((*ours, *found), (*expected, *right), strict=True):
        torch.testing.assert_close(a, b)
    assert found[0].stride() == placed.stride()


def test_the_gradient_is_that_of_small_differences():
    placed, noise, p = given(3, noisy=True)
    with torch.no_grad():
        placed[..., 3, :, :] += 0.01  # off the ends of the clamp, where there are two slopes
    assert torch.autograd.gradcheck(lambda a, q: mix_of_masked(a, noise, q), (placed, p), fast_mode=True)


def test_a_compiled_mix_has_the_same_gradients():
    placed, noise, p = given(3, noisy=True)

    def total(placed, p):
        return sum(x.square().sum() for x in mix_of_masked(placed, noise, p))

    compiled = torch.compile(total, backend="aot_eager", fullgraph=True)
    found, right = (torch.autograd.grad(f(placed, p), (placed, p)) for f in (compiled, total))
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
def test_members_are_mixed_as_if_alone(noisy):
    placed, noise, p = given(3, noisy=noisy, members=(2,))
    together = vmap(mix_of_masked, (0, 0 if noisy else None, 0))(placed, noise, p)
    apart = [mix_of_masked(placed[m], noise[m] if noisy else None, p[m]) for m in range(2)]
    for ours, alone in zip(together, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(alone))
    found, right = (
        torch.autograd.grad(sum(x.square().sum() for x in made), (placed, p))
        for made in (together, [x for a in apart for x in a])
    )
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)
