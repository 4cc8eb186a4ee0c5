"""Using a trained model: its sprites, and the objects it finds in images."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .compositing import visibility
from .errors import DataError
from .models import Explanation
from .models.explanation import scene_labels
from .settings import TrialConfig

#: Images explained at once.
BATCH = 64


@dataclass(frozen=True)
class Decomposition:
    """How a model explains N images, as numpy arrays; L layers, K' sprites with the empty one (last).

    Attributes:
        reconstruction: (N, C, H, W) float32 in [0, 1].
        sprite: (N, L) int64, index of the chosen sprite, -1 for empty.
        probabilities: (N, L, K') float32.
        error: (N,) mean squared error of the reconstruction before it is clipped.
        layer_masks: (N, L, H, W), the soft mask of each layer where it is visible; None for clustering.
        instances: (N, H, W) int64, 0 background, l = layer l (from 1).
        classes: (N, H, W) int64, 0 background, k + 1 for sprite k.
        transformed: (N, L, C or C + 1, H, W), the chosen sprite as transformed, its mask last if it has one.
    """

    reconstruction: NDArray[np.float32]
    sprite: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    error: NDArray[np.float32]
    layer_masks: NDArray[np.float32] | None
    instances: NDArray[np.int64]
    classes: NDArray[np.int64]
    transformed: NDArray[np.float32]


class TrainedModel:
    """One member of a saved training, ready to use; `load` makes it.

    Attributes:
        config: its settings.
        shape: of the images it takes.
        epoch: how many epochs it was trained.
    """

    #: what `decompose` returns
    Found: ClassVar[type] = Decomposition
    #: what `objects` says of one of them
    example_object: ClassVar[dict[str, Any]] = {
        "layer": 1, "sprite": 0, "confidence": 0.5, "box": [0, 0, 8, 8], "area": 0.5, "colour": [0.5],
    }  # fmt: skip

    def __init__(self, config: TrialConfig, shape: Any, state: dict[str, Tensor], epoch: int, device: str):
        self.config, self.shape, self.epoch, self.device = config, shape, epoch, torch.device(device)
        blank = torch.zeros(1, *astuple(shape))
        with torch.random.fork_rng(devices=[]):
            self.model: Any = config.parts["model"](config, shape, blank, torch.Generator())
        self.model.to(self.device).eval().requires_grad_(False)
        for name, tensor in self.model.state_dict().items():
            tensor.copy_(state[name])
        self.phase = self.model.phase(max(epoch - 1, 0), training=False)
        price = float(config.get("regularisers.empty_sprite.weight", 0.0))
        self.weights = {"empty_sprite": torch.tensor(price, device=self.device)} if price else {}

    def sprites(self) -> NDArray[np.float32]:
        """(K, C, h, w) in [0, 1], with the mask as one channel more where sprites have one."""
        sprites = self.model.sprites()
        parts = [sprites.colours] if sprites.masks is None else [sprites.colours, sprites.masks]
        return torch.cat(parts, 1).clamp(0, 1).cpu().numpy()

    def background(self) -> NDArray[np.float32] | None:
        """(C, H, W) in [0, 1], as learned; None for models without one."""
        if not hasattr(self.model, "background"):
            return None
        return self.model.background()[0].clamp(0, 1).cpu().numpy()

    @torch.no_grad()
    def decompose(self, images: Any) -> Any:
        """The `Decomposition` of images (N, C, H, W), uint8 in 0…255 or float in 0…1; numpy or torch.

        Raises:
            DataError: images of another shape or type than the model was trained on.
        """
        x = self._checked(images)
        parts = [self._explain(batch.to(self.device)) for batch in x.split(BATCH)]
        return self.Found(**{n: _joined([p[n] for p in parts]) for n in parts[0]})

    def example(self) -> NDArray[Any]:
        """One image as a served model is sent it: (1, H, W, C) uint8, black."""
        return np.zeros((1, *self.shape.size, self.shape.channels), np.uint8)

    def served(self, images: NDArray[Any]) -> NDArray[Any]:
        """What `decompose` takes, from images as a served model is sent them: channels first, not last."""
        return images.transpose(0, 3, 1, 2)

    def _checked(self, images: Any) -> Tensor:
        x = torch.as_tensor(np.asarray(images) if not isinstance(images, Tensor) else images)
        wanted = (self.shape.channels, *self.shape.size)
        if x.dim() != 4 or tuple(x.shape[1:]) != wanted or not len(x):
            raise DataError(
                f"images: have shape {tuple(x.shape)}, but the model takes (N, {', '.join(map(str, wanted))});"
                " convert their channels and size first"
            )
        if x.dtype == torch.uint8:
            return x.to(torch.float32) / 255
        if not x.is_floating_point():
            raise DataError(f"images: are {x.dtype}; give uint8 in 0…255 or floats in 0…1")
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise DataError("images: are floats outside 0…1; divide them by their largest possible value")
        return x.to(torch.float32)

    def _explain(self, x: Tensor) -> dict[str, NDArray[Any] | None]:
        found: Explanation = self.model.explain(x, self.weights, phase=self.phase)
        count = self.model.count
        classes, instances = scene_labels(found, count)
        masks = found.masks.clamp(0, 1)
        masked = self.model.masked
        visible = visibility(masks, found.occlusion) * masks
        transformed = torch.cat((found.colours, masks), 2) if masked else found.colours
        return {
            "reconstruction": found.reconstruction.clamp(0, 1).cpu().numpy(),
            "sprite": torch.where(found.choice < count, found.choice, -1).cpu().numpy(),
            "probabilities": found.p.cpu().numpy(),
            "error": found.error.cpu().numpy(),
            "layer_masks": visible[:, :, 0].cpu().numpy() if masked else None,
            "instances": instances.cpu().numpy(),
            "classes": classes.cpu().numpy(),
            "transformed": transformed.clamp(0, 1).cpu().numpy(),
        }


def _joined(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
