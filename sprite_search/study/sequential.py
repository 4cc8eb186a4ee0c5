"""The protocol of the paper: one setting after the other, each keeping the winner of those before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from trainers.settings import Scalar, SettingError

from ..space import Space
from .goals import ranked
from .grid import configurations, digest
from .records import TrialRecord


@dataclass(frozen=True)
class _Option:
    """One value of the setting whose turn it is."""

    value: Scalar
    digest: str
    params: Mapping[str, Scalar]


class SequentialGrid:
    """The configurations of the protocol. Which comes next follows from what was asked and what became of it.

    Settings whose turn has not come are without effect where that can be (``or: 0``), else at their first value.
    The winner is the best trial by the objective, which is a label metric as in the paper; where none of a turn
    finished, what was there before stays.
    """

    finite = True

    def __init__(self, space: Space):
        self.space, self.hash = space, space.hash

    def unseen(self, asked: Mapping[str, int], record: Callable[[int], TrialRecord]) -> dict[str, Scalar] | None:
        """Parameters of the next configuration; None when there is none, or none before running trials end.

        Args:
            asked: digest -> number of every configuration that was asked for.
            record: the trial of a number.
        """
        base = {name: dimension.first() for name, dimension in self.space.search.items()}
        for name in self.space.sampler["order"]:
            options = list(self._options(name, base))
            for option in options:
                if option.digest not in asked:
                    return dict(option.params)
            trials = {asked[o.digest]: (o, record(asked[o.digest])) for o in options}
            if not all(r.done for _, r in trials.values()):
                return None
            winner = next(iter(ranked(self.space, (r for _, r in trials.values()))), None)
            if winner is not None:
                base[name] = trials[winner.number][0].value
        return None

    def _options(self, name: str, base: Mapping[str, Scalar]) -> Iterator[_Option]:
        """A configuration for every value of a setting, with the others as they are; one where it does not apply."""
        others = {n: v for n, v in base.items() if n != name}
        alone = replace(
            self.space, search={name: self.space.search[name]}, fixed={**self.space.fixed, **others}, start_from=()
        )
        for _, config in configurations(alone):
            value = config.get(name, base[name])
            try:
                identity = digest(config)
            except SettingError:
                continue  # settings that do not go together
            yield _Option(value, identity, self.space.point_params({**base, name: value}))


def most(space: Space) -> int:
    """How many configurations the protocol takes at most."""
    counts = (sum(1 for _ in configurations(replace(space, search={n: d}))) for n, d in space.search.items())
    return 1 + sum(count - 1 for count in counts)
