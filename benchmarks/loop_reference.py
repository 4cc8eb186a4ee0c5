"""The models once more, one sprite and one layer at a time: what the batched ones must equal, and are timed against.

Written from the paper's equations, with plain loops in the place of stacked slots, and a network of its own for each
regressor. Encoder, sprite generator and background are copies of the model's: there is nothing to batch in them.
`Loop(model)` takes over the weights of a model of `trainers.models`; `Loop.loss` is its training loss.

Shapes: B images (C, H, W), L layers, K sprites (h, w), K' with the empty one.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.models import Phase, SpriteModel
from trainers.settings import TrialConfig
from trainers.transformations import Sequence


def soft_clamp(x: Tensor) -> Tensor:
    return x.clamp(0, 1) + 0.01 * x.clamp(max=0) + 0.01 * (x - 1).clamp(min=0)


# --- transformations: β (B, P), pixels (B, C', h, w) -> pixels (B, C', H, W); the first `channels` are colours ---


def warp(pixels: Tensor, grid: Tensor, padding: str) -> Tensor:
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def affine_warp(theta: Tensor, pixels: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    grid = F.affine_grid(theta, [len(pixels), 1, *size], align_corners=False)
    return warp(pixels, grid, padding)


def rows(*entries: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in entries], 1)


def affine(beta: Tensor) -> Tensor:
    return beta.view(-1, 2, 3) + torch.eye(2, 3, device=beta.device)


def position(beta: Tensor) -> Tensor:
    s, x, y = beta.unbind(1)
    return rows([1 + s.exp(), 0 * s, x], [0 * s, 1 + s.exp(), y])


def translation(beta: Tensor) -> Tensor:
    x, y = beta.unbind(1)
    return rows([0 * x + 2, 0 * x, x], [0 * x, 0 * x + 2, y])


def similarity(beta: Tensor) -> Tensor:
    a, b, x, y = beta.unbind(1)
    return rows([1 + a, -b, x], [b, 1 + a, y])


def rotation(beta: Tensor) -> Tensor:
    b = beta[:, 0]
    return rows([0 * b + 1, -b, 0 * b], [b, 0 * b + 1, 0 * b])


MATRICES = {
    "affine": affine,
    "position": position,
    "translation": translation,
    "similarity": similarity,
    "rotation": rotation,
}


def centres(size: tuple[int, int], device: torch.device) -> Tensor:
    """(H·W, 2): x, y of pixel centres."""
    return F.affine_grid(torch.eye(2, 3, device=device)[None], [1, 1, *size], align_corners=False).view(-1, 2)


def projective(beta: Tensor, pixels: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    points = F.pad(centres(size, beta.device), (0, 1), value=1.0)
    moved = points @ (beta.view(-1, 3, 3) + torch.eye(3, device=beta.device)).mT
    return warp(pixels, (moved[..., :2] / moved[..., 2:]).view(-1, *size, 2), padding)


def radial(squared: Tensor) -> Tensor:
    return torch.where(squared > 0, squared * squared.clamp_min(1e-30).log() / 2, 0.0)  # r² log r


@functools.cache
def spline(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Control points (16, 2), the inverse of the system (19, 19) and the basis at each pixel (H·W, 19)."""
    axis = torch.linspace(-1, 1, 4, dtype=torch.float64, device=device)
    points = torch.stack([axis.repeat(4), axis.repeat_interleave(4)], 1)
    pixels = centres(size, device).double()
    linear = F.pad(points, (1, 0), value=1.0)
    kernel = radial(torch.cdist(points, points) ** 2)
    system = torch.cat([torch.cat([kernel, linear], 1), F.pad(linear.T, (0, 3))])
    basis = torch.cat([radial(torch.cdist(pixels, points) ** 2), F.pad(pixels, (1, 0), value=1.0)], 1)
    return points.float(), torch.linalg.inv(system).float(), basis.float()


