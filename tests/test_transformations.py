"""Properties of every transformation and of sequences; hand-computed warps."""

import pytest
import torch
from torch.testing import assert_close

from trainers.settings import SettingError, TrialConfig
from trainers.transformations import (
    TRANSFORMATIONS,
    ColourTransformation,
    Heads,
    Sequence,
    SpatialTransformation,
    active,
    milestones,
    parse,
    settled,
    soft_clamp,
)
from trainers.transformations.family import linear_grid, sample
from trainers.transformations.morphology import soft_morphology

C = 3
MOVING = [n for n, t in TRANSFORMATIONS.items() if t.parameters(C)]


def sequence(*names, slots=4, **options):
    size = options.pop("size", (12, 10))
    return Sequence(names, slots=slots, features=16, channels=C, in_size=size, out_size=size, **options)


def stirred(seq):
    for heads in seq.heads.values():
        torch.nn.init.normal_(heads.weight3, std=0.05)
    return seq


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMATIONS.items() if t.starts_as_identity])
def test_an_untrained_transformation_leaves_sprites_as_they_are(name):
    sprites = torch.rand(4, C + 1, 12, 10)
    moved = sequence("identity", name)(torch.randn(5, 16), sprites, (True, name != "identity"))
    assert_close(moved, sprites.expand_as(moved), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", MOVING)
def test_shared_sprites_and_their_copies_per_image_are_transformed_alike(name):
    seq, features = stirred(sequence(name)), torch.randn(5, 16)
    sprites = torch.rand(4, C + 1, 12, 10)
    copies = sprites.expand(5, *sprites.shape)
    assert_close(seq(features, sprites, (True,)), seq(features, copies, (True,), batched=True))


@pytest.mark.parametrize("name", MOVING)
def test_extra_axes_share_the_parameters_of_their_slot(name):
    seq, features = stirred(sequence(name, slots=2)), torch.randn(3, 16)
    sprites = torch.rand(2, 5, C + 1, 12, 10)
    together = seq(features, sprites, (True,))
    assert together.shape == (3, 2, 5, C + 1, 12, 10)
    for k in range(5):
        assert_close(together[:, :, k], seq(features, sprites[:, k], (True,)))


@pytest.mark.parametrize("name", MOVING)
def test_gradients_reach_every_regressor_and_the_sprites(name):
    seq = stirred(sequence(name))
    sprites = torch.rand(4, C, 12, 10, requires_grad=True)
    seq(torch.randn(5, 16), sprites, (True,)).square().sum().backward()
    assert sprites.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in seq.parameters())


@pytest.mark.parametrize("name", MOVING)
def test_inactive_parts_do_nothing_and_get_no_gradient(name):
    seq, sprites = stirred(sequence("identity", name)), torch.rand(4, C, 12, 10)
    assert seq.is_identity((True, False)) and not seq.is_identity((True, True))
    assert_close(seq(torch.randn(5, 16), sprites, (True, False)), sprites)


@pytest.mark.parametrize("name", MOVING)
def test_members_of_a_stack_equal_separate_sequences(name):
    models = [stirred(sequence(name)) for _ in range(3)]
    state, _ = torch.func.stack_module_state(models)
    features, sprites = torch.randn(3, 5, 16), torch.rand(3, 4, C + 1, 12, 10)

    def call(parameters, f, s):
        return torch.func.functional_call(models[0], parameters, (f, s, (True,)))

    together = torch.vmap(call)(state, features, sprites)
    for i, model in enumerate(models):
        assert_close(together[i], model(features[i], sprites[i], (True,)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMATIONS.items() if issubclass(t, ColourTransformation)])
def test_colours_change_and_masks_do_not(name):
    seq, sprites = stirred(sequence(name)), torch.rand(4, C + 1, 12, 10)
    moved = seq(torch.randn(5, 16), sprites, (True,))
    assert_close(moved[:, :, C:], sprites[:, C:].expand(5, 4, 1, 12, 10))
    assert not torch.allclose(moved[:, :, :C], sprites[:, :C].expand(5, 4, C, 12, 10))


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMATIONS.items() if issubclass(t, SpatialTransformation)])
def test_a_warp_of_a_constant_image_with_its_border_repeated_changes_nothing(name):
    moved = stirred(sequence(name, padding="border"))(torch.randn(5, 16), torch.full((4, C, 12, 10), 0.3), (True,))
    assert_close(moved, torch.full_like(moved, 0.3))


def test_colour_scales_and_shifts_each_channel():
    beta = torch.tensor([[[1.0, 0.1, -0.5, 0.0, 0.0, 0.2]]])  # (w, b) of three channels
    out = TRANSFORMATIONS["color"].recolour(beta, torch.full((1, 1, 3, 1, 1), 0.4))
    assert_close(out.flatten(), torch.tensor([0.9, 0.2, 0.6]))


def test_contrast_turns_about_middle_grey_and_reaches_what_colour_reaches():
    beta, colours = torch.tensor([[[-1.5, 0.1]]]), torch.tensor([0.2, 0.5, 0.7]).view(1, 1, 1, 1, 3)
    out = TRANSFORMATIONS["contrast"].recolour(beta, colours)
    assert_close(out.flatten(), torch.tensor([0.75, 0.6, 0.5]))
    same = TRANSFORMATIONS["color"].recolour(torch.tensor([[[-1.5, 0.1 + 0.75]]]), colours)
    assert_close(out, same)


def test_soft_clamp_keeps_a_hundredth_of_what_is_outside():
    assert_close(soft_clamp(torch.tensor([-1.0, 0.5, 3.0])), torch.tensor([-0.01, 0.5, 1.02]))


