"""Factor transfer: the student's last stage, translated, against the teacher's, paraphrased."""

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distill.feature_maps import Activation, activated, pooled
from distill.regressor import Regressor, convolution
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace
from distill.unit import unit

_SLOPE = 0.1
"""Of the leaky ReLUs below 0."""


@dataclass(frozen=True)
class _Variant:
    """What differs between the published forms.

    Attributes:
        weight: in the objective.
        paraphraser: whether it has batch norm.
        translator: likewise.
        reconstruction: the paraphraser is trained to have the least of these.
        energies: whether factors are averaged to their mean squares over channels before they are compared.
    """

    weight: float
    paraphraser: bool
    translator: bool
    reconstruction: Literal["l1", "mse"]
    energies: bool


_VARIANTS = {
    # name                   weight  batch norm in both  trained by  energies
    "paper": _Variant(        500.0, True,  True,        "l1",       False),
    "code": _Variant(         500.0, False, False,       "l1",       False),
    "repdistiller": _Variant( 200.0, False, True,        "mse",      True),
}  # fmt: skip


def difference(
    student: Float[Tensor, "batch channels _ _"], teacher: Float[Tensor, "batch channels _ _"], energies: bool = False
) -> Float[Tensor, ""]:
    """|F_t / |F_t|_2 - F_s / |F_s|_2| of flattened factors F, a mean over all entries (Kim et al. 2018, with p = 1).

    The mean is that of the authors' code.

    Args:
        student: factors (batch, channels, height, width).
        teacher: likewise; the larger of both is pooled.
        energies: compare mean_c F_c^2 instead of F (Tian et al. 2020's code).
    """
    s, t = (maps.float() for maps in pooled(student, teacher))
    if energies:
        s, t = (maps.square().mean(1) for maps in (s, t))
    return (unit(s.flatten(1)) - unit(t.flatten(1))).abs().mean()


class _Factors(Loss):
    def __init__(self, inputs: int, outputs: int, config: "FT", generator: torch.Generator | None):
        super().__init__()
        self.variant, self.activation = _VARIANTS[config.variant], config.activation
        factors = max(1, round(config.rate * outputs))
        norms = self.variant.paraphraser
        self.encoder = _layers(nn.Conv2d, (outputs, outputs, factors, factors), norms, generator)
        self.decoder = _layers(nn.ConvTranspose2d, (factors, factors, outputs, outputs), norms, generator)
        self.translator = _layers(nn.Conv2d, (inputs, inputs, factors, factors), self.variant.translator, generator)

    def loss(self, student: Trace | None, teacher: Trace | None, given: Given):
        t = activated(teacher.stages[-1], self.activation)
        # The paraphraser is frozen but in its own phase, whatever mode the term as a whole is put in.
        for part in (self.encoder, self.decoder):
            part.train(self.training and given.pretraining)
        if given.pretraining:
            distance = F.l1_loss if self.variant.reconstruction == "l1" else F.mse_loss
            return distance(self.decoder(self.encoder(t)), t)
        with torch.no_grad():
            factors = self.encoder(t)
        s = activated(student.stages[-1], self.activation)
        return difference(self.translator(s), factors, self.variant.energies)


def _layers(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d],
    channels: tuple[int, ...],
    norms: bool,
    generator: torch.Generator | None,
) -> Regressor:
    """Three 3x3 convolutions, each with a leaky ReLU and perhaps batch norm before that."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(channels, channels[1:], strict=False):
        layers.append(convolution(kind, inputs, outputs, 3, generator, padding=1))
        layers += [nn.BatchNorm2d(outputs)] if norms else []
        layers.append(nn.LeakyReLU(_SLOPE))
    return Regressor(*layers)


@dataclass(frozen=True)
class FT(Term):
    """Distance between factors of the last stages: the teacher's paraphrased, the student's translated.

    The paraphraser is an autoencoder, whose encoder gives the factors. It is trained to reconstruct the teacher's last
    stage in a phase of its own, and frozen afterwards. Encoder, decoder and translator have three 3x3 convolutions
    each, with leaky ReLUs.

    The variant "paper" has batch norm in all of them, "code" in none, as its authors' code; both reconstruct by L1.
    "repdistiller" is that of Tian et al. 2020: what is compared are means over channels of the factors' squares, the
    paraphraser is without batch norm, and its phase has the mean squared error. Of residual networks and VGGs that code
    takes the last stage behind its ReLU, as by default; of a wide residual network the last group's sum as it is
    (activation none and the tap body.group3). For both kinds of residual network that phase has a learning rate of .01.
    """

    needs = Needs(teacher=True, stages=True)
    paper = "Kim, Park and Kwak, Paraphrasing complex network: network compression via factor transfer, 2018"
    pretrains = "term"

    weight: float | None = None
    """Of the loss in the objective; unset: 500, and 200 for the variant repdistiller."""
    variant: Literal["paper", "code", "repdistiller"] = "paper"
    """The paper's; the code's of its authors, without batch norm; or that of Tian et al. 2020, on mean squares."""
    rate: float = 0.5
    """k: channels of a factor, in the teacher's."""
    activation: Activation = "relu"
    """What follows the stages."""
    lr: float | None = field(default=None, metadata={"before": None})
    """Learning rate of the paraphraser's phase; unset: the training's."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        self.require("lr", self.lr is None or 0 < self.lr < float("inf"), "a positive number")
        self.require("weight", self.weight is None or 0 <= self.weight < float("inf"), "a number of 0 or more")
        self.require("rate", 0 < self.rate < float("inf"), "a positive number")

    @property
    def pretraining_lr(self) -> float | None:
        """The paraphraser's."""
        return self.lr

    @property
    def published_weight(self) -> float:
        """The weight that the variant was published with."""
        return _VARIANTS[self.variant].weight

    def build(self, setting: Setting) -> Loss:
        """The loss, with a fresh paraphraser and translator.

        Raises:
            InputError: no stages, or another number of them.
        """
        (inputs, *_), (outputs, *_) = paired(self, setting)[-1]
        return _Factors(inputs, outputs, self, setting.generator)
