"""What criteria look at: a trained model by its artefacts, and a pool of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Row, number
from .partitions import FEWEST, Labels, ami, distances, effective, silhouette

#: A sprite counts as used when its share is at least this part of an even share 1/K.
USED = 0.2

#: Most feature spaces of a pool that all its models are judged in, and most images.
SPACES, IMAGES = 40, 500

#: Points at which the class maps of a scene are compared, per side.
POINTS = 4


class Model:
    """One trained model: its row of the table and its artefacts (see `trainers.artefacts.collect`).

    Shapes: N images, L layers, K sprites, K' with the empty one. An item is a layer that shows something.
    """

    def __init__(self, row: Row, arrays: Mapping[str, Any]):
        self.row, self.arrays = row, arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        """An array by name, in float32 where it was kept in float16."""
        found = self.arrays[name]
        return found.astype(np.float32) if found.dtype == np.float16 else found

    def missing(self, needs: Iterable[str]) -> list[str]:
        """Names of the needed artefacts that this model does not have."""
        return sorted(n for n in needs if n not in self.arrays)

    @property
    def trial(self) -> int:
        return int(self.row["trial"])

    @cached_property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The settings of the trial: two trials may have the same, when one was trained again on fresh seeds."""
        return tuple(sorted((n, repr(v)) for n, v in self.row.items() if "." in n and "/" not in n and n != "seed"))

    @property
    def subset(self) -> str:
        """Identity of the images the artefacts are of."""
        return str(self.arrays["subset"])

    @property
    def count(self) -> int:
        """K."""
        return len(self.arrays["sprites"])

    @property
    def scenes(self) -> bool:
        """Whether layers with masks explain an image, rather than one sprite."""
        return "M" in self.arrays

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """Layers that show something, (N, L)."""
        return np.asarray(self.arrays["A"] >= 0)

    @cached_property
    def choice(self) -> Labels:
        """The sprite of each item, (n,)."""
        return np.asarray(self.arrays["A"])[self.shown].astype(np.int64)

    @cached_property
    def errors(self) -> NDArray[np.float32]:
        """Error of each item with each sprite, (n, K)."""
        return self["D"][self.shown][:, : self.count]

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """p of every layer, (N·L, K')."""
        p = self["P"]
        return p.reshape(-1, p.shape[-1])

    @cached_property
    def usage(self) -> NDArray[np.float64]:
        """Share of the items that show each sprite, (K,)."""
        counts = np.bincount(self.choice, minlength=self.count)
        return counts / max(1, counts.sum())

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """Indices of the sprites that are used at least 0.2/K of the time."""
        return np.flatnonzero(self.usage >= USED / self.count)

    @property
    def collapsed(self) -> bool:
        """Whether nearly everything shows the same sprite, or nothing is shown."""
        return self.count > 1 and effective(self.choice) < FEWEST

    @cached_property
    def held_out(self) -> NDArray[np.bool_]:
        return np.asarray(self.arrays["held_out"])

    def fit(self, name: str) -> NDArray[np.float64]:
        """A value per image, of the images that were kept from training."""
        return self[name][self.held_out].astype(np.float64)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """Of scenes: the sprite + 1 that each pixel shows, 0 for the background, (N, h, w)."""
        instances = self.arrays["instances"].astype(np.int64)
        table = np.concatenate([np.zeros((len(instances), 1), np.int64), self.arrays["A"].astype(np.int64) + 1], 1)
        return np.take_along_axis(table, instances.reshape(len(instances), -1), 1).reshape(instances.shape)

    @cached_property
    def partition(self) -> Labels:
        """What two models agree on or not: the sprite of each image, or for scenes of points on a fixed grid."""
        if not self.scenes:
            return np.asarray(self.arrays["A"][:, 0]).astype(np.int64)
        height, width = self.classes.shape[1:]
        rows, columns = ((2 * np.arange(POINTS) + 1) * side // (2 * POINTS) for side in (height, width))
        return self.classes[:, rows[:, None], columns].ravel()


def agreement(a: Model, b: Model) -> float:
    """AMI of what two models make of the same images; 0 where one of them collapsed."""
    return 0.0 if a.collapsed or b.collapsed else ami(a.partition, b.partition)


class Pool:
    """All models of a study that were looked at through the same images.

    `reference` are those of finished trials: the others are compared with them, never they with the others.
    """

    def __init__(self, models: Sequence[Model]):
        self.models = list(models)
        self.reference = np.array([m.row.get("state") == "complete" for m in self.models], dtype=bool)

    @cached_property
    def others(self) -> NDArray[np.bool_]:
        """[i, j]: whether j is a reference for i, that is finished and of another configuration."""
        known = {settings: i for i, settings in enumerate(dict.fromkeys(m.settings for m in self.models))}
        settings = np.array([known[m.settings] for m in self.models])
        return self.reference[None] & (settings[:, None] != settings[None])

    @cached_property
    def agreement(self) -> NDArray[np.float64]:
        """`agreement` of each pair of models; 1 on the diagonal."""
        n = len(self.models)
        table = np.eye(n)
        for i in range(n):
            for j in range(i):
                table[i, j] = table[j, i] = agreement(self.models[i], self.models[j])
        return table

    def features(self, i: int) -> NDArray[np.float32]:
        """Features of the first 500 images by one model, (n, D)."""
        return self.models[i]["Z"][:IMAGES]

    @cached_property
    def silhouettes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """At most 40 finished models (S,), and the silhouette of each model in their features, (S, models)."""
        at = np.flatnonzero(self.reference)
        if len(at):
            at = at[np.linspace(0, len(at) - 1, min(SPACES, len(at))).round().astype(int)]
        scores = np.full((len(at), len(self.models)), -1.0)
        for own, space in zip(scores, at, strict=True):
            distance = distances(self.features(int(space)))
            for i, model in enumerate(self.models):
                if not model.collapsed:
                    own[i] = silhouette(distance, model.partition[:IMAGES])
        return at, scores

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """Held-out error of each model."""
        return np.array([m.fit("E_hard").mean() for m in self.models])

    @cached_property
    def good_fit(self) -> NDArray[np.bool_]:
        """References in the better half by held-out error, among those of as many sprites."""
        counts = np.array([number(m.row, "sprites.count") for m in self.models])
        good = np.zeros(len(self.models), dtype=bool)
        for count in np.unique(counts[self.reference]):
            same = self.reference & (counts == count)
            good |= same & (self.errors <= np.median(self.errors[same]))
        return good
