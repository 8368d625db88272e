"""One flipped bit in a safetensors file: the highest of an exponent, which makes a weight huge, or not finite."""

import json
from pathlib import Path


def flip(path: str | Path) -> None:
    """Flip that bit in the last number of the file's last tensor of floats, or else of its last tensor."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    filled = [tensor for tensor in header.values() if tensor["data_offsets"][0] < tensor["data_offsets"][1]]
    floats = [tensor for tensor in filled if tensor["dtype"].startswith("F")]
    end = max(tensor["data_offsets"][1] for tensor in floats or filled)
    content[start + end - 1] ^= 64
    Path(path).write_bytes(content)
