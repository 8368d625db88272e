"""How much arithmetic a training takes, by its command line alone: from the shapes of its networks, without data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from apps.command.cli import configured, verb_of
from apps.data.sources.catalogue import DATASETS
from priors import zoo
from priors.errors import InputError

_FOLDERS = {"imagenet": (1_281_167, 50_000, 1000), "birds-against-random": (2 * 5994, 2 * 5794, 2)}
"""Training images, test images and classes of what the catalogue does not say them of: ImageNet's of 2012 as a folder,
and birds beside as many random pictures."""
_TRAINING, _DERIVED = 3, 9
"""Passes that a step is worth, as of a forward one: it is derived in the weights and in the layers, each of about the
same size. Where a loss is of slopes, these are taken on the graph (two more), and derived themselves (four more)."""
_SLOPES = 3
"""Likewise of a network whose slopes are taken and not derived."""


@dataclass(frozen=True)
class Words:
    """A command line, read without its parser: of hundreds of them that would take long.

    Attributes:
        verb: its first words, such as "train classifier".
        first: the word after them; empty where that is a flag.
        flags: their values by name; several are joined by blanks.
    """

    verb: str
    first: str
    flags: Mapping[str, str]

    def value(self, flag: str) -> Any:
        """A flag's value as it is written, or else the verb's own default; None where that is none.

        Example:
            >>> Words("train classifier", "", {"--train-images": "none"}).value("--train-images") is None
            True
        """
        if flag in self.flags:
            return None if self.flags[flag] == "none" else self.flags[flag]
        return _defaults(self.verb).get(flag.removeprefix("--").replace("-", "_"))


def words_of(words: Sequence[str]) -> Words:
    """A command's verb, first word and flags.

    Example:
        >>> words_of(["distill", "ce+kd", "--taps", "a", "b", "--plan", "--student=mlp"]).flags
        {'--taps': 'a b', '--plan': '', '--student': 'mlp'}
    """
    verb, rest = verb_of(list(words))
    flags: dict[str, list[str]] = {}
    first, last = "", None
    for word in rest:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            last = flags.setdefault(flag, [])
            last += [value] * bool(equals)
        elif last is not None:
            last.append(word)
        else:
            first = first or word
    return Words(verb, first, {flag: " ".join(values) for flag, values in flags.items()})


@cache
def _defaults(verb: str) -> dict[str, Any]:
    """What a training verb does where nothing is said, flat."""
    from apps.command.config import identity

    first = {"distill": ["ce"], "prune": ["runs/model", "--keep", "0.5"], "analyse normalised": ["runs/model"]}
    if not verb.startswith("train ") and verb not in first:
        return {}
    return identity(configured(verb, first.get(verb, []))[1])


def operations(words: Words, makers: Mapping[str, Words]) -> float | None:
    """Floating-point operations of a training, in convolutions and products of matrices; None where they are unknown.

    They are counted by one forward pass of each network without data, and multiplied by what a step is worth.

    Args:
        words: the command.
        makers: by run, the command that makes it.
    """
    if words.verb not in ("train classifier", "distill", "prune", "analyse normalised"):
        return None
    known = _Known(words, makers)
    seen, one = known.images, known.of_an_image()
    return None if seen is None or one is None else seen * one


def images_seen(words: Words, makers: Mapping[str, Words]) -> float | None:
    """How many images a command's networks see, each as often as they do; None where that is not known.

    Args:
        words: the command.
        makers: by run, the command that makes it.
    """
    return _Known(words, makers).images


@dataclass(frozen=True)
class _Known:
    """What a command's words tell of its images and networks."""

    words: Words
    makers: Mapping[str, Words]

    @property
    def source(self) -> Words:
        """The command that names the data: of a network that is pruned, its training."""
        return self.makers.get(_last(self.words.first), self.words) if self.words.verb == "prune" else self.words

    @property
    def counts(self) -> tuple[int, int, int] | None:
        """Training images, test images and classes; None where they are not known beforehand."""
        data = str(self.source.value("--data"))
        if data in DATASETS and DATASETS[data].train and DATASETS[data].test:
            return DATASETS[data].train, DATASETS[data].test, DATASETS[data].classes
        return _FOLDERS.get(_last(data))

    @property
    def images(self) -> float | None:
        """How many images the networks see, each as often as they do."""
        if self.counts is None:
            return None
        if self.words.verb == "analyse normalised":
            return float(self.counts[1])
        if self.words.value("--epochs") is None:
            return None
        held_out, few = (self.source.value(flag) for flag in ("--validation", "--train-images"))
        return float(self.words.value("--epochs")) * (int(few) if few else self.counts[0] - int(held_out or 0))

    def of_an_image(self) -> float | None:
        """Operations of one image that is trained on, or that is classified."""
        words = self.words
        if words.verb == "analyse normalised":
            return self._forward(words.first)
        if words.verb != "distill":
            own = self._forward(self._network(words))
            return None if own is None else _TRAINING * own
        from distill.terms import parse, terms

        needs = [terms()[name]().needs for name in parse(words.first)]
        derived = any(need.derives or any(one.needs.derives for one in need.shared) for need in needs)
        own, theirs = self._forward(self._network(words)), 0.0
        if any(need.teacher for need in needs):
            teacher = words.flags.get("--teacher", "")
            maker = self.makers.get(_last(teacher))
            theirs = self._forward(teacher if maker is None else self._network(maker))
        if own is None or theirs is None:
            return None
        return (_DERIVED if derived else _TRAINING) * own + (_SLOPES if derived else 1) * theirs

    def _network(self, words: Words) -> str:
        """The architecture that a command trains."""
        if words.verb == "prune":
            maker = self.makers.get(_last(words.first))
            return "" if maker is None else self._network(maker)
        return str(words.value("--student" if words.verb == "distill" else "--arch"))

    def _forward(self, network: str) -> float | None:
        data, size = str(self.source.value("--data")), self.source.value("--image-size")
        shape = DATASETS[data].image_shape if data in DATASETS else None
        if shape is None and size:
            shape = (3, int(size), int(size))
        return None if shape is None or self.counts is None else _forward(network, shape, self.counts[2])


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@cache
def _forward(network: str, shape: tuple[int, int, int], classes: int) -> float | None:
    """Operations of one image's forward pass; None where the network is not one of the zoo, or does not take it."""
    name = network.rpartition(":")[0] if network.count(":") == 2 else network  # without trained weights
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
            built = zoo.build(name, classes=classes, image_shape=shape).eval()
            counts: list[float] = []
            for module in built.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    # Each output is a sum over as many products as the weights of one have entries.
                    each = 2.0 * module.weight[0].numel()
                    module.register_forward_hook(lambda _, given, found, each=each: counts.append(each * found.numel()))
            built(torch.empty(1, *shape))
    except (InputError, RuntimeError, NotImplementedError):
        return None
    return sum(counts) or None
