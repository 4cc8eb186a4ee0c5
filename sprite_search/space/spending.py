"""What a study may spend and keeps: its budget, what a trial holds, the second stage, weights that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..machine import too_little_memory
from . import names
from .document import Entry
from .model import Budget, Confirm, Keep, Resources
from .reading_dimensions import Wrong

#: Reads a mapping of the file: its name, keys with the types of their values, what is there by default.
Part = Callable[[str, Mapping[str, type], dict[str, Any]], dict[str, Any]]

#: Numbers that must not be 0, and why.
_ABOVE_0 = {
    "budget": {
        "trials": "nothing would run",
        "hours": "nothing would run",
        "gpu_hours": "nothing would run",
        "plateau": "nothing would run; give how many configurations in a row may bring nothing better, e.g. 20",
    },
    "resources": {
        "cpu": "a trial needs a share of a CPU, e.g. 1",
        "at_once": "nothing would run",
        "patience": "every trial would be taken for lost; give hours, e.g. 2",
    },
    "confirm": {
        "top": "nothing would be trained again; leave confirm out",
        "seeds": "nothing would be trained again; leave confirm out",
    },
    "keep": {"likely": "the trial that `select` chooses must keep its weights; give 1 or more"},
}


class Spending:
    """Reads these parts of a document once; `found` has them by name."""

    def __init__(self, top: Mapping[str, Entry], part: Part, wrong: Wrong):
        self.top, self.part, self.wrong = top, part, wrong
        self.found: dict[str, Any] = {
            "budget": Budget(**self._numbers("budget", names.BUDGET_KEYS)),
            "resources": Resources(**self._numbers("resources", names.RESOURCE_KEYS)),
            "keep": Keep(**self._numbers("keep", names.KEEP_KEYS)),
        }
        self._gpus(self.found["resources"])
        if (confirm := top.get("confirm")) is not None and confirm.value is not None:  # a profile may say null
            self.found["confirm"] = Confirm(**self._numbers("confirm", names.CONFIRM_KEYS))

    def _numbers(self, part: str, keys: Mapping[str, type]) -> dict[str, Any]:
        given = self.part(part, keys, {})
        for key, why in _ABOVE_0[part].items():
            if key in given and not given[key]:
                self.wrong(self._entry(part, key), f"{part}.{key}", f"is 0; {why}")
        return given

    def _gpus(self, resources: Resources) -> None:
        if resources.gpu > 1 and resources.gpu % 1:
            said = f"is {resources.gpu:g}; use a fraction below 1, or whole GPUs"
            self.wrong(self._entry("resources", "gpu"), "resources.gpu", said)
        if resources.accelerator and not resources.gpu:
            said = f"is {resources.accelerator}, but trials take no GPU; give resources.gpu too"
            self.wrong(self._entry("resources", "accelerator"), "resources.accelerator", said)
        self._gpu_memory(resources)

    def _gpu_memory(self, resources: Resources) -> None:
        """Whether a trial fits its share of the GPU, where that is known."""
        if not resources.gpu_memory:
            return
        at, kind = self._entry("resources", "gpu_memory"), str(resources.accelerator)
        if not resources.gpu:
            said = f"is {resources.gpu_memory:g}, but trials take no GPU; give resources.gpu too"
            self.wrong(at, "resources.gpu_memory", said)
        elif kind in names.GPU_MEMORY:
            memory = names.GPU_MEMORY[kind]
            small = too_little_memory(kind, memory, share=resources.gpu, needed=resources.gpu_memory)
            if small:
                name, _, what = small.partition(": ")
                self.wrong(at, name, what)

    def _entry(self, part: str, key: str) -> Entry:
        return self.top[part].value[key]
