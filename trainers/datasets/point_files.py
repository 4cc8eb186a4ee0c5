"""Files of points: NumPy arrays, PLY, and text with a point a line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

#: Types of PLY in NumPy's words.
_PLY = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


class Cloud(NamedTuple):
    """points (n, 3) float64; classes (n,) int64, the class of each point, or None where the file says nothing."""

    points: NDArray[np.float64]
    classes: NDArray[np.int64] | None


def read_points(path: Path) -> Cloud:
    """The points of one file.

    * ``.npy``: (n, 3 or more), of which the first three columns are x, y and z;
    * ``.npz``: an array ``points`` like that and, where classes are known, ``classes`` (n,);
    * ``.ply``: ascii or binary, vertices with x, y, z and, where classes are known, ``class`` or ``label``;
    * ``.xyz``, ``.txt``, ``.csv``: three or more numbers a line, apart by blanks or commas; a first line that is no
      numbers is a header, and lines that begin with # are comments.

    Raises:
        DataError: names the file and what is wrong with it.
    """
    try:
        points, classes = READERS[path.suffix.lower()](path)
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] < 3 or not len(points):
            raise ValueError(f"has shape {points.shape}, not (n, 3)")
        points = points[:, :3]
        if not np.isfinite(points).all():
            raise ValueError("has coordinates that are not finite")
        if classes is not None:
            classes = np.asarray(classes)
            if classes.shape != (len(points),) or (classes != classes.astype(np.int64)).any() or classes.min() < 0:
                raise ValueError(f"classes must be {len(points)} whole numbers from 0 on")
            classes = classes.astype(np.int64)
    except (OSError, ValueError, KeyError, UnicodeDecodeError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: no points can be read ({reason}); mend or remove it") from None
    return Cloud(points, classes)


def _npy(path: Path) -> tuple[Any, Any]:
    return np.load(path, allow_pickle=False), None


def _npz(path: Path) -> tuple[Any, Any]:
    with np.load(path, allow_pickle=False) as saved:
        if "points" not in saved:
            raise ValueError(f"has no array called points, but {', '.join(saved.files) or 'none'}")
        return saved["points"], saved.get("classes")


def _text(path: Path) -> tuple[Any, Any]:
    lines = [s for line in path.read_text().splitlines() if (s := line.replace(",", " ").strip()) and s[0] != "#"]
    if lines and not _numbers(lines[0]):
        lines = lines[1:]
    rows = [line.split()[:3] for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) < 3 or not _numbers(" ".join(row)):
            raise ValueError(f"point {number} is {' '.join(row)!r}, not three numbers")
    return np.array(rows, dtype=np.float64).reshape(-1, 3), None


def _numbers(line: str) -> bool:
    try:
        return all(float(word) is not None for word in line.split())
    except ValueError:
        return False


def _ply(path: Path) -> tuple[Any, Any]:
    content = path.read_bytes()
    head, found, body = content.partition(b"end_header")
    words = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not found or not words or words[0] != ["ply"]:
        raise ValueError("is no PLY file")
    body = body[body.index(b"\n") + 1 :]
    order = _ORDERS[next(w[1] for w in words if w and w[0] == "format")]
    count, columns = _vertices(words)
    kind = np.dtype([(n, (order or "=") + _PLY[t]) for t, n in columns])
    if order is None:
        rows = [tuple(line.split()[: len(columns)]) for line in body.decode("ascii").splitlines()[:count]]
        vertices = np.array(rows, dtype=[(n, "f8") for _, n in columns])
    else:
        vertices = np.frombuffer(body, kind, count)
    if len(vertices) < count:
        raise ValueError(f"has {len(vertices)} vertices of the {count} it announces")
    points = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], 1)
    classes = next((vertices[n] for n in ("class", "label") if n in (kind.names or ())), None)
    return points, classes


def _vertices(words: list[list[str]]) -> tuple[int, list[tuple[str, str]]]:
    """How many vertices the header of a PLY announces, and the (type, name) of what each has."""
    elements = [i for i, w in enumerate(words) if w and w[0] == "element"]
    if not elements or words[elements[0]][1] != "vertex":
        raise ValueError("does not begin with its vertices")
    last = elements[1] if len(elements) > 1 else len(words)
    properties = [w for w in words[elements[0] : last] if w and w[0] == "property"]
    if any(w[1] == "list" for w in properties):
        raise ValueError("has lists in its vertices")
    return int(words[elements[0]][2]), [(w[1], w[2]) for w in properties]


#: By the ending of a file.
READERS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    ".npy": _npy, ".npz": _npz, ".ply": _ply, ".xyz": _text, ".txt": _text, ".csv": _text,
}  # fmt: skip


def list_clouds(folder: Path) -> list[Path]:
    """All files of points below a folder, hidden ones left out, sorted by path."""
    files = (f for f in folder.rglob("*") if f.suffix.lower() in READERS and f.is_file())
    return sorted(f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts))
