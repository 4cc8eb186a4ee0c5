"""Sprites: K learned prototype images s_k = (c_k, α_k), from free pixels or from a small network (§3.1)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .families import Family
from .kinds import OfImages
from .kmeans import kmeans
from .linear import Linear
from .settings import MULTILAYER, setting
from .transformations.colour import soft_clamp

GENERATORS = Family("sprites.kind")

_NEAR = 2e-3  #: std of a U-Net's last weights where its output is to start near a given image


class SpriteSet(NamedTuple):
    """Colours (K, C, h, w) soft-clamped to [0, 1]; masks (K, 1, h, w), not clamped, or None; codes (K, Z) or None."""

    colours: Tensor
    masks: Tensor | None
    codes: Tensor | None


@dataclass(frozen=True, kw_only=True)
class SpriteCount:
    """Settings of all sprites, those of points too (see `point_sprites`)."""

    count: int = setting(10, "sprites K to learn, without the empty one", low=1, high=1000)


@dataclass(frozen=True, kw_only=True)
class _SpriteSettings(SpriteCount):
    size: int = setting(0, "side of a sprite in pixels; 0 is the size of the image", low=0, when=MULTILAYER)
    mask_std: float = setting(
        0.25, "initial mask: std of its Gaussian bump, as a share of the sprite's side", above=0, when=MULTILAYER
    )
    freeze: float = setting(
        0.0,
        "share of the training during which the sprites' colours stay as they are",
        low=0,
        high=1,
        source="Table 11",
    )
    freeze_masks: float = setting(
        0.0, "share of the training during which whole sprites stay as they are", low=0, high=1, when=MULTILAYER
    )


@GENERATORS.add("pixels")
class Pixels(nn.Module, OfImages):
    """Sprites are free pixels (DTI-Clustering, Monnier et al. 2020).

    Args:
        config: settings.
        channels: colour channels C.
        size: (h, w) of a sprite.
        masks: whether sprites have masks.
        samples: some training images, (n, C, H, W) in [0, 1], to start from.
        generator: draws what the start needs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_SpriteSettings):
        init: str = setting(
            "sample", "initial colours", choices=("sample", "random", "constant", "gaussian", "mean", "kmeans")
        )
        constant: float = setting(0.9, "initial intensity", low=0, high=1, when={"sprites.init": "constant"})

    #: parameters whose first axis is the sprite: what a reassignment copies
    row_parameters: tuple[str, ...]

    def __init__(
        self,
        config: Any,
        *,
        channels: int,
        size: tuple[int, int],
        masks: bool,
        samples: Tensor,
        generator: torch.Generator,
    ):
        super().__init__()
        colours = initial_colours(config, channels, size, samples, generator)
        self.colours = nn.Parameter(colours)
        self.masks = nn.Parameter(gaussian(size, config.mask_std).repeat(config.count, 1, 1, 1)) if masks else None
        self.row_parameters = ("colours", "masks") if masks else ("colours",)

    def forward(self) -> SpriteSet:
        return SpriteSet(soft_clamp(self.colours), self.masks, None)


