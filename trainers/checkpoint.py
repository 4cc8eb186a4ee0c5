"""Checkpoints: what a training needs to go on, and a model to be used, as two files in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import DataError
from .settings import SettingError, TrialConfig

STATE, MEMBERS = "checkpoint.pt", "members.json"

#: Changes when older checkpoints cannot be read any more.
VERSION = 1


def save(folder: Path, members: Sequence[TrialConfig], state: Mapping[str, Any], **facts: Any) -> None:
    """Writes both files into `folder`, each at once: a reader sees the old file or the new one.

    Args:
        members: their settings go to members.json.
        state: tensors and plain values; `facts` too, about the data the model was made for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"version": VERSION, "members": [m.flat() for m in members]}
    temporary = folder / (MEMBERS + ".tmp")
    temporary.write_text(json.dumps(settings, indent=1))
    os.replace(temporary, folder / MEMBERS)
    temporary = folder / (STATE + ".tmp")
    torch.save({"version": VERSION, **settings, **facts, **state}, temporary)
    os.replace(temporary, folder / STATE)


@dataclass
class Models:
    """Models to use, without what a training needs to go on: of each member as it was after an epoch of its own.

    Attributes:
        epochs: of each of G members.
        weights: parameters and buffers by name, (G, ...), in main memory.
    """

    epochs: list[int] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Models:
        """Of a folder that `save` or `Progress.save_models` filled; DataError where it is missing or damaged."""
        state = read(folder, "cpu")
        count = len(state["members"])
        return cls([epoch_of(state, member) for member in range(count)], dict(state["model"]))

    def take(self, state: Mapping[str, Tensor], epoch: int, taken: Sequence[bool]) -> None:
        """Puts what members are now, (G, ...) on any device, in the place of what is kept of those `taken`."""
        if not self.epochs:
            self.epochs = [epoch] * len(taken)
            self.weights = {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}
        for member in (m for m, one in enumerate(taken) if one):
            self.epochs[member] = epoch
            for name, tensor in state.items():
                self.weights[name][member] = tensor[member].to("cpu")


def epoch_of(state: Mapping[str, Any], member: int) -> int:
    """After how many epochs the model of a member was saved."""
    found = state["epoch"]
    return int(found[member] if isinstance(found, list) else found)


def members_of(folder: Path) -> list[TrialConfig]:
    """The members whose training was saved in `folder`; DataError when there is no readable one."""
    path = folder / MEMBERS
    try:
        saved = json.loads(path.read_text())
        return [TrialConfig.from_flat(flat) for flat in saved["members"]]
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; give a folder that a training saved") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is damaged ({error}); use another checkpoint") from None
    except SettingError as error:
        raise DataError(
            f"{path}: has settings this version does not know ({error}); use the version it is from"
        ) from None


def read(folder: Path, device: torch.device | str) -> dict[str, Any]:
    """The saved state, its tensors on `device`; DataError when it is missing, damaged or of another version."""
    path = folder / STATE
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; give a folder that a training saved") from None
    except Exception as error:  # damaged bytes are instructions to the unpickler, which may fail at any of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); use another checkpoint") from None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise DataError(f"{path}: is no checkpoint of this version ({VERSION}); use another checkpoint")
    return state


def check_same(folder: Path, state: Mapping[str, Any], members: Sequence[TrialConfig], fingerprint: str) -> None:
    """DataError unless `state` is of these members and of data with this fingerprint."""
    ours = [m.flat() for m in members]
    if state["members"] != ours:
        changed = sorted(
            {
                n
                for a, b in zip(state["members"], ours, strict=False)
                for n in a.keys() | b.keys()
                if a.get(n) != b.get(n)
            }
        )
        what = (
            f"differs in {', '.join(changed)}" if changed else f"has {len(state['members'])} members, not {len(ours)}"
        )
        raise DataError(f"{folder}: is the checkpoint of another training, which {what}; resume with its own settings")
    if state["fingerprint"] != fingerprint:
        raise DataError(
            f"{folder}: was trained on other images than the data set has now; start again or restore the data"
        )
