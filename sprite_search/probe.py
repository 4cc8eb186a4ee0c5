"""`sprite-search probe`: how much of a GPU a trial needs, measured on the one that is here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .home import Home
from .machine import fitting, gpus

if TYPE_CHECKING:
    from .space import Space

#: Other trials beside may fragment memory, and settings that were not drawn may need a little more.
MARGIN = 1.1


def probe(space: Space, home: Home, count: int) -> dict[str, Any]:
    """Trains a few steps of `count` configurations drawn at random, all seeds of each together as a search does.

    Returns:
        gpu: its name; memory: its GiB; needed: GiB of each configuration; gpu_memory: GiB to ask for, the most with a
        margin; share: `resources.gpu` that gives them, and at_once: how many such trials a GPU holds.
    Raises:
        InputError: there is no GPU here.
    """
    from .trial import peak_memory

    there = gpus()
    if not there:
        raise InputError(
            f"{space.name}: this machine has no GPU to measure on; run probe where trials will run,"
            " or say how many GiB a trial needs with resources.gpu_memory"
        )
    name, memory = there[0]
    seeds = list(range(space.replicates))
    needed = [peak_memory(config, seeds, home.data) for config in islice(drawn(space), count)]
    most = round(MARGIN * max(needed), 2)
    share = fitting(most, memory)
    return {
        "gpu": name,
        "memory": round(memory, 1),
        "needed": [round(n, 2) for n in needed],
        "gpu_memory": most,
        "share": share,
        "at_once": int(1 / share),
        "fits": most <= memory,
    }


def drawn(space: Space) -> Iterator[dict[str, Any]]:
    """Configurations at random, without those whose settings do not go together."""
    from trainers.settings import SettingError, TrialConfig

    for seed in range(1000):
        config = space.sample(seed)
        with suppress(SettingError):
            TrialConfig.from_flat({**config, "seed": 0})
            yield config