def tps(beta: Tensor, pixels: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    points, inverse, basis = spline(size, beta.device)
    sources = F.pad(points + beta.view(-1, 16, 2), (0, 0, 0, 3))
    return warp(pixels, (basis @ (inverse @ sources)).view(-1, *size, 2), padding)


def morphology(beta: Tensor, pixels: Tensor) -> Tensor:
    """Σ v κ exp(α v) / Σ κ exp(α v) over 7 x 7 neighbours; κ starts as 1 in the middle, 0 around it."""
    middle = torch.arange(49, device=beta.device) == 24
    start = 10.0 * middle - 5.0
    kernel = (torch.sigmoid(start + beta[:, 1:]) - torch.sigmoid(start) + middle.float()).clamp_min(0)
    batch, channels, *size = pixels.shape
    near = F.unfold(pixels, 7, padding=3).view(batch, channels, 49, -1)
    weight = kernel[:, None, :, None] * (beta[:, :1, None, None] * near).exp()
    return ((near * weight).sum(2) / weight.sum(2)).view(batch, channels, *size)


def recolour(beta: Tensor, colours: Tensor) -> Tensor:
    weight, bias = beta.view(len(beta), -1, 2, 1, 1).unbind(2)
    return soft_clamp((1 + weight) * colours + bias)


def brighten(beta: Tensor, colours: Tensor) -> Tensor:
    return soft_clamp((1 + beta[..., None, None]) * colours)


def contrast(beta: Tensor, colours: Tensor) -> Tensor:
    weight, bias = beta.view(len(beta), -1, 2, 1, 1).unbind(2)
    return soft_clamp(0.5 + bias + (1 + weight) * (colours - 0.5))


RECOLOURS = {"color": recolour, "linearcolor": brighten, "contrast": contrast}


def apply(name: str, beta: Tensor, pixels: Tensor, channels: int, size: tuple[int, int], padding: str) -> Tensor:
    """One transformation of a batch of images of one sprite."""
    if name in RECOLOURS:
        return torch.cat([RECOLOURS[name](beta, pixels[:, :channels]), pixels[:, channels:]], 1)
    if name == "morphology":
        return morphology(beta, pixels)
    if name in ("projective", "tps"):
        return {"projective": projective, "tps": tps}[name](beta, pixels, size, padding)
    return affine_warp(MATRICES[name](beta), pixels, size, padding)


class Slot(nn.Module):
    """The transformations of one sprite, layer or background: a regressor for each, used one after the other."""

    def __init__(self, sequence: Sequence, slot: int):
        super().__init__()
        self.names, self.channels, self.padding = sequence.names, sequence.channels, sequence.padding
        self.inside, self.outside = sequence.in_size, sequence.out_size
        self.regressors = nn.ModuleDict({n: regressor(h, slot) for n, h in sequence.heads.items()})

    def betas(self, features: Tensor, joined: tuple[bool, ...]) -> dict[str, Tensor]:
        on = [n for n, there in zip(self.names, joined, strict=True) if there and n in self.regressors]
        return {n: self.regressors[n](features) for n in on}

    def forward(self, betas: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
        """Pixels (B, C', h, w) -> (B, C', H, W); the last warp is onto the canvas."""
        warps = [n for n in betas if n in MATRICES or n in ("projective", "tps")]
        for name, beta in betas.items():
            size = self.outside if warps and name == warps[-1] else self.inside
            pixels = apply(name, beta, pixels, self.channels, size, self.padding)
        return pixels


def regressor(heads: nn.Module, slot: int) -> nn.Sequential:
    """Linear, ReLU, Linear, ReLU, Linear with one slot's weights of stacked heads."""
    own = min(slot, len(heads.bias1) - 1)  # shared heads have one slot for all
    layers: list[nn.Module] = []
    for i in (1, 2, 3):
        weight, bias = getattr(heads, f"weight{i}")[own], getattr(heads, f"bias{i}")[own]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def composed(paint: list[Tensor], cover: list[Tensor], occlusion: Tensor, background: Tensor | None) -> Tensor:
    """x̂ = Σ_l [Π_j (1 − δ_jl A_j)] Q_l over a background that every layer hides (eq. 2)."""
    image = 0 if background is None else background
    if background is not None:
        for a in cover:
            image = image * (1 - a)
    for l, own in enumerate(paint):  # noqa: E741 - l is the paper's index of layers
        shown = own
        for j, a in enumerate(cover):
            if j != l:
                shown = shown * (1 - occlusion[:, j, l, None, None, None] * a)
        image = image + shown
    return image


class Loop(nn.Module):
    """A model with loops in the place of batched slots.

    Args:
        model: of `trainers.models`; its weights are copied.
    """

    def __init__(self, model: SpriteModel):
        super().__init__()
        self.config: TrialConfig = model.config
        self.count, self.layers, self.empty = int(model.count), int(model.layers), bool(model.empty)  # type: ignore[arg-type]
        self.shape, self.weight = model.shape, model.pixel_weight
        self.scenes = self.config["model.kind"] == "multilayer"
        self.encoder, self.sprites = copy.deepcopy(model.encoder), copy.deepcopy(model.sprites)
        self.decision = copy.deepcopy(model.decision)
        shared = bool(self.config["transformations.shared"])
        if not self.scenes:
            self.own = nn.ModuleList(Slot(model.sequence, k) for k in range(self.count))
        else:
            slots = [lay if shared else lay * self.count + k for lay in range(self.layers) for k in range(self.count)]
            self.own = nn.ModuleList(Slot(model.sprite_sequence, s) for s in slots)
            self.placing = nn.ModuleList(Slot(model.layer_sequence, lay) for lay in range(self.layers))
            if self.config["model.background"]:
                self.background = copy.deepcopy(model.background)
                self.behind = Slot(model.background_sequence, 0)
            if hasattr(model, "occlusion_head"):
                self.order = regressor(model.occlusion_head, 0)  # an output for each pair of layers
        for parameter in self.parameters():
            parameter.requires_grad_()

    def loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, float], phase: Phase) -> Tensor:
        """Training loss of images x (B, C, H, W) in [0, 1].

        Args:
            noise: "gumbel" (B, L, K') and "mask" (K, H, W) as the models take them.
            weights: λ of each regulariser.
            phase: where the training stands.
        """
        return (self.scene_loss if self.scenes else self.image_loss)(x, noise, weights, phase)

    # --- clustering ---

    def image_loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, float], phase: Phase) -> Tensor:
        features, colours = self.encoder(x), self.sprites().colours
        shown = []
        for k, slot in enumerate(self.own):
            sprite = colours[k].expand(len(x), *colours.shape[1:])
            shown.append(slot(slot.betas(features, phase.joined["sprite"]), sprite))
        if self.decision is None:
            return torch.stack([self.error(x, s) for s in shown], 1).min(1).values.mean()
        p = self.probabilities(features, noise, phase)
        if self.config["decision.loss"] == "weighted_sum":
            loss = sum(p[:, 0, k] * self.error(x, s) for k, s in enumerate(shown))
        else:
            loss = self.error(x, sum(p[:, 0, k, None, None, None] * s for k, s in enumerate(shown)))
        return loss.mean() + self.penalty(p, weights)

    def error(self, x: Tensor, made: Tensor) -> Tensor:
        squared = (x - made) ** 2
        return (squared if self.weight is None else squared * self.weight).mean((1, 2, 3))

    # --- several layers ---

    def scene_loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, float], phase: Phase) -> Tensor:
        features = self.encoder(x)
        colours, masks = self.placed(features, noise.get("mask"), phase)
        occlusion, background = self.occlusion(features), self.backdrop(features, phase)
        if self.decision is None:
            with torch.no_grad():
                choice = self.greedy(x, colours, masks, occlusion, background, weights.get("empty_sprite", 0.0))
            p = F.one_hot(choice, self.count + self.empty).to(x.dtype)
        else:
            p = self.probabilities(features, noise, phase)
        cover, paint = [], []
        for own_colours, own_masks, q in zip(colours, masks, p.unbind(1), strict=True):
            share = [q[:, k, None, None, None] * m for k, m in enumerate(own_masks)]
            cover.append(sum(share))
            paint.append(sum(s * c for s, c in zip(share, own_colours, strict=True)))
        loss = self.error(x, composed(paint, cover, occlusion, background)).mean()
        return loss if self.decision is None else loss + self.penalty(p, weights)

    def placed(
        self, features: Tensor, uniform: Tensor | None, phase: Phase
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Colours and masks of every sprite placed in every layer, lists over L of lists over K of (B, ·, H, W)."""
        sprites, channels = self.sprites(), self.shape.channels
        assert sprites.masks is not None
        colours: list[list[Tensor]] = []
        masks: list[list[Tensor]] = []
        for layer, placing in enumerate(self.placing):
            where = placing.betas(features, (True,) * len(placing.names))
            colours.append([])
            masks.append([])
            for k in range(self.count):
                parts = [sprites.colours[k], soft_clamp(sprites.masks[k]) if uniform is None else sprites.masks[k]]
                parts += [] if uniform is None else [torch.ones_like(sprites.masks[k])]
                pixels = torch.cat(parts).expand(len(features), -1, -1, -1)
                slot = self.own[layer * self.count + k]
                made = placing(where, slot(slot.betas(features, phase.joined["sprite"]), pixels))
                mask = made[:, channels : channels + 1]
                if uniform is not None:
                    amplitude = self.config["training.mask_noise"] * (2 * uniform[k] - 1)
                    mask = soft_clamp(mask + made[:, channels + 1 :] * amplitude)
                colours[-1].append(made[:, :channels])
                masks[-1].append(mask)
        return colours, masks

    def occlusion(self, features: Tensor) -> Tensor:
        """δ (B, L, L)."""
        pairs = [(i, j) for i in range(self.layers) for j in range(i)]
        ones = features.new_ones(len(features), len(pairs))
        front = self.order(features).sigmoid() if hasattr(self, "order") else ones
        order = features.new_zeros(len(features), self.layers, self.layers)
        for n, (i, j) in enumerate(pairs):
            order[:, i, j], order[:, j, i] = front[:, n], 1 - front[:, n]
        return order

    def backdrop(self, features: Tensor, phase: Phase) -> Tensor | None:
        if not hasattr(self, "background"):
            return None
        pixels = self.background().expand(len(features), -1, -1, -1)
        return self.behind(self.behind.betas(features, phase.joined["background"]), pixels)

    def greedy(
        self,
        x: Tensor,
        colours: list[list[Tensor]],
        masks: list[list[Tensor]],
        occlusion: Tensor,
        background: Tensor | None,
        price: float,
    ) -> Tensor:
        """Choice (B, L): every candidate of one layer after the other is composed in full, the others held."""
        nothing = torch.zeros_like(masks[0][0])
        cover, paint = [nothing] * self.layers, [torch.zeros_like(colours[0][0])] * self.layers
        choice = torch.zeros(len(x), self.layers, dtype=torch.long, device=x.device)
        for _ in range(int(self.config["decision.passes"])):
            for layer in range(self.layers):
                ways = [(m, m * c) for m, c in zip(masks[layer], colours[layer], strict=True)]
                ways += [(nothing, torch.zeros_like(paint[0]))] * self.empty
                errors = []
                for k, (mask, colour) in enumerate(ways):
                    covers = [*cover[:layer], mask, *cover[layer + 1 :]]
                    paints = [*paint[:layer], colour, *paint[layer + 1 :]]
                    made = composed(paints, covers, occlusion, background)
                    errors.append(((x - made) ** 2).mean((1, 2, 3)) + price * (k < self.count))
                choice[:, layer] = torch.stack(errors, 1).argmin(1)
                pick = choice[:, layer, None, None, None]
                cover[layer] = sum((pick == k) * m for k, (m, _) in enumerate(ways))
                paint[layer] = sum((pick == k) * c for k, (_, c) in enumerate(ways))
        return choice

    # --- decision and regularisers ---

    def probabilities(self, features: Tensor, noise: Mapping[str, Tensor], phase: Phase) -> Tensor:
        """p (B, L, K') = softmax((scores + g) / τ), scores by a linear map or by ⟨norm(W f), norm(z)⟩ / √D."""
        decision, kinds = self.decision, self.count + self.empty
        assert decision is not None
        features = features[:, : self.encoder.of_maps]
        if hasattr(decision, "map"):
            scores = decision.map(features).view(len(features), self.layers, kinds)
        else:
            given = [] if decision.own else [self.sprites().codes]
            keys = torch.cat([*given, *([decision.codes] if hasattr(decision, "codes") else [])])
            query = decision.query(features).view(len(features), self.layers, -1)
            query, keys = (F.layer_norm(z, z.shape[-1:]) for z in (query, keys))
            scores = query @ keys.T / features.shape[1] ** 0.5
        tau = F.softplus(decision.raw_temperature)
        if self.config["decision.activation"] != "softmax":
            scores = scores + noise["gumbel"]
        return (scores / tau).softmax(-1)

    def penalty(self, p: Tensor, weights: Mapping[str, float]) -> Tensor:
        """λ_freq L_freq + λ_bin L_bin + λ_empty L_empty (eq. 5-7)."""
        total = p.new_zeros(())
        sprites = p[..., : self.count]
        if weight := weights.get("frequency", 0.0):
            used = sprites.mean((0, 1))
            enough = float(self.config["regularisers.frequency.threshold"]) / self.count
            total = total + weight * (1 - sum(f.clamp(max=enough) for f in used / used.sum()))
        if weight := weights.get("binary", 0.0):
            total = total + weight * (6 * p * (1 - p)).mean()
        if weight := weights.get("empty_sprite", 0.0):
            total = total + weight * sprites.sum(-1).mean() / p.shape[-1]
        return total
