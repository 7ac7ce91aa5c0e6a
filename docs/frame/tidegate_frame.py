"""Writes frames for tidegate: one module, for MicroPython and CPython.

The bytes are described in ../frame.md; a test of the project compares this encoder's output with the
gateway's own, byte for byte. Take it under Apache-2.0 or MIT, as you like.

    from tidegate_frame import frame, reading

    payload = frame([
        reading("climate", {"t": 21.5, "open": False}, tags={"device": "d1"}, age_ms=1500),
    ])

A float becomes a double (`Single(x)` four bytes instead of eight), an int a signed integer
(`Unsigned(n)` an unsigned one), a bool a boolean, a str a text.
"""

import struct


class Single:
    def __init__(self, value):
        self.value = value


class Unsigned:
    def __init__(self, value):
        self.value = value


def frame(readings):
    return b"\xc1\x01" + _varint(len(readings)) + b"".join(readings)


def reading(measurement, fields, tags=None, at_ns=None, age_ns=None, age_ms=None):
    """One reading. An empty measurement: the gateway's own default. No time: that of arrival."""
    parts = [_text(measurement), _varint(len(tags or {}))]
    for key, value in (tags or {}).items():
        parts += [_text(key), _text(value)]
    if age_ms is not None:
        age_ns = age_ms * 1000000
    if at_ns is not None:
        parts.append(b"\x01" + struct.pack("<q", at_ns))
    elif age_ns is not None:
        parts.append(b"\x02" + _varint(age_ns))
    else:
        parts.append(b"\x00")
    parts.append(_varint(len(fields)))
    for name, value in fields.items():
        parts += [_text(name), _value(value)]
    return b"".join(parts)


def _value(value):
    if isinstance(value, bool):
        return b"\x04\x01" if value else b"\x04\x00"
    if isinstance(value, float):
        return b"\x00" + struct.pack("<d", value)
    if isinstance(value, Single):
        return b"\x01" + struct.pack("<f", value.value)
    if isinstance(value, Unsigned):
        return b"\x03" + _varint(value.value)
    if isinstance(value, str):
        return b"\x05" + _text(value)
    return b"\x02" + _varint(value * 2 if value >= 0 else -value * 2 - 1)


def _text(text):
    utf8 = text.encode()
    return _varint(len(utf8)) + utf8


def _varint(number):
    if number < 251:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfb" + struct.pack("<H", number)
    if number <= 0xFFFFFFFF:
        return b"\xfc" + struct.pack("<I", number)
    return b"\xfd" + struct.pack("<Q", number)
