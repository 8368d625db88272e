"""How many generated images are scored against how many real ones, by name. Nothing here imports torch."""

from dataclasses import dataclass

from apps.command.console import counted
from priors.errors import InputError, unknown

LEAST = 10
"""Images a side, below which nothing is scored: the Inception score has ten splits."""


@dataclass(frozen=True)
class Protocol:
    """How many images are compared. FID falls with the number of images: never compare two protocols' scores.

    In all of them KID is the mean over torch-fidelity's 100 random subsets of 1,000 images a side (fewer where there
    are fewer) from all that are scored: it is unbiased, so it needs no chunks. Precision and recall are by the 3
    nearest neighbours, chunk by chunk as FID is. Where there are several chunks, IS is the mean over the same chunks of
    fakes, else over torch-fidelity's ten splits.
    """

    name: str
    description: str
    """One line for people."""
    fakes: int | None
    """Generated images a chunk; None: all that are given, or as many as there are real ones."""
    reals: int | None
    """Real images a chunk; None: all."""
    chunks: int = 1
    """Pairs of chunks; what is reported is the mean over them."""
    partial: bool = False
    """Whether fewer chunks do where there are fewer images."""
    least_reals: int = LEAST
    """Real images that are needed."""


@dataclass(frozen=True)
class Layout:
    """A protocol as it fits the images that there are."""

    chunks: int
    fakes: int
    """A chunk."""
    reals: int
    """A chunk."""


_DECLARED = (
    Protocol(
        "fid-5k",
        "mean of ten FIDs of 5,000 against 5,000, over 50,000 fakes and 50,000 reals",  # Shmelkov et al. 2018, table 5
        fakes=5_000,
        reals=5_000,
        chunks=10,
        least_reals=50_000,
    ),
    Protocol(
        "fid-5k-partial",
        "the same over as many such pairs as there are images for, at most ten",
        fakes=5_000,
        reals=5_000,
        chunks=10,
        partial=True,
        least_reals=5_000,
    ),
    Protocol(
        "fid-50k",
        "one FID of 50,000 fakes against all reals, of which there must be 50,000",
        fakes=50_000,
        reals=None,
        least_reals=50_000,
    ),
    Protocol("fid-all", "one FID of all images against all, for small data sets and folders", fakes=None, reals=None),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _DECLARED}


def named(name: str) -> Protocol:
    """The protocol called `name`.

    Raises:
        InputError: there is none; the nearest is offered.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def single(count: int) -> Protocol:
    """One FID of `count` images against `count`: cheap enough to look on with during training.

    Raises:
        InputError: too few to score.
    """
    if count < LEAST:
        raise InputError(f"{counted(count, 'image')} to score: at least {LEAST} are needed")
    return Protocol(f"fid-1x{count}", f"one FID of {count:,} against {count:,}", count, count, least_reals=count)


def layout(protocol: Protocol, reals: int, against: str, fakes: int | None = None, source: str = "") -> Layout:
    """How a protocol cuts the images that there are.

    Args:
        protocol: which one.
        reals: how many real images there are.
        against: what they are called, for messages.
        fakes: how many generated ones there are; None where as many as are wanted can be drawn.
        source: what they are called, for messages.

    Raises:
        InputError: there are too few of either.
    """
    if reals < protocol.least_reals:
        raise InputError(
            f"{protocol.name} needs {protocol.least_reals:,} real images, and {against} has {reals:,}: "
            + _instead(protocol, reals, fakes)
        )
    if protocol.fakes is None or protocol.reals is None:
        wanted = protocol.fakes or (reals if fakes is None else fakes)
        found = Layout(1, wanted, protocol.reals or reals)
    else:
        there = protocol.chunks
        if protocol.partial:
            there = min(there, reals // protocol.reals, there if fakes is None else fakes // protocol.fakes)
        found = Layout(max(1, there), protocol.fakes, protocol.reals)
    needed = max(found.chunks * found.fakes, LEAST)
    if fakes is not None and fakes < needed:
        raise InputError(
            f"{protocol.name} needs {needed:,} generated images, and {source} has {fakes:,}: "
            + _instead(protocol, reals, fakes)
        )
    return found


def _instead(protocol: Protocol, reals: int, fakes: int | None) -> str:
    """What to do where there are too few images."""
    there = min(reals, reals if fakes is None else fakes)
    if there < LEAST:
        return f"give at least {LEAST}"
    chunks = there // 5_000
    if chunks and not protocol.partial:
        chunks = "one chunk" if chunks == 1 else f"{chunks} chunks"
        return f"--protocol fid-5k-partial scores the {chunks} of 5,000 there are, and says so"
    return "--protocol fid-all scores what there is, all at once"
