"""What values flags take: a rule stands in the type of a flag, and is asked before anything else is done.

`epochs: Epochs = 10.0` is a number above 0, a million at most. A tuple's rule stands with its elements
(`tuple[Count, ...]`). Rules are for the command line: a run that is stored already was let in when it was made.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

LARGEST_CONCENTRATION = 1e12
"""Of a prior. Draws of one beyond it are its mean direction to the last bit of single precision, and a divergence of
such priors is near the end of its range."""


@runtime_checkable
class Rule(Protocol):
    """What a flag's value has to be."""

    def refusal(self, value: Any) -> str | None:
        """What is expected instead, in words; None where the value is fine."""


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds.

    Attributes:
        least: the smallest one; None where `above` says it.
        above: what all are larger than.
        most: the largest one; None where `below` says it. Infinity lets infinity pass.
        below: what all are smaller than.
        lenient: whether stored runs may have any number: they were let in before there was this range.

    Example:
        >>> Range(1, most=1024).refusal(0), Range(1, most=1024).refusal(8)
        ('expected 1 or more, at most 1,024', None)
        >>> Range(above=0, below=1).refusal(float("nan"))
        'expected a number above 0, below 1'
    """

    least: int | float | None = None
    above: int | float | None = None
    most: int | float | None = None
    below: int | float | None = None
    lenient: bool = False

    def refusal(self, value: int | float) -> str | None:
        """What is expected instead, in words; None where the value is fine. NaN never is."""
        low = value > self.above if self.least is None else value >= self.least
        high = value < self.below if self.most is None else value <= self.most
        return None if low and high else f"expected {self.words}"

    @property
    def words(self) -> str:
        """Which numbers they are."""
        begin = f"a number above {_plain(self.above)}" if self.least is None else f"{_plain(self.least)} or more"
        if self.most == float("inf"):
            return begin
        return f"{begin}, " + (f"below {_plain(self.below)}" if self.most is None else f"at most {_plain(self.most)}")


def _plain(bound: int | float) -> str:
    """A bound as one reads it."""
    return f"{bound:,.0f}" if bound == int(bound) and abs(bound) < 1e12 else f"{bound:g}"


@dataclass(frozen=True)
class FolderRule:
    """A folder, or a new one; no file.

    Attributes:
        of: what is kept in it.
    """

    of: str

    def refusal(self, value: Path) -> str | None:
        """What is expected instead; None where there is a folder, or nothing."""
        if value.exists() and not value.is_dir():
            return f"expected the folder that {self.of} are kept in, or a new one; this is a file"
        return None


@dataclass(frozen=True)
class Choices:
    """Some names; the rule of every flag whose type lists them (`Literal`).

    Attributes:
        names: all there are.
    """

    names: tuple[str, ...]

    def refusal(self, value: str) -> str | None:
        """What is expected instead; None for one of the names."""
        return None if value in self.names else f"expected {self.words}"

    @property
    def words(self) -> str:
        """Which names there are."""
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class DeviceRule:
    """What computes, by torch's names."""

    def refusal(self, value: str) -> str | None:
        """What is expected instead, in words; None for a name of this form.

        Example:
            >>> DeviceRule().refusal("cuda:1"), DeviceRule().refusal("gpu")
            (None, 'expected auto, cpu, cuda, cuda:N, xpu, xpu:N or mps')
        """
        known = re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?", value)
        return None if known else "expected auto, cpu, cuda, cuda:N, xpu, xpu:N or mps"


@dataclass(frozen=True)
class CodeRule:
    """Code of the user's own, as a run or an export names it."""

    def refusal(self, value: str) -> str | None:
        """What is expected instead, in words; None for a name of this form.

        Example:
            >>> CodeRule().refusal("import:mine:net"), CodeRule().refusal("mine.net")
            (None, 'expected import:package.module:factory, as the run was made with')
        """
        known = re.fullmatch(r"import:[^:,]+:[^:,]+(,.*)?", value)
        return None if known else "expected import:package.module:factory, as the run was made with"


ANY_INT = Range(-(2**31), most=2**31 - 1)
"""Of whole numbers whose flag says nothing."""
ANY_FLOAT = Range(-1e30, most=1e30)
"""Of numbers whose flag says nothing: what single precision holds, and some of its products."""

Count = Annotated[int, Range(1, most=1_000_000_000)]
"""One or more of something that is had one after the other."""
FromZero = Annotated[int, Range(0, most=1_000_000_000)]
"""Of which there may be none."""
LogEvery = Annotated[int, Range(1, most=1_000_000)]
"""Steps whose losses are held at a time."""
Few = Annotated[int, Range(1, most=10_000)]
"""Of which each is a training of its own, or multiplies every step's work."""
Layers = Annotated[int, Range(1, most=100)]
"""Of a network, one on the other."""
Width = Annotated[int, Range(1, most=1_000_000_000)]
"""Of a layer; whether it fits is a question of memory."""
PenultimateWidth = Annotated[int, Range(2, most=1_000_000_000)]
"""Likewise, of activations that have directions."""
Pixels = Annotated[int, Range(1, most=16_384)]
"""A side of an image."""
Threads = Annotated[int, Range(1, most=1024)]
"""Of the CPU: systems refuse to start more than some thousands, and the program dies of it."""
Seed = Annotated[int, Range(0, most=2**63 - 1, lenient=True)]
"""Of what is drawn at random."""
Epochs = Annotated[float, Range(above=0, most=1_000_000)]
"""Passes over a set."""
EpochsFromZero = Annotated[float, Range(0, most=1_000_000)]
"""Likewise, or none."""
MixupAlpha = Annotated[float, Range(0.01, most=1000)]
"""The parameter of a symmetric beta distribution."""
Rate = Annotated[float, Range(0, below=1)]
"""A part that is dropped, smoothed or kept, but never all."""
CONCENTRATION = Range(0, most=LARGEST_CONCENTRATION)
"""Of a concentration, also where it is given from Python."""
Concentration = Annotated[float, CONCENTRATION]
"""Of a prior."""
Mean = Annotated[float, Range(-1000, most=1000)]
"""Of pixels in [0, 1], with room for a scale of one's own."""
Deviation = Annotated[float, Range(above=0, most=1000)]
"""Likewise."""
Device = Annotated[str, DeviceRule()]
"""What computes."""
Code = Annotated[str, CodeRule()]
"""Whose running is allowed."""
LogitsFolder = Annotated[Path, FolderRule("logits")]
"""Where a teacher's logits are."""
RunsFolder = Annotated[Path, FolderRule("runs")]
"""Where runs are."""
DataFolder = Annotated[Path, FolderRule("data sets")]
"""Where data sets are."""
