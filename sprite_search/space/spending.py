"""What a study may spend and keeps: its budget, what a trial holds, the second stage, weights that stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..machine import too_little_memory
from . import names
from .document import Entry
from .model import Budget, Confirm, Keep, Resources

if TYPE_CHECKING:
    from .reading import Reader

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


def spending(reader: Reader) -> dict[str, Any]:
    """The parts of a `Space` that are not about what is searched; what is wrong goes to `reader.problems`."""
    found: dict[str, Any] = {
        "budget": Budget(**_numbers(reader, "budget", names.BUDGET_KEYS)),
        "resources": Resources(**_numbers(reader, "resources", names.RESOURCE_KEYS)),
        "keep": Keep(**_numbers(reader, "keep", names.KEEP_KEYS)),
    }
    _gpus(reader, found["resources"])
    if (confirm := reader.top.get("confirm")) is not None and confirm.value is not None:  # a profile may say null
        found["confirm"] = Confirm(**_numbers(reader, "confirm", names.CONFIRM_KEYS))
    return found


def _numbers(reader: Reader, part: str, keys: Mapping[str, type]) -> dict[str, Any]:
    given = reader.part(part, keys, {})
    for key, why in _ABOVE_0[part].items():
        if key in given and not given[key]:
            reader.wrong(_entry(reader, part, key), f"{part}.{key}", f"is 0; {why}")
    return given


def _gpus(reader: Reader, resources: Resources) -> None:
    if resources.gpu > 1 and resources.gpu % 1:
        said = f"is {resources.gpu:g}; use a fraction below 1, or whole GPUs"
        reader.wrong(_entry(reader, "resources", "gpu"), "resources.gpu", said)
    if resources.accelerator and not resources.gpu:
        said = f"is {resources.accelerator}, but trials take no GPU; give resources.gpu too"
        reader.wrong(_entry(reader, "resources", "accelerator"), "resources.accelerator", said)
    _gpu_memory(reader, resources)


def _gpu_memory(reader: Reader, resources: Resources) -> None:
    """Whether a trial fits its share of the GPU, where that is known."""
    if not resources.gpu_memory:
        return
    at, kind = _entry(reader, "resources", "gpu_memory"), str(resources.accelerator)
    if not resources.gpu:
        said = f"is {resources.gpu_memory:g}, but trials take no GPU; give resources.gpu too"
        reader.wrong(at, "resources.gpu_memory", said)
    elif kind in names.GPU_MEMORY:
        memory = names.GPU_MEMORY[kind]
        small = too_little_memory(kind, memory, share=resources.gpu, needed=resources.gpu_memory)
        if small:
            name, _, what = small.partition(": ")
            reader.wrong(at, name, what)


def _entry(reader: Reader, part: str, key: str) -> Entry:
    return reader.top[part].value[key]
