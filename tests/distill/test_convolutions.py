"""Convolutions with a way back of their own are those of torch, derived once, twice and three times; at what cost."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import distill
from distill.convolutions import Convolutions
from distill.derived_pass import DerivedPass, ValuePass
from distill.terms.bias_jacobian import BiasJacobian
from distill.terms.ce import CE

CASES = {
    "plain": (F.conv2d, (2, 2, 4, 3), (3, 2, 3, 3), {"padding": 1}),
    "each axis": (F.conv2d, (1, 2, 5, 5), (3, 2, 2, 3), {"stride": 2, "padding": (0, 2), "dilation": (1, 2)}),
    "groups": (F.conv2d, (1, 4, 5, 5), (6, 2, 3, 2), {"groups": 2, "stride": (2, 1)}),
    "one dimension": (F.conv1d, (2, 3, 8), (2, 3, 3), {"padding": 2, "dilation": 3}),
    "three": (F.conv3d, (1, 2, 3, 4, 3), (2, 2, 2, 2, 2), {"stride": [1, 2, 1], "padding": [0, 1, 1]}),
}


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("case", CASES)
def test_they_are_derived_as_often_as_one_likes(case):
    function, shape, kernel, options = CASES[case]
    given = [drawn(*shape), drawn(*kernel), drawn(kernel[0])]
    expected = function(*given, **options)

    def ours(x, weight, bias):
        return Convolutions()(function, (x, weight, bias), options)

    torch.testing.assert_close(ours(*given), expected)
    given = [one.requires_grad_() for one in given]
    assert "ConvolutionBackward0" not in ours(*given).grad_fn.name()  # it is not torch's own that is tested
    assert torch.autograd.gradcheck(ours, given)
    assert torch.autograd.gradgradcheck(ours, given)

    def third(own):
        x, weight, bias = (one.detach().requires_grad_() for one in given)
        (slope,) = torch.autograd.grad(own(x, weight, bias).sin().sum(), x, create_graph=True)
        (twice,) = torch.autograd.grad(slope.square().sum(), weight, create_graph=True)
        return torch.autograd.grad(twice.square().sum(), (x, weight, bias))

    for found, theirs in zip(third(ours), third(lambda *given: function(*given, **options)), strict=True):
        torch.testing.assert_close(found, theirs)
        assert theirs.any()


@pytest.mark.parametrize("kernel", [1, (2, 3)])
@pytest.mark.parametrize("stride", [1, (1, 2), 3])
@pytest.mark.parametrize("padding", [0, (2, 1)])
@pytest.mark.parametrize("dilation", [1, (1, 2), 3])
def test_large_weights_of_small_maps_get_the_same_slope(kernel, stride, padding, dilation):
    """Of two passes, one of them derived twice, and of an image size at which places are on the padding alone."""
    for sides in ((4, 5), (2, 3)):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        layer = nn.Conv2d(384, 384, kernel, **options).double().to(memory_format=torch.channels_last)
        x = drawn(1, 384, *sides).contiguous(memory_format=torch.channels_last).requires_grad_()
        try:
            layer(x)
        except RuntimeError:  # a kernel larger than the image
            continue
        found = []
        for ours in (True, False):
            layer.zero_grad()
            convolutions, seen = Convolutions(), Seen()
            conv = convolutions if ours else own
            weight = {"weight": layer.weight, "bias": layer.bias}
            one = conv(F.conv2d, (x,), {**weight, **options})
            two = conv(F.conv2d, (2 * x,), {**weight, **options})
            (slope,) = torch.autograd.grad(one.sin().sum(), x, create_graph=True)
            with seen:
                (slope.square().sum() + two.cos().sum()).backward()
            found.append(layer.weight.grad.clone())
            assert ("aten.mm.out" in seen) == ours, sides
        torch.testing.assert_close(*found)
        assert found[0].is_contiguous(memory_format=torch.channels_last) and found[0].any()


def own(function, args, kwargs):
    """Torch's way."""
    return function(*args, **kwargs)


class Seen(TorchDispatchMode):
    """Counts of operations: of the way back of a convolution, by which slopes it gives."""

    def __init__(self):
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        if name == "aten.convolution_backward.default":
            name += f" {''.join('xw-'[place] for place, wanted in enumerate(args[-1][:2]) if wanted)}"
        self.counts[name] = self.counts.get(name, 0) + 1
        return function(*args, **(kwargs or {}))

    def __contains__(self, name: str) -> bool:
        return name in self.counts