def test_position_starts_at_half_size_in_the_middle_as_published():
    out = sequence("position", slots=1, size=(8, 8))(torch.randn(1, 16), torch.ones(1, C, 8, 8), (True,))
    inside = torch.zeros(8, 8)
    inside[2:6, 2:6] = 1
    assert_close(out[0, 0, 0], inside)


def test_a_sprite_that_shrank_to_nothing_has_finite_gradients():
    """e^100 overflows; whatever else is learned would be lost with it."""
    beta = torch.tensor([[100.0, 0.3, -0.2]], requires_grad=True)
    grid = TRANSFORMATIONS["position"].grid(beta, (8, 8))
    assert grid.isfinite().all()
    grid.sum().backward()
    assert beta.grad.isfinite().all()


def test_position_puts_the_centre_where_its_docstring_says():
    beta = torch.tensor([[0.0, -1.0, 0.5]])
    grid = TRANSFORMATIONS["position"].grid(beta, (64, 64))
    at = grid[0].square().sum(-1).argmin()
    centre = torch.tensor([at % 64, at // 64]) / 63 * 2 - 1
    assert_close(centre, torch.tensor([0.5, -0.25]), atol=0.03, rtol=0)


def test_a_shift_by_one_pixel_is_exact_and_zeros_come_in():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    theta = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])  # 0.5 is one of four pixels
    moved = sample(image, linear_grid(theta, (4, 4)), "zeros")[0, 0]
    assert_close(moved[:, :3], image[0, 0, :, 1:])
    assert_close(moved[:, 3], torch.zeros(4))


def test_moving_every_control_point_alike_moves_the_image_alike():
    beta = torch.tensor([0.25, -0.5]).repeat(1, 16)
    grid = TRANSFORMATIONS["tps"].grid(beta, (6, 6))
    still = TRANSFORMATIONS["tps"].grid(torch.zeros(1, 32), (6, 6))
    assert_close(grid - still, torch.tensor([0.25, -0.5]).expand(1, 6, 6, 2), atol=1e-5, rtol=0)


def test_heads_equal_separate_networks():
    heads, features = Heads(16, 3, 5, last_std=0.1), torch.randn(7, 16)
    out = heads(features)
    for s in range(3):
        x = (features @ heads.weight1[s].T + heads.bias1[s]).relu()
        x = (x @ heads.weight2[s].T + heads.bias2[s]).relu()
        assert_close(out[:, s], x @ heads.weight3[s].T + heads.bias3[s])


def config(**given):
    return TrialConfig.from_flat({f"transformations.{n}": v for n, v in given.items()}).transformations


@pytest.mark.parametrize(
    ("strategy", "starts"),
    [
        ("all", (0, 0, 0, 0)),
        ("id+rest", (0, 10, 10, 10)),
        ("id+g1+g2", (0, 10, 10, 50)),
        ("one-by-one", (0, 10, 30, 50)),
    ],
)
def test_strategies_start_parts_when_table_3_says(strategy, starts):
    own = {"strategy": strategy}
    if strategy != "all":
        own["first"] = 0.1
    if strategy in ("id+g1+g2", "one-by-one"):
        own["last"] = 0.5
    assert milestones(config(**own), ("identity", "color", "affine", "tps"), 100) == starts


def test_a_part_is_active_after_its_milestone_of_completed_epochs():
    assert active((0, 2, 3), 2) == (True, True, False)


def test_settled_is_when_the_last_part_joins():
    assert settled(config(sprite="identity_affine_tps", first=0.2, last=0.6)) == 0.6
    assert settled(config(sprite="identity", first=0.2, last=0.6)) == 0.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sprite": "identity_afine"}, "did you mean affine"),
        ({"sprite": "affine_affine"}, "once"),
        ({"first": 0.6, "last": 0.5}, "before transformations.first"),
    ],
)
def test_a_wrong_sequence_or_curriculum_is_refused(given, words):
    with pytest.raises(SettingError, match=words):
        config(**given)


def test_an_empty_sequence_is_the_identity():
    assert parse("") == ("identity",)


def test_morphology_is_a_dilation_an_erosion_or_a_weighted_mean():
    pixels = torch.rand(2, 1, 9, 8)
    kernel = torch.ones(2, 3, 3)
    inside = torch.nn.functional.pad(pixels, (1, 1, 1, 1))
    largest = torch.nn.functional.max_pool2d(inside, 3, 1)
    smallest = -torch.nn.functional.max_pool2d(-inside, 3, 1)
    mean = torch.nn.functional.avg_pool2d(inside, 3, 1)
    for alpha, wanted in ((60.0, largest), (-60.0, smallest), (0.0, mean)):
        assert_close(soft_morphology(pixels, torch.full((2,), alpha), kernel), wanted, atol=0.06, rtol=0)


def test_each_image_has_a_kernel_of_its_own():
    pixels, beta = torch.rand(3, 2, 8, 8), torch.randn(3, 50)
    kind = TRANSFORMATIONS["morphology"]
    together = kind.filter(beta, pixels)
    for i in range(3):
        assert_close(together[i], kind.filter(beta[i : i + 1], pixels[i : i + 1])[0])


def test_the_published_starts_are_the_published_ones():
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    blurred = TRANSFORMATIONS["blurredmorphology"].filter(torch.zeros(1, 50), dot)
    assert blurred[0, 0, 4, 4] == pytest.approx(0.756, abs=2e-3)
    assert blurred.sum() == pytest.approx(1, abs=0.02)
    for name in ("zoomedprojective", "zoomedtps"):
        beta = torch.zeros(1, TRANSFORMATIONS[name].parameters(1))
        corners = TRANSFORMATIONS[name].grid(beta, (5, 7))[0][[0, 0, -1, -1], [0, -1, 0, -1]]
        assert_close(corners, torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1]]), atol=1e-5, rtol=0)
