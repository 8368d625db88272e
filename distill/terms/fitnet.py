"""Hints: a stage of the teacher's, regressed from the student's."""

from dataclasses import dataclass, field
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distill.feature_maps import Activation, activated
from distill.regressor import Regressor, regressor
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace


def hint(
    regressed: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """|r(f_s) - f_t|^2, a mean over all entries (Romero et al. 2015, equation 3, which is half the sum)."""
    return F.mse_loss(regressed.float(), teacher.float())


class _Hint(Loss):
    def __init__(self, regressor: Regressor, config: "FitNet"):
        super().__init__()
        self.regressor = regressor
        self.stage = config.stage
        self.activation = config.activation
        self.regression: Activation = config.activation if config.regression == "same" else config.regression

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        s, t = (activated(trace.stages[self.stage - 1], self.activation) for trace in (student, teacher))
        return hint(activated(self.regressor(s), self.regression), t)


@dataclass(frozen=True)
class FitNet(Term):
    """Squared distance between a stage of the teacher and its regression from the student's.

    The student is trained with it as a whole, as in Tian et al. 2020's code; Romero et al. train the student up to that
    stage by it alone, and then without it. Their hints are outputs of layers with their nonlinearity, which the
    regression has as well (section 2.2): hence the ReLUs. Regressions are strided or transposed where sizes differ
    twofold, and end in batch norm (Tian et al. 2020's code), or are one valid convolution, as in the paper.

    Tian et al. 2020's code has batch norm and a ReLU on the regression whatever the network is. Of a residual network
    or a VGG it takes stages behind their ReLU, which is the default here; of a wide residual network a group's sum as
    it is: activation none, regression relu and the taps body.group1 body.group2 body.group3.
    """

    needs = Needs(teacher=True, stages=True)
    paper = "Romero, Ballas, Kahou, Chassang, Gatta and Bengio, FitNets: hints for thin deep nets, 2015 (1412.6550)"

    weight: float = 100.0
    """Of the loss in the objective (Tian et al. 2020)."""
    stage: int = 2
    """Which stage is the hint, counted from 1 (Tian et al. 2020: the second)."""
    convolution: Literal["strided", "valid"] = "strided"
    """Of the regression: strided where sizes differ twofold, with batch norm; or valid, alone, as in the paper."""
    activation: Activation = "relu"
    """What follows both stages."""
    regression: Literal["same", "relu", "none"] = field(default="same", metadata={"before": "same"})
    """What follows the regression; same: what follows the stages."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("stage", self.stage >= 1, "a stage's number, from 1")

    def build(self, setting: Setting) -> Loss:
        """The loss, with a fresh regression.

        Raises:
            InputError: the networks have no such stage, or no convolution leads from one shape to the other.
        """
        student, teacher = paired(self, setting, self.stage)[self.stage - 1]
        return _Hint(regressor(student, teacher, setting.generator, self.convolution), self)
