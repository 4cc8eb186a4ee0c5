"""Members: models of one shape trained together, their parameters stacked along a first axis.

What differs between members is data (seeds, weights, learning rates), never code, so one vectorised call
(`torch.func.vmap`) serves them all. A model draws nothing itself: order and noise come in as tensors, each
member's from its own generator, so a member does what it would do alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from .settings import Scalar, SettingError, TrialConfig

#: Settings in which members may differ, besides the weights of regularisers.
OWN = ("seed", "optimizer.learning_rate")


def check_members(members: Sequence[TrialConfig]) -> None:
    """SettingError unless the members differ only in what can be trained together."""
    if not members:
        raise ValueError("no members; give at least one TrialConfig")
    shared: dict[str, Scalar] = {}
    for config in members:
        for name, value in config.flat().items():
            if name in OWN or _is_weight(name):
                continue
            if shared.setdefault(name, value) != value:
                raise SettingError(name, f"is {shared[name]!r} in one member and {value!r} in another; {_advice()}")
    for name in shared:
        # a regulariser of weight 0 has no further settings, so those may be missing
        if not name.startswith("regularisers.") and any(name not in config.values for config in members):
            raise SettingError(name, f"is set in some members only; {_advice()}")


def common(members: Sequence[TrialConfig]) -> TrialConfig:
    """One config that speaks for all members: the first, with each regulariser as a member that uses it has it."""
    sections = dict(members[0].sections)
    for name in sections:
        if name.startswith("regularisers."):
            using = (m.section(name) for m in members if m.section(name).weight > 0)
            sections[name] = next(using, sections[name])
    return dataclasses.replace(members[0], sections=sections)


def _is_weight(name: str) -> bool:
    return name.startswith("regularisers.") and name.endswith(".weight")


def _advice() -> str:
    return f"members trained together may differ in {', '.join(OWN)} and regularisers.*.weight; train others apart"


def seed_of(*parts: int | str) -> int:
    """A well mixed 32-bit seed for a purpose, e.g. ``seed_of(seed, "noise", epoch)``.

    CPU generators use 32 bits of a seed, and neighbouring seeds should not give related streams.
    """
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


class Stack:
    """G modules of one shape as one: `parameters` and `buffers` map names to tensors (G, ...).

    Buffers that are not part of a module's state (constant grids) are shared by the members.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device | str = "cpu"):
        self.members = len(modules)
        self.template = modules[0].to(device).requires_grad_(False)
        stateful = modules[0].state_dict().keys()
        with torch.no_grad():
            self.parameters = {n: self._stack(modules, n, device) for n, _ in modules[0].named_parameters()}
            self.buffers = {n: self._stack(modules, n, device) for n in stateful if n not in self.parameters}
        for parameter in self.parameters.values():
            parameter.requires_grad_()

    @staticmethod
    def _stack(modules: Sequence[nn.Module], name: str, device: torch.device | str) -> Tensor:
        return torch.stack([m.state_dict()[name].detach().to(device) for m in modules])

    def call(self, method: str, own: tuple[Any, ...], shared: tuple[Any, ...] = (), *, training: bool, **flags: Any):
        """What `method` of each member returns, stacked along a first axis.

        Args:
            own: arguments (tensors, or dicts of tensors) with a first axis of members.
            shared: arguments before these, the same for all members.
            training: mode of the modules; in training mode running statistics in `buffers` move on.
            flags: further keyword arguments; host-side values.
        """
        if self.template.training != training:
            self.template.train(training)

        def one(state: dict[str, Tensor], own: tuple[Any, ...]) -> Any:
            return functional_call(self.template, state, (method, *shared, *own), flags)

        state = {**self.parameters, **self.buffers}
        if self.members == 1:  # views, so that running statistics are still written where they are kept
            return tree_map(_unsqueeze, one(*tree_map(_squeeze, (state, own))))
        return vmap(one)(state, own)

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, (G, ...)."""
        return {n: t.detach() for n, t in {**self.parameters, **self.buffers}.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; tensors keep their storage."""
        for name, tensor in {**self.parameters, **self.buffers}.items():
            tensor.copy_(state[name])


def _squeeze(x: Any) -> Any:
    return x.squeeze(0) if isinstance(x, Tensor) else x


def _unsqueeze(x: Any) -> Any:
    return x.unsqueeze(0) if isinstance(x, Tensor) else x


def build(make: Callable[[int], nn.Module], seeds: Sequence[int], device: torch.device | str = "cpu") -> Stack:
    """A stack of `make(member)`, each built under its own seed; the global random state is left as it was."""
    modules = []
    with torch.random.fork_rng(devices=[]):
        for member, seed in enumerate(seeds):
            torch.manual_seed(seed_of(seed, "weights"))
            modules.append(make(member))
    return Stack(modules, device)
