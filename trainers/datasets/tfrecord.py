"""Reads TFRecord files of tf.train.Example without TensorFlow: just what the multi-object data sets need."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError

Features = dict[str, list[bytes] | list[float] | list[int]]


def examples(path: Path) -> Iterator[Features]:
    """Features by name of each record, in file order; gzip-compressed files are recognised.

    Raises:
        DataError: the file is missing, cut short or no TFRecord file.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        opened: BinaryIO = gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115
        with opened as file:
            yield from _records(file, path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of the .tfrecords file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: is cut short or damaged ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def _records(file: BinaryIO, path: Path) -> Iterator[Features]:
    number = 0
    while head := file.read(12):
        if len(head) < 12:
            raise DataError(f"{path}: ends within record {number}; download it again")
        (length,) = struct.unpack("<Q", head[:8])
        if length > 1 << 30:
            raise DataError(f"{path}: is no TFRecord file (record {number} claims {length} bytes)")
        body = file.read(length + 4)
        if len(body) < length + 4:
            raise DataError(f"{path}: ends within record {number}; download it again")
        try:
            yield _example(memoryview(body)[:length])
        except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
            raise DataError(
                f"{path}: record {number} is no tf.train.Example ({error}); give the original file"
            ) from None
        number += 1


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """(field number, wire type, value) of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise IndexError("a field is longer than its message")
        yield tag >> 3, kind, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _example(data: memoryview) -> Features:
    found: Features = {}
    for _, _, features in _fields(data):
        for _, _, entry in _fields(_message(features)):
            parts = {number: value for number, _, value in _fields(_message(entry))}
            name = bytes(_message(parts[1])).decode()
            found[name] = _values(_message(parts[2]))
    return found


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _values(feature: memoryview) -> list[bytes] | list[float] | list[int]:
    """A Feature: bytes_list = 1, float_list = 2 or int64_list = 3, packed or not."""
    for number, _, held in _fields(feature):
        items = list(_fields(_message(held)))
        if number == 1:
            return [bytes(_message(v)) for _, _, v in items]
        if number == 2:
            packed = b"".join(bytes(_message(v)) for _, _, v in items)
            return list(struct.unpack(f"<{len(packed) // 4}f", packed))
        numbers: list[int] = []
        for _, kind, value in items:
            if kind == 0 and isinstance(value, int):
                numbers.append(value)
                continue
            packed_ints, at = _message(value), 0
            while at < len(packed_ints):
                one, at = _varint(packed_ints, at)
                numbers.append(one)
        return numbers
    return []
