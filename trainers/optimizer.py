"""Adam over the parameters of all members at once, with learning rates and decays of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from .settings import setting


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    learning_rate: float = setting(1e-3, "step size of Adam", above=0, high=1)
    weight_decay: float = setting(1e-6, "L2 penalty on encoder and heads; sprites and decision have none", low=0)
    decay_at: float = setting(
        0.875, "share of the training after which learning rates drop; 1 is never", above=0, high=1
    )
    decay: float = setting(0.1, "factor of the drop", above=0, high=1, when={})
    decay_sprites: bool = setting(
        True, "drop the sprites' and decision's learning rate too", source="the published code"
    )


@dataclass(frozen=True)
class Rate:
    """How one parameter is stepped: learning rate per member, and the L2 penalty."""

    learning_rates: tuple[float, ...]
    weight_decay: float = 0.0


class StackedAdam:
    """Adam (Kingma & Ba 2015; PyTorch's defaults, L2 decay) for parameters stacked over G members.

    Each parameter (G, ...) has moments and a step counter per member. A parameter without gradient is left
    alone, moments and counter included, so that a module the curriculum activates later starts afresh.
    All that shares a rate is stepped in one fused call, and whole parameters where all members share it: a GPU takes
    as long to find its way through thousands of small tensors as to step them.
    """

    def __init__(self, parameters: Mapping[str, Tensor]):
        self.parameters = dict(parameters)
        self.moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in self.parameters.items()}
        some = next(iter(self.parameters.values()))
        self.members = some.shape[0]
        self.steps = {
            n: torch.zeros(self.members, dtype=torch.float32, device=p.device) for n, p in self.parameters.items()
        }
        # views of each member's part, and of all: what the fused kernel takes, made once
        self._views = {
            n: list(
                zip(
                    p.detach().unbind(),
                    self.moments[n][0].unbind(),
                    self.moments[n][1].unbind(),
                    self.steps[n].unbind(),
                    strict=True,
                )
            )
            for n, p in self.parameters.items()
        }
        self._whole = {n: (p.detach(), *self.moments[n], self.steps[n][0]) for n, p in self.parameters.items()}

    @torch.no_grad()
    def step(self, gradients: Iterable[tuple[str, Tensor | None]], rates: Mapping[str, Rate]) -> None:
        """One step for the parameters that have a gradient (G, ...); `rates` has each of their names."""
        calls: dict[tuple[float, float], list[tuple[Tensor, ...]]] = {}
        counters: list[Tensor] = []  # of members whose step is counted by the first one's
        for name, gradient in gradients:
            if gradient is None:
                continue
            rate = rates[name]
            gradient = gradient.contiguous()  # the fused kernel reads memory in order, whatever the strides
            if len(set(rate.learning_rates)) == 1:
                key = (rate.learning_rates[0], rate.weight_decay)
                calls.setdefault(key, []).append((*self._whole[name], gradient))
                counters.append(self.steps[name][1:])
                continue
            for member, (view, part) in enumerate(zip(self._views[name], gradient.unbind(), strict=True)):
                key = (rate.learning_rates[member], rate.weight_decay)
                calls.setdefault(key, []).append((*view, part))
        for (learning_rate, decay), rows in calls.items():
            values, first, second, steps, own = map(list, zip(*rows, strict=True))
            adam(
                values,
                own,
                first,
                second,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )
        if counters and self.members > 1:
            torch._foreach_add_(counters, 1.0)

    @torch.no_grad()
    def copy_rows(self, name: str, source: Tensor, noise: Tensor | None = None) -> None:
        """Row k of a parameter (G, K, ...) and of its moments becomes row `source[g, k]`, for reassignment.

        Args:
            source: (G, K), int64; a row that stays has its own index.
            noise: added to the parameter, not to its moments; None is none.
        """
        for tensor in (self.parameters[name], *self.moments[name]):
            index = source.reshape(*source.shape, *[1] * (tensor.dim() - 2)).expand_as(tensor)
            tensor.copy_(tensor.gather(1, index))
        if noise is not None:
            self.parameters[name].add_(noise)

    def state(self) -> dict[str, Any]:
        """Moments and counters, for a checkpoint; the parameters are not in it."""
        return {n: {"first": m, "second": v, "steps": self.steps[n]} for n, (m, v) in self.moments.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes back what `state` gave; tensors keep their storage."""
        for name, (first, second) in self.moments.items():
            first.copy_(state[name]["first"])
            second.copy_(state[name]["second"])
            self.steps[name].copy_(state[name]["steps"])


def learning_rates(base: Sequence[float], config: OptimizerConfig, *, done: float, sprites: bool) -> tuple[float, ...]:
    """Learning rate of each member once a share `done` of the training is over (multi-step schedule, one drop)."""
    dropped = done >= config.decay_at and config.decay_at < 1 and (config.decay_sprites or not sprites)
    return tuple(rate * config.decay if dropped else rate for rate in base)
