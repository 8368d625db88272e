"""What scores compare images by: the features and logits of a network, and how those scores are called."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from apps.command.config import Foreign
from apps.models import named
from apps.runs.run import Run
from priors.errors import InputError
from priors.files.tensors import digest_of

Extract = Callable[[UInt8[Tensor, "n channels height width"]], tuple[Float[Tensor, "n m"], Float[Tensor, "n classes"]]]


@dataclass(frozen=True)
class Extractor:
    """A network in evaluation mode that takes images of 0 ... 255 and gives features and logits."""

    name: str
    """Of the network."""
    model: str
    """As it was asked for on the command line; "inception" for the usual one."""
    layers: tuple[str, str]
    """Names of what FID, KID, precision and recall are of, and of what IS is of."""
    features: int
    """How many numbers an image's features are."""
    digest: str
    """16 hexadecimal digits that name the weights."""
    preprocessing: str
    """What is done to pixels first, in words."""
    network: nn.Module = field(repr=False)
    extract: Extract = field(repr=False)
    """(n, channels, height, width), uint8, on the network's device, to features (n, m) and logits (n, classes)."""
    channels: int | None = None
    """Of its images; None where it does not say."""
    size: tuple[int, int] | None = None
    """(height, width) of its images; None where any are taken."""
    batch_size: int = 500
    """Images at a time."""
    classifies: bool = True
    """Whether it has logits of classes; otherwise there is no Inception score, and `extract` gives none, (n, 0)."""
    standard: bool = False
    """Whether its scores are those that are meant where nothing else is said."""

    def label(self, metric: str) -> str:
        """What a score of this extractor is called: plain FID, IS, KID, precision and recall are Inception's alone.

        Example:
            >>> from dataclasses import replace
            >>> extractor = Extractor("wrn", "runs/a", ("penultimate", "logits"), 128, "", "", nn.Identity(), print)
            >>> extractor.label("FID"), replace(extractor, standard=True).label("FID")
            ('FID (wrn, penultimate)', 'FID')
        """
        return metric if self.standard else f"{metric} ({self.name}, {self.layers[metric == 'IS']})"

    def check(self, image_shape: tuple[int, int, int], source: str) -> None:
        """Make sure that images can be given to the network.

        Raises:
            InputError: another number of channels, or another size.
        """
        channels, height, width = image_shape
        if self.channels not in (None, channels):
            given = "a single channel" if channels == 1 else f"{channels} channels"
            more = " (RGB): give a classifier of such images as --extractor RUN" if self.standard else ""
            raise InputError(f"the images of {source} have {given}, but {self.name} takes {self.channels}{more}")
        if self.size not in (None, (height, width)):
            raise InputError(
                f"the images of {source} are {height}x{width}, but {self.name} takes {self.size[0]}x{self.size[1]}: "
                "give another extractor"
            )


def classifier_extractor(model: str, foreign: Foreign | None = None) -> Extractor:
    """A classifier's penultimate activations as features, and its logits.

    Args:
        model: a run's folder, or any other MODEL that classifies.
        foreign: what a model of one's own does not say itself.

    Raises:
        InputError: no such model, or one that does not classify.
    """
    try:
        network = named.classifier(model, foreign)
    except InputError as error:
        raise InputError(f"--extractor: {error}") from None

    def extract(pixels: Tensor) -> tuple[Tensor, Tensor]:
        penultimate = network.penultimate(pixels.float().div_(255))
        return penultimate, network.head(penultimate)

    shape = network.image_shape
    return Extractor(
        name=_name(model),
        model=model,
        layers=("penultimate", "logits"),
        features=network.head.in_features,
        digest=digest_of(network.state_dict()),
        preprocessing="pixels / 255, then the network's own normalisation",
        network=network,
        extract=extract,
        channels=shape[0] if shape else None,
        size=shape[1:] if shape else None,
    )


def _name(model: str) -> str:
    """A run by its architecture and its data, any other MODEL by what it is called."""
    if not named.is_run(model):
        return model
    config = Run(model).config()["config"]
    architecture = config.get("arch", config.get("student", Path(model).name))
    return f"{architecture}-{Path(named.trained_on(Run(model)).data).stem}"


def run_extractor(extractor: Extractor, pixels: UInt8[Tensor, "n _ _ _"]) -> tuple[Tensor, Tensor]:
    """Features and logits in float32, whatever autocast is on."""
    with torch.autocast(pixels.device.type, enabled=False):
        features, logits = extractor.extract(pixels)
    return features.float(), logits.float()
