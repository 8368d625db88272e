"""What a decomposition cannot be made of is said in one line, which names the operation; users' ways in work."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from analysis import decompose
from priors import InputError, zoo

pytestmark = pytest.mark.usefixtures("as_a_user")


def images(count=2, side=8, dtype=torch.float32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(dtype)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.body, self.function = plain(), function

    def forward(self, x):
        return self.function(self.body, x)


class Two(nn.Module):
    def forward(self, images, labels, *, scale=1.0):
        return images.flatten(1) * labels[:, None] * scale


class Mapped(nn.Module):
    """Gives its outputs by name."""

    def forward(self, x):
        return {"logits": x.flatten(1)}


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, slope):
        return slope


def view_written_over(layer, x):
    y = layer(x)
    y[:, :2].add_(1)
    return y


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(16, 8, 1, 2, 8, 16, num_classes=5)


REFUSED = {
    "several outputs": (Calls(lambda body, x: (body(x), x)), images(), "the network gives tuple: one tensor"),
    "a mapping": (Mapped(), images(), "the network gives dict: one tensor"),
    "a map": (plain()[0], images(), r"the network gives shape \(1, 4, 6, 6\): one tensor"),
    "another input beside": (Two(), images(), r"takes \(images, labels, \*, scale=1.0\).*'labels'.*arguments="),
    "no tensor": (plain(), [images()], "images are a list: one tensor"),
    "an array": (plain(), np.zeros((2, 3, 8, 8)), "images are a ndarray: one tensor"),
    "half precision": (plain(), images(dtype=torch.half), "images are torch.float16 of shape"),
    "complex": (plain(), images(dtype=torch.cfloat), "images are torch.complex64 of shape"),
    "bytes": (plain(), images(dtype=torch.uint8), "images are torch.uint8 .*float32 or float64"),
    "weights of half precision": (plain().half(), images(), "the weights of the network are torch.float16"),
    "training mode": (plain().train(), images(), r"batch_norm of layer '1' is in training mode.*\.eval\(\)"),
    "no statistics": (
        nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()).eval(),
        images(),
        "batch_norm of layer '0' keeps no running statistics",
    ),
    "random slopes": (
        Calls(lambda body, x: functional.rrelu(body(x), training=True)),
        images(),
        r"rrelu draws slopes at random.*\.eval\(\)",
    ),
    "a function of one's own": (
        Calls(lambda body, x: body(Backward.apply(x * 1))),
        images(),
        "autograd function Backward cannot be decomposed: its class defines no jvp",
    ),
    "one at the end": (Calls(lambda body, x: Backward.apply(body(x))), images(), "function Backward cannot.*no jvp"),
    "a view written over": (Calls(view_written_over), images(), "a view of what it is given was written over"),
    "no derivative": (
        Calls(lambda body, x: torch.segment_reduce(body(x).T.contiguous(), "sum", lengths=torch.tensor([1, 4])).T),
        images(),
        "segment_reduce cannot.*does not support it; nor can its backward one",
    ),
    "channels dropped": (
        Calls(lambda body, x: body(functional.dropout1d(x.flatten(2)).view_as(x))),
        images(),
        "dropout1d drops units .*eval",
    ),
    "dropout": (Calls(lambda body, x: functional.dropout(body(x))), images(), "dropout drops units .*eval"),
    "whole numbers": (Calls(lambda body, x: body(x).long()), images(), "the network gives torch.int64"),
    "images too large": (
        plain(),
        images(side=9),
        r"linear of layer '4' fails for images of shape \(3, 9, 9\), torch.float32 on cpu: mat1 and mat2",
    ),
    "images too small": (
        zoo.build("convnet-half", classes=5, image_shape=(3, 32, 32)).eval(),
        images(side=2),
        "images are 3 x 2 x 2 .* but this network takes 3 x 32 x 32",
    ),
    "other channels": (plain(), images()[:, :1], r"conv2d of layer '0' fails for .*: .*channels"),
    "no image": (plain(), images(0), r"shape \(0, 3, 8, 8\)"),
    "a refusal of the network's own": (vit().eval(), images(), "the network's check fails .*: Wrong image height"),
    "a script": (None, images(), "torch.jit module"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_it_is_said_in_a_line(name):
    network, x, said = REFUSED[name]
    network = torch.jit.trace(plain(), images()) if name == "a script" else network
    training = network.training
    with pytest.raises(InputError, match=said) as caught:
        decompose(network, x)
    assert "\n" not in str(caught.value)
    assert network.training == training and all(one.requires_grad for one in network.parameters())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_images_are_brought_to_the_type_of_the_weights():
    network = plain()
    found = decompose(network, images(dtype=torch.float64), 1)
    assert found.output.dtype == found.images.dtype == torch.float32 and found.residual.max() < 1e-5
    double = decompose(plain().double(), images(), 1)
    assert double.output.dtype == torch.float64 and double.residual.max() < 1e-12


def test_wrappers_modes_and_autocast_change_nothing():
    network, x = plain(), images()
    expected = decompose(network, x, 1)
    found = [decompose(nn.DataParallel(network), x, 1), decompose(torch.compile(network), x, 1)]
    with torch.inference_mode():
        found.append(decompose(network, images(), 1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found.append(decompose(network, x, 1))
    for one in found:
        assert [term.layer for term in one.terms] == ["0", "1", "4"]
        for mine, other in zip(one.terms, expected.terms, strict=True):
            torch.testing.assert_close(mine.total, other.total)
        torch.testing.assert_close(one.jacobian, expected.jacobian)
    assert not any(one.is_inference() for one in (found[2].output, found[2].jacobian))


def test_compiled_in_place_or_in_part_runs_eagerly():
    whole, part, x = plain(), plain(), images()
    whole.compile()
    part[0].compile()
    for network in (whole, part):
        assert [term.operation for term in decompose(network, x, 1).terms] == ["conv2d", "batch_norm", "linear"]


def test_batch_norm_in_training_mode_is_refused_and_keeps_its_statistics():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    with pytest.raises(InputError, match="batch_norm of layer '1' is in training mode.*eval"):
        decompose(network, images(2, side=4), 0)
    assert network[1].num_batches_tracked <= 1 and network[1].running_mean.abs().max() == 0


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (torch.zeros(0, 6), {}, r"shape \(0, 6\)"),
        (torch.zeros(2, 6), {"target": 3}, "target is .*classes 0 to 2"),
        (torch.zeros(2, 6), {"target": -1}, "target is .*classes 0 to 2"),
        (torch.full((2, 6), torch.nan), {}, "images have values that are not finite"),
        (torch.zeros(2, 6), {"target": [0, 1, 2]}, "one for each of 2 images"),
        (torch.zeros(2, 6), {"target": 0.5}, "a class number, or one"),
        (torch.zeros(2, 6), {"of": "logits"}, "logit"),
        (torch.zeros(2, 6), {"keep": "map"}, "maps"),
    ],
)
def test_options_are_checked(x, options, said):
    with pytest.raises(InputError, match=said) as caught:
        decompose(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), x, **options)
    assert "\n" not in str(caught.value)