def step(device_format: torch.memory_format):
    """A step by slopes of the second of four layers, whose last two have large weights for their maps."""
    torch.manual_seed(0)

    def network() -> nn.Sequential:
        layers = []
        for inputs, outputs in itertools.pairwise((2, 4, 8, 48, 48)):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        made = nn.Sequential(*layers[:6], nn.MaxPool2d(2), *layers[6:], nn.Flatten(), nn.Linear(192, 3))
        return made.double().to(memory_format=device_format)

    student, teacher = network(), network()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    term = BiasJacobian(student_layers=("4",), teacher_layers=("4",), form="squared")
    made = distill.objective({"ce": CE(), "own": term}, student=student, teacher=teacher, image_shape=(2, 4, 4))
    images = torch.rand(2, 2, 4, 4, dtype=torch.float64).contiguous(memory_format=device_format)
    return student, lambda: made(images, torch.tensor([0, 2])).total


def test_a_step_does_no_more_than_it_must():
    student, loss = step(torch.channels_last)
    with Seen() as forward:
        total = loss()
    # a plain pass and one by running statistics, and the teacher's; back to the layer of the student and the teacher
    assert forward.counts["aten.convolution.default"] == 3 * 4
    assert forward.counts["aten.convolution_backward.default x"] == 2 * 2
    assert "aten.convolution_backward.default w" not in forward.counts
    assert not any("convolution_backward.default xw" in name for name in forward.counts)
    with Seen() as back:
        total.backward()
    # the tangents go up through two layers, and their slopes in the weights come with those of the plain pass
    assert back.counts["aten.convolution.default"] == 2
    own = {name: count for name, count in back.counts.items() if "convolution_backward" in name}
    assert own == {
        "aten.convolution_backward.default x": 2,
        "aten.convolution_backward.default xw": 1,
        "aten.convolution_backward.default w": 1,
    }
    assert back.counts["aten.mm.out"] == 2 * 9
    assert all(one.grad is not None for one in student.parameters())


def test_a_step_is_that_of_torchs_own_convolutions(monkeypatch):
    found = []
    for form in (torch.channels_last, torch.contiguous_format):
        for ours in (True, False):
            with monkeypatch.context() as patch:
                if not ours:
                    plain = lambda self, function, args, kwargs, few=False: function(*args, **kwargs)  # noqa: E731
                    patch.setattr(Convolutions, "__call__", plain)
                student, loss = step(form)
                loss().backward()
            found.append([one.grad.clone() for one in student.parameters()])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, same, rtol=1e-9, atol=1e-12)
    assert all(one.any() for one in found[0][-2:])


def test_parts_of_a_step_may_go_back_by_themselves_and_again():
    x = drawn(2, 48, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer = nn.Conv2d(48, 64, 3, padding=1).double().to(memory_format=torch.channels_last)
    convolutions = Convolutions()
    with ValuePass(convolutions):
        one = layer(x).sin().sum()
    with DerivedPass(convolutions):
        two = torch.autograd.grad(layer(x).cos().sum(), x, create_graph=True)[0].square().sum()
    weight = layer.weight
    whole = torch.autograd.grad(one + two, weight, retain_graph=True)[0]
    parts = [torch.autograd.grad(part, weight, retain_graph=True)[0] for part in (one, two, one)]
    torch.testing.assert_close(parts[0] + parts[1], whole)
    torch.testing.assert_close(parts[2], parts[0])
    assert torch.autograd.grad(one, x, retain_graph=True)[0].any()  # leaves nothing due
    torch.testing.assert_close(torch.autograd.grad(one + two, weight)[0], whole)


def test_weights_that_changed_since_are_refused():
    x, layer = drawn(2, 3, 4, 4).requires_grad_(), nn.Conv2d(3, 4, 3).double()
    with DerivedPass():
        (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    layer.weight.data.add_(0)  # not seen by autograd
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        slope.sum().backward()


def test_what_is_out_of_the_ordinary_is_left_to_torch():
    conv = Convolutions()
    weight = drawn(4, 3, 3, 3).requires_grad_()
    for args, kwargs in (
        ((drawn(2, 3, 5, 5), weight), {"padding": "same"}),
        ((drawn(3, 5, 5), weight), {}),
        ((drawn(2, 3, 5, 5), weight.detach()), {}),
    ):
        assert torch.equal(conv(F.conv2d, args, kwargs), F.conv2d(*args, **kwargs))
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        conv(F.conv2d, (drawn(2, 3, 2, 2), weight), {})
    with pytest.raises(RuntimeError, match="expected input.* to have 3 channels"):
        conv(F.conv2d, (drawn(2, 4, 5, 5), weight), {})
    with torch.no_grad():
        assert not conv(F.conv2d, (drawn(2, 3, 5, 5), weight), {}).requires_grad