def initial_colours(
    config: Any, channels: int, size: tuple[int, int], samples: Tensor, generator: torch.Generator
) -> Tensor:
    """Colours (K, C, h, w) by ``sprites.init`` (the paper's Table 2 and §2.1 of its code)."""
    count = config.count
    if config.init == "constant":
        return torch.full((count, channels, *size), config.constant)
    if config.init == "random":
        return torch.rand(count, channels, *size, generator=generator)
    if config.init == "gaussian":
        return gaussian(size, config.mask_std).repeat(count, channels, 1, 1)
    resized = samples
    if samples.shape[-2:] != size:
        resized = F.interpolate(samples, size=size, mode="bilinear", align_corners=False)
    if config.init == "kmeans":
        return kmeans(resized.flatten(1), count, generator)[0].unflatten(1, resized.shape[1:])
    if config.init == "mean":
        picks = torch.randint(len(resized), (count, min(100, len(resized))), generator=generator)
        return torch.stack([resized[pick].mean(0) for pick in picks])
    picks = torch.randperm(len(resized), generator=generator)[:count]
    return resized[picks.repeat(-(-count // len(picks)))[:count]].clone()


def gaussian(size: tuple[int, int], std: float) -> Tensor:
    """A centred bump of height 1 at its (possibly in-between) centre, (1, h, w); std as a share of the side."""
    axes = [torch.exp(-((torch.arange(n) - (n - 1) / 2) / (std * n)).square() / 2) for n in size]
    return (axes[0][:, None] * axes[1])[None]


class Decoder(nn.Module):
    """Codes (K, Z) -> images (K, c, h, w) in (0, 1): Linear, GroupNorm, ReLU, Linear, sigmoid (MarioNette).

    With a `target` image in (0, 1) the output starts there, up to weights of standard deviation `std`.
    """

    def __init__(
        self,
        latent: int,
        hidden: int,
        channels: int,
        size: tuple[int, int],
        target: Tensor | None = None,
        std: float = 0.0,
    ):
        super().__init__()
        self.shape = (channels, *size)
        self.body = nn.Sequential(Linear(latent, hidden), nn.GroupNorm(8, hidden), nn.ReLU())
        self.head = Linear(hidden, channels * size[0] * size[1])
        if target is not None:
            with torch.no_grad():
                self.head.weight.normal_(0, std)
                self.head.bias.copy_(target.clamp(0.005, 0.995).logit().expand(self.shape).flatten())

    def forward(self, codes: Tensor) -> Tensor:
        return self.head(self.body(codes)).sigmoid().unflatten(1, self.shape)


@GENERATORS.add("mlp")
class MLP(nn.Module, OfImages):
    """Sprites are decoded from learned codes z_k by a two-layer network (MarioNette; the paper's §3.1).

    Arguments as for `Pixels`; colours and masks have decoders of their own and share the codes.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_SpriteSettings):
        latent: int = setting(128, "length of a sprite's code", low=1)
        hidden: int = setting(1024, "width of the hidden layer, a multiple of 8", low=8)
        value: float = setting(0.9, "initial intensity of every sprite", low=0.01, high=0.99, when=MULTILAYER)
        head_std: float = setting(
            0.01, "std of the last layer's initial weights: how far sprites differ at the start", low=0, when=MULTILAYER
        )

        def __post_init__(self) -> None:
            if self.hidden % 8:
                raise ValueError(f"hidden is {self.hidden}; its group normalisation needs a multiple of 8")

    row_parameters: tuple[str, ...] = ("codes",)

    def __init__(
        self,
        config: Any,
        *,
        channels: int,
        size: tuple[int, int],
        masks: bool,
        samples: Tensor,
        generator: torch.Generator,
    ):
        super().__init__()
        self.codes = nn.Parameter(torch.randn(config.count, config.latent, generator=generator))
        target = torch.tensor(config.value) if masks else None
        self.colour = Decoder(config.latent, config.hidden, channels, size, target, config.head_std)
        self.mask = None
        if masks:
            bump = gaussian(size, config.mask_std)
            self.mask = Decoder(config.latent, config.hidden, 1, size, bump, config.head_std)

    def forward(self) -> SpriteSet:
        masks = self.mask(self.codes) if self.mask is not None else None
        return SpriteSet(self.colour(self.codes), masks, self.codes)


class _Double(nn.Module):
    """Twice: convolution, batch normalisation over the sprites of now, ReLU."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.scale = nn.Parameter(torch.ones(2, width))
        self.shift = nn.Parameter(torch.zeros(2, width))

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate((self.conv1, self.conv2)):
            x = F.batch_norm(conv(x), None, None, self.scale[i], self.shift[i], training=True).relu()
        return x


class _UNet(nn.Module):
    """Latent images (K, 1, h, w) -> images (K, c, h, w), near `start` at first (Ronneberger et al. 2015)."""

    def __init__(self, width: int, channels: int, start: Tensor | None, std: float):
        super().__init__()
        widths = [width * 2**i for i in range(5)]
        self.down = nn.ModuleList(_Double(a, b) for a, b in itertools.pairwise([1, *widths]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.join = nn.ModuleList(_Double(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, channels, 1)
        self.register_buffer("start", start, persistent=False)
        if start is not None:
            nn.init.normal_(self.head.weight, 0, std)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor) -> Tensor:
        x, kept = latents, []
        for i, double in enumerate(self.down):
            x = double(F.max_pool2d(x, 2, ceil_mode=True) if i else x)
            kept.append(x)
        for grow, double, beside in zip(self.up, self.join, kept[-2::-1], strict=True):
            x = grow(x)[..., : beside.shape[-2], : beside.shape[-1]]
            x = double(torch.cat((beside, x), 1))
        made = self.head(x)
        return made if self.start is None else made + self.start


@GENERATORS.add("unet")
class UNet(nn.Module, OfImages):
    """Sprites are made from learned latent images by a U-Net (the paper's Table 2, §2.4 of its code).

    Arguments as for `Pixels`; colours and masks have networks of their own and share the latents. Normalisation
    is over the K sprites themselves, while training and after, so that the sprites are the same in both.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_SpriteSettings):
        width: int = setting(64, "channels of the U-Net's first level; each level below has twice as many", low=2)

    row_parameters: tuple[str, ...] = ("latents",)

    def __init__(
        self,
        config: Any,
        *,
        channels: int,
        size: tuple[int, int],
        masks: bool,
        samples: Tensor,
        generator: torch.Generator,
    ):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.count, 1, *size, generator=generator))
        self.colour = _UNet(config.width, channels, torch.tensor(0.9) if masks else None, _NEAR)
        self.mask = _UNet(config.width, 1, gaussian(size, config.mask_std), _NEAR) if masks else None

    def forward(self) -> SpriteSet:
        masks = self.mask(self.latents) if self.mask is not None else None
        return SpriteSet(soft_clamp(self.colour(self.latents)), masks, None)


class Background(nn.Module):
    """One opaque background, free pixels or decoded like the sprites; starts at the samples' median.

    The median over all images and pixels of a collection of scenes is the ground's own colour; starting
    there keeps a layer from being spent on the background.
    """

    def __init__(self, config: Any, *, channels: int, size: tuple[int, int], decoded: bool, samples: Tensor):
        super().__init__()
        start = samples.movedim(1, 0).flatten(1).median(1).values[:, None, None]
        self.code = self.pixels = self.decoder = None
        if decoded:
            self.code = nn.Parameter(torch.randn(1, config.latent))
            self.decoder = Decoder(config.latent, config.hidden, channels, size, start, 1e-4)
        else:
            self.pixels = nn.Parameter(start.expand(channels, *size).clone())

    def forward(self) -> Tensor:
        """(1, C, H, W) in [0, 1]."""
        if self.decoder is not None:
            return self.decoder(self.code)
        return soft_clamp(self.pixels)[None]  # type: ignore[arg-type]
