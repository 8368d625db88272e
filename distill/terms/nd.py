"""KD++: penultimate activations that are long, and point to where the teacher's of their class are on average."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distill.class_rows import class_rows
from distill.jacobians import check_classes
from distill.linear import linear
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from distill.unit import unit
from priors.errors import InputError

_LEAST = 1e-12
"""Two shorter vectors have nothing to be compared by."""


def norm_and_direction(
    student: Float[Tensor, "batch m"], teacher: Float[Tensor, "batch m"], directions: Float[Tensor, "batch m"]
) -> Float[Tensor, ""]:
    """1 - f_s.e / max(|f_s|, |f_t|), a mean over the batch (Wang et al. 2024, L_ND).

    It is the cosine distance where the student's activation is the longer one; where it is not, it is made longer, too.

    Args:
        student: activations f_s.
        teacher: likewise, f_t.
        directions: e, unit vectors.
    """
    longer = torch.maximum(*(torch.linalg.vector_norm(one, dim=1) for one in (student, teacher)))
    return 1 - ((student * directions).sum(1) / torch.where(longer > _LEAST, longer, 1)).mean()


class Embedding(nn.Module):
    """Batch norm, dropout and a linear layer: activations in another width, in float32 whatever autocast does.

    Args:
        inputs: width of what is given.
        outputs: width of what comes out.
        dropout: rate of what is set to 0.
        generator: of the linear layer's weights; None: torch's own.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float, generator: torch.Generator | None):
        super().__init__()
        self.norm, self.linear, self.dropout = nn.BatchNorm1d(inputs), linear(inputs, outputs, generator), dropout
        nn.init.zeros_(self.linear.bias)

    def forward(self, rows: Float[Tensor, "batch inputs"], given: Given) -> Float[Tensor, "batch outputs"]:
        """The rows in the other width; in training some of their entries are dropped, drawn by the step's generator."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = self.norm(rows)
            if self.training and self.dropout > 0:
                rows = rows * self._kept(rows, given)
            return self.linear(rows)

    def _kept(self, rows: Tensor, given: Given) -> Tensor:
        """0, or what makes up for that, for each entry: drawn for the whole batch, of which this is a part."""
        source = rows.device if given.generator is None else given.generator.device
        drawn = torch.rand(given.parts * len(rows), rows.shape[1], generator=given.generator, device=source)
        own = drawn[given.part * len(rows) : (given.part + 1) * len(rows)].to(rows.device)
        return (own >= self.dropout).to(rows.dtype) / (1 - self.dropout)


class _NormAndDirection(Loss):
    directions: Tensor

    def __init__(self, means: Tensor, embedding: Embedding | None):
        super().__init__()
        self.embedding = embedding
        self.least = 1 if embedding is None else 2  # of one row alone batch norm knows no spread
        self.register_buffer("directions", unit(means.double()).float())

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        s, t = student.penultimate.float(), teacher.penultimate.float()
        s = s if self.embedding is None else self.embedding(s, given)
        return given.mean(lambda labels: norm_and_direction(s, t, self.directions.index_select(0, labels)))


@dataclass(frozen=True)
class ND(Term):
    """Distance of penultimate activations from the directions of the teacher's class means, over the longer norm.

    It is the term that makes KD into KD++, DKD into DKD++ and so on. The means are those of the training images as they
    are; the teacher sees each once, before the student is trained. Where widths differ, the student's activations go
    through batch norm, dropout and a linear layer first, as in the authors' code.

    KD++ is ce+hinton+nd with --hinton.warmup 0.0833 (20 of 240 epochs) and, in the authors' code for CIFAR-100, these
    weights of hinton and nd: 1 and 1.5 for WRN-40-2 to 40-1, 1 and 2 for ResNet-56 to 20, 3.5 and 2 for ResNet-32x4 to
    8x4, 3 and .5 for ResNet-50 to MobileNetV2, 2.5 and 1.5 for ResNet-32x4 to ShuffleNetV1, 4 and .5 to V2.
    """

    needs = Needs(teacher=True, penultimate=True, activation_means=True)
    paper = (
        "Wang, Cheng, Duan, Wang, Feng and Kong, Improving knowledge distillation via regularizing feature direction "
        "and norm, 2024 (arXiv 2305.17007)"
    )
    pairs = {
        ("resnet-56", "resnet-20"): {"weight": 2.0},
        ("resnet-32x4", "resnet-8x4"): {"weight": 2.0},
        ("resnet-50", "mobilenet-v2"): {"weight": 0.5},
        ("resnet-32x4", "shufflenet-v2"): {"weight": 0.5},
    }

    weight: float = 1.5
    """Of the loss in the objective; 1.5, or by pair .5 to 2 (the authors' code of KD++)."""
    dropout: float = 0.5
    """Rate in the embedding, where widths differ (the authors' code)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("dropout", 0 <= self.dropout < 1, "a rate of 0 or more, and less than 1")

    def build(self, setting: Setting) -> Loss:
        """The loss, with the directions of the teacher's class means.

        Raises:
            InputError: another number of classes, or means that are none.
        """
        check_classes(self, setting)
        ours, theirs = setting.student.penultimate, setting.teacher.penultimate
        means = class_rows("activation_means", setting.activation_means(), setting.student.classes, theirs)
        for label, norm in enumerate(means.double().norm(dim=1).tolist()):
            if not 0 < norm < float("inf"):
                raise InputError(
                    f"class {label} has no mean activation of the teacher ({'all 0' if norm == 0 else norm}), which nd "
                    "compares directions with: give it training images, or leave the class out"
                )
        return _NormAndDirection(
            means, None if ours == theirs else Embedding(ours, theirs, self.dropout, setting.generator)
        )
