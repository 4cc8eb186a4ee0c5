"""Multi-layer models: several masked sprites over a background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..compositing import candidate_errors, compose, greedy, in_order
from ..criteria import MOST_CHOICES, composition_error, weighted_sum_over_layers
from ..decisions import one_hot
from ..mixing import mix_of_masked
from ..placing import place_and_mix
from ..settings import SettingError, TrialConfig, setting
from ..sprites import Background, SpriteSet
from ..transformations import Heads, Sequence, soft_clamp
from ..transformations.curriculum import is_spatial
from ..transformations.lookup import coordinates, outside
from .base import MODELS, ImageShape, Inspection, Outcome, Phase, Slots, SpriteModel
from .explanation import Explanation

#: Weight of a sprite's colour in a mix where its mask is zero; any value leaves the colour of a sprite alone
#: exactly its own.
LEAST_SHARE = 1e-2

#: A price that no error outweighs.
FORBIDDEN = 1e6


class Scene(NamedTuple):
    """All that the layers of a batch are made of.

    features (B, D); sprites as learned; pixels (B or 1, L or 1, K, C', h, w): sprites under their own
    transformations, channels being the colours, the mask and, while training with noise, the mask's support;
    betas: parameters of the layers' transformations; noise (K, H, W) to add to masks, or None;
    occlusion (B, L, L); background (B, C, H, W) or None.
    """

    features: Tensor
    sprites: SpriteSet
    pixels: Tensor
    betas: list[Tensor | None]
    noise: Tensor | None
    occlusion: Tensor
    background: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Layers(Slots):
    """Settings of models with layers over a background."""

    background: bool = setting(True, "learn an opaque background behind the layers")


@MODELS.add("multilayer")
class MultiLayer(SpriteModel):
    """L layers, each one masked sprite, over an optional background (eq. 2)."""

    masked = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Layers):
        occlusion: bool = setting(True, "predict which layer is in front; else later layers are")
        mix: str = setting(
            "before_warp",
            "exact places every sprite of every layer and mixes the results; before_warp mixes, then places only"
            " the mix: faster, the same for hard choices, sharper masks for soft ones",
            choices=("before_warp", "exact"),
            when={"decision.loss": "composition"},
        )

    @staticmethod
    def check(config: TrialConfig) -> None:
        """SettingError for settings that do not go together."""
        candidates = int(config["sprites.count"]) + bool(config["model.empty_sprite"])
        ways = candidates ** int(config["model.layers"])
        if config.get("decision.loss") == "weighted_sum" and ways > MOST_CHOICES:
            raise SettingError(
                "decision.loss",
                f"is weighted_sum, which composes every image in {candidates}^{config['model.layers']} = {ways:,} ways,"
                f" of at most {MOST_CHOICES}; choose composition, or fewer layers or sprites",
            )

    def __init__(self, config: TrialConfig, shape: ImageShape, samples: Tensor, generator: torch.Generator):
        settings, transformations = config.model, config.transformations
        self.layers, self.empty = settings.layers, settings.empty_sprite
        self.levels = ("sprite", "layer", "background") if settings.background else ("sprite", "layer")
        super().__init__(config, shape, samples, generator)
        features, channels = self.encoder.features, shape.channels
        canvas = self.sprite_size() if any(map(is_spatial, self.names["layer"])) else self.window()
        self.sprite_sequence = Sequence(
            self.names["sprite"],
            slots=self.layers * (1 if transformations.shared else self.count),
            features=features,
            channels=channels,
            in_size=self.sprite_size(),
            out_size=canvas,
        )
        self.layer_sequence = Sequence(
            self.names["layer"],
            slots=self.layers,
            features=features,
            channels=channels,
            in_size=canvas,
            out_size=self.window(),
            last_std=transformations.position_std,
        )
        if settings.background:
            self.background = Background(
                config.sprites,
                channels=channels,
                size=shape.size,
                decoded=config["sprites.kind"] == "mlp",
                samples=samples,
            )
            self.background_sequence = Sequence(
                self.names["background"],
                slots=1,
                features=features,
                channels=channels,
                in_size=shape.size,
                out_size=shape.size,
                padding="border",
            )
        pairs = torch.ones(self.layers, self.layers).tril(-1).nonzero()
        if settings.occlusion and len(pairs):
            self.occlusion_head = Heads(features, 1, len(pairs))
            front = torch.zeros(len(pairs), self.layers, self.layers)
            front[torch.arange(len(pairs)), pairs[:, 0], pairs[:, 1]] = 1
            self.register_buffer("pairs", front, persistent=False)

    def sprite_size(self) -> tuple[int, int]:
        side = int(self.config["sprites.size"])
        return (side, side) if side else self.window()

    def window(self) -> tuple[int, int]:
        """(H, W) that layers are placed in: the image."""
        return self.shape.size

    def phase(self, epoch: int, *, training: bool) -> Phase:
        """As for all models; only sprites and background have a curriculum, layers are placed from the start."""
        phase = super().phase(epoch, training=training)
        return replace(phase, joined={**phase.joined, "layer": (True,) * len(self.names["layer"])})

    def noise(self, batch: int) -> dict[str, tuple[int, ...]]:
        """As for all models, and "mask": one noise map per sprite, for all images and layers."""
        wanted = self.config.training.mask_noise > 0
        return {**super().noise(batch), **({"mask": (self.count, *self.window())} if wanted else {})}

    def rows(self) -> dict[str, int]:
        heads = [] if self.config.transformations.shared else [n for n, _ in self.sprite_sequence.named_parameters()]
        return {**super().rows(), **{f"sprite_sequence.{n}": self.layers for n in heads}}

    def loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, phase: Phase) -> Outcome:
        """Training loss of images x (B, C, H, W); `weights` holds the λ of the regularisers in use."""
        scene = self.scene(x, noise, phase)
        if self.decision is None:
            p = self.search(x, scene, weights, phase)
            return self.outcome(x, self.render(scene, p), p)
        p = self.decide(scene, noise["gumbel"], phase)
        penalty = self.regularisation(p, weights, phase)
        if self.config.decision.loss == "weighted_sum":
            colours, masks = self.with_empty(*self.placed_apart(scene))
            expected = weighted_sum_over_layers(
                x, colours, masks, p, scene.occlusion, scene.background, self.pixel_weight
            ).mean()
            with torch.no_grad():
                error = composition_error(x, self.render_exact(scene, p)).mean()
            return Outcome(expected + penalty, error, p)
        return self.outcome(x, self.render(scene, p), p, penalty)

    def explain(self, x: Tensor, weights: Mapping[str, Tensor], *, phase: Phase) -> Explanation:
        """How images x (B, C, H, W) are explained; Min-Loss searches with the price λ_empty in `weights`."""
        scene = self.scene(x, {}, phase)
        p = self.search(x, scene, weights, phase) if self.decision is None else self.decide(scene, None, phase)
        colours, masks = self.placed_mix(scene, one_hot(p))
        mixed = self.render(scene, p)
        error = composition_error(x, mixed)
        hard_error = composition_error(x, compose(colours, masks, scene.occlusion, scene.background))
        return Explanation(mixed, error, hard_error, p, p.argmax(-1), colours, masks, scene.occlusion)

    def inspect(self, x: Tensor, choice: Tensor, *, phase: Phase) -> Inspection:
        """What else there is to say about images x (B, C, H, W) shown with the sprites `choice` (B, L)."""
        scene, shown = self.scene(x, {}, phase), choice < self.count
        p = F.one_hot(choice, self.count + self.empty).to(x.dtype)
        colours, masks = self.with_empty(*self.placed_apart(scene))
        pick = choice[..., None, None, None, None]
        cover = masks.take_along_dim(pick, 2)[:, :, 0]
        paint = cover * colours.take_along_dim(pick, 2)[:, :, 0]
        held = (cover.unbind(1), paint.unbind(1))
        place = (x, colours, masks, scene.occlusion, scene.background)
        errors = [candidate_errors(*place, *held, layer) for layer in range(self.layers)]
        own = self.own_betas(scene.features, choice, phase)
        betas = [b * shown[..., None] for b in (*own, *scene.betas) if b is not None]
        lookup, gone = self.lookups(own, scene, choice)
        learned = scene.sprites
        assert learned.masks is not None
        stack = torch.cat([learned.colours, soft_clamp(learned.masks)], 1)
        nothing = (False,) * len(phase.joined["sprite"])
        still = scene._replace(pixels=self.transformed(scene.features, stack, nothing))
        return Inspection(
            features=self.encoder.without_thumbnail(scene.features),
            errors=torch.stack(errors, 1),
            betas=torch.cat(betas, -1) if betas else x.new_zeros(len(x), self.layers, 0),
            still_error=composition_error(x, self.render(still, p)),
            lookup=lookup,
            outside=gone * shown,
        )

    def own_betas(self, features: Tensor, choice: Tensor, phase: Phase) -> list[Tensor | None]:
        """Parameters (B, L, P) of the chosen sprites' own transformations; of any sprite where a layer is empty."""
        every = self.sprite_sequence.betas(features, phase.joined["sprite"])
        if not self.config.transformations.shared:
            slot = torch.arange(self.layers, device=choice.device) * self.count + choice.clamp_max(self.count - 1)
            every = [None if b is None else b.take_along_dim(slot[..., None], 1) for b in every]
        return every

    def lookups(self, own: list[Tensor | None], scene: Scene, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Where the chosen sprites' own warps look (B, L, 3, h, w), and the share of their masks that lies outside."""
        assert scene.sprites.masks is not None
        masks = soft_clamp(scene.sprites.masks).clamp(0, 1)[choice.clamp_max(self.count - 1)]
        start = coordinates(self.sprite_size(), masks)
        pixels = torch.cat((start.expand(*masks.shape[:2], *start.shape), masks), 2)
        moved = self.sprite_sequence.warp(own, pixels)
        placed = self.layer_sequence.warp(scene.betas, moved)
        return moved[:, :, :3], outside(placed[:, :, :3], placed[:, :, 3], masks.mean((-3, -2, -1)))

    def decide(self, scene: Scene, noise: Tensor | None, phase: Phase) -> Tensor:
        """p (B, L, K') as predicted, with noise (B, L, K') while training; none is empty while sprites are frozen."""
        assert self.decision is not None
        allow_empty = not (phase.frozen_sprites and self.empty)
        features = self.encoder.without_thumbnail(scene.features)
        return self.decision(features, scene.sprites.codes, noise, allow_empty=allow_empty)

    def scene(self, x: Tensor, noise: Mapping[str, Tensor], phase: Phase) -> Scene:
        """Everything but the choice, from images and, while training, the noise on masks (K, H, W)."""
        features, sprites = self.encoder(x), self.learned_sprites(phase)
        assert sprites.masks is not None
        uniform, added = noise.get("mask"), None
        if uniform is None:
            channels = [sprites.colours, soft_clamp(sprites.masks)]
        else:  # masks are clamped after the noise only
            added = (2 * uniform - 1) * self.config.training.mask_noise
            channels = [sprites.colours, sprites.masks, torch.ones_like(sprites.masks)]
        pixels = self.transformed(features, torch.cat(channels, 1), phase.joined["sprite"])
        betas = self.layer_sequence.betas(features, phase.joined["layer"])
        occlusion, background = self.occlusion(features), self.backdrop(features, phase)
        return Scene(features, sprites, pixels, betas, added, occlusion, background)

    def transformed(self, features: Tensor, stack: Tensor, joined: tuple[bool, ...]) -> Tensor:
        """Sprites (K, C', h, w) under their own transformations: (B or 1, L or 1, K, C', h, w)."""
        sequence = self.sprite_sequence
        if sequence.is_identity(joined):
            return stack[None, None]
        if self.config.transformations.shared:
            pixels = sequence(features, stack.expand(self.layers, *stack.shape), joined)
        else:
            pixels = sequence(features, stack.repeat(self.layers, 1, 1, 1), joined)
            pixels = pixels.unflatten(-4, (self.layers, self.count))
        return pixels if pixels.dim() == 6 else pixels[None]

    def occlusion(self, features: Tensor) -> Tensor:
        """δ (B, L, L): predicted, or later layers in front."""
        if not hasattr(self, "occlusion_head"):
            return in_order(self.layers, features).expand(len(features), self.layers, self.layers)
        front = self.occlusion_head(features)[:, 0].sigmoid()
        return torch.einsum("bn,nij->bij", front, self.pairs) + torch.einsum("bn,nji->bij", 1 - front, self.pairs)

    def backdrop(self, features: Tensor, phase: Phase) -> Tensor | None:
        """b (B, C, H, W), the transformed background, if there is one."""
        if not self.config.model.background:
            return None
        moved = self.background_sequence(features, self.background(), phase.joined["background"])
        return moved[:, 0] if moved.dim() == 5 else moved.expand(len(features), -1, -1, -1)

    def render(self, scene: Scene, p: Tensor) -> Tensor:
        """x̂ (B, C, H, W) for p (B, L, K'), as `model.mix` says; for hard choices both ways agree."""
        if self.decision is not None and self.config.model.mix == "exact":
            return self.render_exact(scene, p)
        return self.composed(*self.placed_mix(scene, p), scene)

    def composed(self, colours: Tensor, masks: Tensor, scene: Scene) -> Tensor:
        """The image (B, C, H, W) of placed colours (B, L, C, H, W) and masks (B, L, 1, H, W)."""
        return compose(colours, masks, scene.occlusion, scene.background)

    def render_exact(self, scene: Scene, p: Tensor) -> Tensor:
        """x̂ with premultiplied mixing: in eq. 2, Σₖ pₖ αₖ stands for α and Σₖ pₖ αₖ cₖ for α c, of placed sprites."""
        cover, paint = self.mixed(scene, p[..., : self.count])
        return compose(paint, cover, scene.occlusion, scene.background, premultiplied=True)

    def mixed(self, scene: Scene, p: Tensor) -> tuple[Tensor, Tensor]:
        """Cover (B, L, 1, H, W) and paint (B, L, C, H, W) of each layer, its placed sprites mixed by p (B, L, K)."""
        before = self.layer_sequence.before_axes(scene.betas, self.in_layers(scene))
        if before is not None:
            return place_and_mix(*before, scene.noise, p)
        return mix_of_masked(self.placed(scene), scene.noise, p)

    def placed(self, scene: Scene) -> Tensor:
        """Every sprite placed in every layer, with the channels of `scene.pixels`: (B, L, K, C', H, W)."""
        return self.layer_sequence.apply_betas(scene.betas, self.in_layers(scene), batched=True)

    def in_layers(self, scene: Scene) -> Tensor:
        """Every sprite in every layer, not yet placed: (B, L, K, C', h, w)."""
        return scene.pixels.expand(len(scene.features), self.layers, *scene.pixels.shape[2:])

    def placed_apart(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Every sprite placed in every layer: colours (B, L, K, C, H, W) and masks (B, L, K, 1, H, W)."""
        placed = self.placed(scene)
        colours, masks, *support = placed.split(self.split(placed), dim=-3)
        if scene.noise is not None:
            masks = soft_clamp(torch.addcmul(masks, support[0], scene.noise[:, None]))
        return colours, masks

    def placed_mix(self, scene: Scene, p: Tensor) -> tuple[Tensor, Tensor]:
        """Each layer's mix of sprites, placed: colours (B, L, C, H, W) and masks (B, L, 1, H, W).

        With probabilities p (B, L, K') the mask is Σₖ pₖ αₖ. Colour and support are means with weights
        pₖ (αₖ + ε): so mask times colour is near Σₖ pₖ αₖ cₖ, and a sprite chosen alone keeps its own colour.
        The noise of a mix is Σₖ pₖ uₖ, added after placing as for a sprite alone.
        """
        p = p[..., : self.count]
        colours, masks, *support = scene.pixels.split(self.split(scene.pixels), dim=-3)
        share = masks.clamp(0, 1) + LEAST_SHARE
        sums = mix(p, torch.cat((share * torch.cat((colours, *support), -3), share, masks), -3))
        means, share, masks = sums.split((sums.shape[-3] - 2, 1, 1), dim=-3)
        means = means / (share + 1e-8)
        channels = self.shape.channels
        pixels = torch.cat((means[..., :channels, :, :], masks, means[..., channels:, :, :]), -3)
        placed = self.layer_sequence.apply_betas(scene.betas, pixels, batched=True)
        colours, masks, *support = placed.split(self.split(placed), dim=-3)
        if scene.noise is not None:
            masks = soft_clamp(masks + support[0] * torch.einsum("blk,khw->blhw", p, scene.noise)[:, :, None])
        return colours, masks

    def split(self, pixels: Tensor) -> list[int]:
        """Sizes of colours, mask and, where there is one, support among the channels."""
        channels = self.shape.channels
        return [channels] + [1] * (pixels.shape[-3] - channels)

    def with_empty(self, colours: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the empty sprite last, where there is one."""
        if not self.empty:
            return colours, masks
        return F.pad(colours, (0, 0, 0, 0, 0, 0, 0, 1)), F.pad(masks, (0, 0, 0, 0, 0, 0, 0, 1))

    @torch.no_grad()
    def search(self, x: Tensor, scene: Scene, weights: Mapping[str, Tensor], phase: Phase) -> Tensor:
        """Min-Loss: one-hot p (B, L, K') found greedily; an occupied layer costs λ_empty."""
        colours, masks = self.with_empty(*self.placed_apart(scene))
        price = x.new_zeros(self.count + self.empty)
        if self.empty:
            occupied = F.pad(x.new_ones(self.count), (0, 1))
            empty_price = FORBIDDEN * (1 - occupied) * phase.frozen_sprites
            price = empty_price + occupied * weights.get("empty_sprite", 0.0)
        passes = self.config.decision.passes
        choice = greedy(x, colours, masks, scene.occlusion, scene.background, price, passes=passes)
        return F.one_hot(choice, self.count + self.empty).to(x.dtype)


def mix(p: Tensor, sprites: Tensor) -> Tensor:
    """Σₖ pₖ sₖ: p (B, L, K), sprites (B or 1, L or 1, K, C', h, w) -> (B, L, C', h, w)."""
    if sprites.shape[:2] == (1, 1):
        return (p @ sprites[0, 0].flatten(1)).unflatten(-1, sprites.shape[3:])
    return (p[:, :, None] @ sprites.flatten(3)).squeeze(2).unflatten(-1, sprites.shape[3:])
