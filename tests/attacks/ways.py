"""Ways of damaging one file, each a function of its path and a generator of random numbers.

What no reader can tell from the truth is not among them: a digit of a text that becomes another one.
"""

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

Way = Callable[[Path, random.Random], None]


def _empty(path, rng):
    path.write_bytes(b"")


def _truncate(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(1, max(2, len(data)))])


def _truncate_a_little(path, rng):
    path.write_bytes(path.read_bytes()[: -rng.randrange(1, 9)])


def _flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _zero_a_part(path, rng):
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    data[start : start + 512] = bytes(len(data[start : start + 512]))
    path.write_bytes(data)


def _noise(path, rng):
    path.write_bytes(rng.randbytes(len(path.read_bytes()) or 9))


def _remove(path, rng):
    path.unlink()


def _fifo(path, rng):
    path.unlink()
    os.mkfifo(path)


def _folder(path, rng):
    path.unlink()
    path.mkdir()


def _loop(path, rng):
    path.unlink()
    path.symlink_to(path.name)


def _nowhere(path, rng):
    path.unlink()
    path.symlink_to(f"{path.name}-nowhere")


def _device(path, rng):
    path.unlink()
    path.symlink_to("/dev/zero")


ANY: dict[str, Way] = {
    "empty": _empty,
    "truncated": _truncate,
    "removed": _remove,
    "a FIFO": _fifo,
    "a folder": _folder,
    "a link to itself": _loop,
    "a link to nothing": _nowhere,
    "a link to a device": _device,
    "noise": _noise,
}


def _header(data: bytes) -> tuple[int, dict]:
    length = struct.unpack("<Q", data[:8])[0]
    return 8 + length, json.loads(data[8 : 8 + length])


def _exponent(bits: int) -> Way:
    """Flip a bit of the exponent of one number."""

    def flip(path, rng):
        data = bytearray(path.read_bytes())
        start, header = _header(data)
        tensors = [entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"]
        tensors = [entry for entry in tensors if entry["data_offsets"][1] > entry["data_offsets"][0]]
        if not tensors:
            return _flip(path, rng)
        begin, end = rng.choice(tensors)["data_offsets"]
        place = start + rng.randrange(begin, end, 4) + 3
        data[place] ^= bits
        path.write_bytes(data)

    return flip


def _not_finite(path, rng):
    data = bytearray(path.read_bytes())
    start, header = _header(data)
    ends = [
        entry["data_offsets"] for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"
    ]
    ends = [(begin, end) for begin, end in ends if end > begin]
    if not ends:
        return _flip(path, rng)
    begin, end = rng.choice(ends)
    place = start + rng.randrange(begin, end, 4)
    data[place : place + 4] = struct.pack("<f", rng.choice([float("nan"), float("inf"), -float("inf")]))
    path.write_bytes(data)


def _long_header(path, rng):
    data = bytearray(path.read_bytes())
    data[:8] = struct.pack("<Q", rng.choice([2**63, 2**40, 10**8, 0, 1]))
    path.write_bytes(data)


def _offsets(path, rng):
    data = path.read_bytes()
    start, header = _header(data)
    names = [name for name in header if name != "__metadata__"]
    if names:
        header[rng.choice(names)]["data_offsets"] = [2**62, 2**62 + 4]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[start:])


def _renamed(path, rng):
    """One tensor under another name."""
    data = path.read_bytes()
    start, header = _header(data)
    names = [name for name in header if name != "__metadata__"]
    if names:
        header["\x1b[2J\n" + rng.choice(names)] = header.pop(rng.choice(names))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[start:])


BYTES: dict[str, Way] = {
    "a bit flipped": _flip,
    "another bit flipped": _flip,
    "some zeros": _zero_a_part,
    "the end cut off": _truncate_a_little,
}
TENSORS = BYTES | {
    "a high bit of an exponent": _exponent(0x40),
    "a low bit of an exponent": _exponent(0x01),
    "a sign": _exponent(0x80),
    "a number that is not finite": _not_finite,
    "a header of another length": _long_header,
    "offsets beyond the end": _offsets,
    "a tensor renamed": _renamed,
}


def _text(make: Callable[[str], bytes]) -> Way:
    return lambda path, rng: path.write_bytes(make(path.read_text()))


def _high_bit(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] |= 0x80
    path.write_bytes(data)


def _leaves(value, place=()):
    """The places of all values in a value of JSON."""
    yield place
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _leaves(part, (*place, key))


def _at(value, place):
    for key in place:
        value = value[key]
    return value


OTHER = {bool: "x", int: "x", float: "x", str: [7], list: "x", dict: [5], type(None): {"x": 1}}
"""By type, what is put in the place of a value."""


def _replaced(wanted: Callable[[object], bool], new: Callable[[object], str]) -> Way:
    """Put the JSON `new(old)` in the place of one value that is wanted; JSON lines: of one line."""

    def damage(path, rng):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        number = rng.randrange(len(lines))
        value = json.loads(lines[number])
        places = [place for place in _leaves(value) if place and wanted(_at(value, place))]
        if not places:
            lines[number] = new(0)
        else:
            place = rng.choice(places)
            old = _at(value, place)
            _at(value, place[:-1])[place[-1]] = "@@"
            lines[number] = json.dumps(value).replace('"@@"', new(old))
        path.write_text("\n".join(lines) + "\n")

    return damage


def _number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


JSON: dict[str, Way] = {
    "deep": _text(lambda _: b"[" * 100_000 + b"]" * 100_000),
    "deep within": _replaced(lambda _: True, lambda _: '{"a":' * 20_000 + "1" + "}" * 20_000),
    "a huge integer": _replaced(_number, lambda _: "9" * 5_000),
    "NaN": _replaced(_number, lambda _: "NaN"),
    "-Infinity": _replaced(_number, lambda _: "-Infinity"),
    "1e999": _replaced(_number, lambda _: "1e999"),
    "another type": _replaced(lambda _: True, lambda old: json.dumps(OTHER[type(old)])),
    "another type again": _replaced(lambda _: True, lambda old: json.dumps(OTHER[type(old)])),
    "an empty text": _replaced(_number, lambda _: '""'),
    "UTF-16": _text(lambda text: text.encode("utf-16")),
    "a byte of no UTF-8": _high_bit,
    "a list": _text(lambda _: b"[1, 2]\n"),
    "a number": _text(lambda _: b"7\n"),
    "null": _text(lambda _: b"null\n"),
    "an empty object": _text(lambda _: b"{}\n"),
}


def ways(path: Path) -> dict[str, Way]:
    """Those that fit a file."""
    if not path.stat().st_size:
        return ANY
    if path.suffix == ".safetensors":
        return ANY | TENSORS
    return ANY | (JSON if path.suffix in (".json", ".jsonl") else BYTES)
