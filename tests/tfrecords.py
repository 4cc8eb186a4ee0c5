"""Writes TFRecord files of tf.train.Example, as the multi-object data sets come in."""

import struct


def varint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def record(scene):
    """A tf.train.Example framed as in a TFRecord file (its checksums are not looked at)."""
    entries = b""
    for name, value in scene.items():
        if isinstance(value, bytes):
            feature = message(1, message(1, value))
        else:
            feature = message(2, message(1, struct.pack(f"<{len(value)}f", *value)))
        entries += message(1, message(1, name.encode()) + message(2, feature))
    body = message(1, entries)
    return struct.pack("<Q", len(body)) + bytes(4) + body + bytes(4)
