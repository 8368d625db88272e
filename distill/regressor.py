"""Learned maps from a student's feature maps to a teacher's shape."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError


class Regressor(nn.Sequential):
    """Layers that compute in float32, whatever autocast does."""

    def forward(self, maps: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """The maps in another network's shape."""
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(maps.float())


def convolution(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d],
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    generator: torch.Generator | None,
    **options: Any,
) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution that starts as torch's own do, uniform within 1 / sqrt(fan-in), drawn from a generator.

    Args:
        kind: of convolution.
        inputs: channels.
        outputs: channels.
        kernel: size.
        generator: None: torch's own.
        **options: the layer's, such as `stride=2`.
    """
    layer = nn.utils.skip_init(kind, inputs, outputs, kernel, **options)
    bound = layer.weight[0].numel() ** -0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator)
    return layer


def connector(inputs: int, outputs: int, generator: torch.Generator | None = None) -> Regressor:
    """A 1x1 convolution without bias and batch norm, as Heo et al. 2019 connect a student's stage to a teacher's.

    Args:
        inputs: channels.
        outputs: channels.
        generator: of the convolution's weights, which start from He's normal by their fan-out; None: torch's own.

    Example:
        >>> connector(16, 32)[0]
        Conv2d(16, 32, kernel_size=(1, 1), stride=(1, 1), bias=False)
    """
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, 1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    return Regressor(layer, nn.BatchNorm2d(outputs))


def regressor(
    student: tuple[int, int, int],
    teacher: tuple[int, int, int],
    generator: torch.Generator | None = None,
    kind: Literal["strided", "valid"] = "strided",
) -> Regressor:
    """One convolution from the student's shape to the teacher's.

    Args:
        student: (channels, height, width) of its feature maps.
        teacher: the same of the teacher's.
        generator: of the convolution's weights; None: torch's own.
        kind: "strided" has a stride of 2 where one map is twice as large as the other (kernel 3; transposed with
            kernel 4 where the teacher's is the larger), and batch norm after any convolution (Tian et al. 2020's code);
            "valid" is without padding, stride and batch norm, its kernel as large as the difference in sizes asks
            (Romero et al. 2015, section 2.2). Both are 1x1 for maps of one size.

    Raises:
        InputError: none gives the teacher's size; both shapes are named.

    Example:
        >>> regressor((16, 8, 8), (32, 4, 4))[0]
        Conv2d(16, 32, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """
    (inputs, *small), (outputs, *large) = student, teacher
    sizes = tuple(zip(small, large, strict=True))
    if kind == "strided" and all(s == 2 * t for s, t in sizes):
        layer = convolution(nn.Conv2d, inputs, outputs, 3, generator, stride=2, padding=1)
    elif kind == "strided" and all(2 * s == t for s, t in sizes):
        layer = convolution(nn.ConvTranspose2d, inputs, outputs, 4, generator, stride=2, padding=1)
    elif all(s >= t for s, t in sizes):
        layer = convolution(nn.Conv2d, inputs, outputs, tuple(1 + s - t for s, t in sizes), generator)
    else:
        raise InputError(
            f"no convolution maps the student's {_as_text(student)} to the teacher's {_as_text(teacher)} (channels x "
            f"height x width): a student's stage at least as large{' or half as large' * (kind == 'strided')} was "
            "expected; name others by student_taps and teacher_taps (--student-taps and --teacher-taps)"
        )
    return Regressor(layer, *([nn.BatchNorm2d(outputs)] if kind == "strided" else []))


def _as_text(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(size) for size in shape)
