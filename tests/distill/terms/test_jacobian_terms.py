"""Terms of slopes: what they are by the decomposition and by differences, with running statistics, in any precision."""

import copy
from functools import partial

import derived_loop
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import distill
from analysis.jacobians.decomposition import decompose
from distill.angles import angle
from distill.jacobians import apart, summed_alike
from distill.terms.activation import Activation, squared_error
from distill.terms.attention import Attention, attention
from distill.terms.bias_jacobian import BiasJacobian
from distill.terms.ce import CE
from distill.terms.full_jacobian import FullJacobian
from distill.terms.jacobian import Jacobian
from priors.errors import InputError

SHAPE = (2, 8, 8)


def network(width: int, seed: int, bias: bool = True, act=nn.ReLU, norms: bool = True) -> nn.Sequential:
    """Three stages of 8, 8 and 4 pixels a side, with statistics that are no zeros and ones."""
    torch.manual_seed(seed)

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if norms else []
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias or not norms), *norm, act()]

    made = nn.Sequential(
        *block(2, width),
        *block(width, width),
        nn.MaxPool2d(2),
        *block(width, width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    ).double()
    for one in made.parameters():
        one.data *= 1.5
    for _ in range(5):
        made(torch.randn(16, *SHAPE, dtype=torch.float64))
    for one in made.parameters():
        if one.ndim == 1:
            one.data += 0.3 * torch.randn_like(one)
    return made


def images(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(count, *SHAPE, generator=drawn, dtype=torch.float64), torch.arange(count) % 3


def objective(terms, student: nn.Module, teacher: nn.Module, **more) -> distill.Objective:
    return distill.objective(terms, student=student, teacher=teacher, image_shape=SHAPE, **more)


def of(term, student: nn.Module, teacher: nn.Module, x=None, **more) -> torch.Tensor:
    given = images() if x is None else x
    return objective({term.name(): term}, student, teacher, **more)(*given).total


@pytest.fixture
def student() -> nn.Module:
    return network(5, 0).train()


@pytest.fixture
def teacher() -> nn.Module:
    return network(7, 1, bias=False)


NORMS = ("1", "4", "8")


def still(network: nn.Module) -> nn.Module:
    """Its running statistics no longer move."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return network


def expected_slopes(of: nn.Module):
    """By the decomposition of a copy in evaluation mode: in the image, and by norm with its convolution."""
    x, labels = images()
    found = decompose(copy.deepcopy(of).eval(), x, labels)
    maps = {term.layer: term.map for term in found.terms}
    before = {"1": "0", "4": "3", "8": "7"}
    biases = [maps[name] + maps[before[name]] if before[name] in maps else maps[name] for name in NORMS]
    return found.jacobian, biases


def distance(one: torch.Tensor, other: torch.Tensor, normalised: bool) -> torch.Tensor:
    """Image by image."""
    total = 0.0
    for a, b in zip(one, other, strict=True):
        if normalised:
            a, b = a / a.norm(), b / b.norm()
        total += (a - b).square().sum()
    return total / len(one)


@pytest.mark.parametrize("form", ["normalised", "squared"])
def test_they_are_distances_of_terms_of_the_decomposition(student, teacher, form):
    """The student's slopes are those of its evaluation mode, though it trains."""
    (ours, our_biases), (theirs, their_biases) = expected_slopes(still(student)), expected_slopes(teacher)
    slope = distance(ours, theirs, form == "normalised")
    bias = sum(distance(a, b, form == "normalised") for a, b in zip(our_biases, their_biases, strict=True))
    assert slope > 1e-3 and bias > 1e-3
    named = {"student_layers": NORMS, "teacher_layers": NORMS}
    torch.testing.assert_close(of(Jacobian(form=form), student, teacher).detach(), slope)
    torch.testing.assert_close(of(BiasJacobian(form=form, **named), student, teacher).detach(), bias)
    full = FullJacobian(form=form, **named, input_weight=0.5, bias_weight=3.0)
    torch.testing.assert_close(of(full, student, teacher).detach(), 0.5 * slope + 3 * bias)


def test_layers_that_are_not_named_are_spread_over_the_network(student, teacher):
    """Of the sizes 8 and 4 there are fewer than three: every norm is taken."""
    named, student = BiasJacobian(student_layers=NORMS, teacher_layers=NORMS), still(student)
    assert torch.equal(of(BiasJacobian(), student, teacher), of(named, student, teacher))
    found = objective({"bias-jacobian": BiasJacobian()}, student, teacher)
    assert tuple(found.student.shapes.biased.values()) == NORMS
    plain = network(5, 0, norms=False)
    found = objective({"bias-jacobian": BiasJacobian()}, plain, teacher)
    assert tuple(found.student.shapes.biased.values()) == ("0", "2", "5")


@pytest.mark.parametrize("name", ["0.weight", "1.bias", "4.weight", "7.bias", "12.weight"])
@pytest.mark.parametrize("act", [nn.ReLU, nn.Softplus], ids=["relu", "softplus"])
@pytest.mark.parametrize("norms", ["running", "batch"])
def test_they_train_the_student(teacher, name, act, norms):
    """Derivatives of the loss in weights are those of differences; running statistics are constants of it."""
    student = still(network(5, 0, act=act).train())
    term = FullJacobian(student_layers=NORMS, teacher_layers=NORMS, norms=norms, form="squared")
    found = objective({"full-jacobian": term}, student, teacher)
    parameter = student.get_parameter(name)
    found(*images()).total.backward()
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected, values = (parameter.grad * direction).sum().item(), []
    for step in (1e-6, -2e-6):
        parameter.data += step * direction
        values.append(found(*images()).total.item())
    assert expected == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5) and abs(expected) > 1e-6
    assert all(one.grad is None for one in teacher.parameters())


def test_images_do_not_hang_on_each_other_by_running_statistics(student, teacher):
    x, labels = images(6)
    still(student)  # the same statistics for parts as for the whole
    for term in (Jacobian(), FullJacobian(form="squared")):
        whole = of(term, student, teacher, (x, labels))
        parts = [of(term, student, teacher, (x[some], labels[some])) for some in (slice(0, 2), slice(2, 6))]
        torch.testing.assert_close(whole, (2 * parts[0] + 4 * parts[1]) / 6)
    by_batch = of(Jacobian(norms="batch"), student, teacher, (x, labels))
    parts = [
        of(Jacobian(norms="batch"), student, teacher, (x[some], labels[some])) for some in (slice(0, 2), slice(2, 6))
    ]
    assert abs(by_batch - (2 * parts[0] + 4 * parts[1]) / 6) > 1e-3


def test_a_step_moves_statistics_as_one_without_the_terms_does(student, teacher):
    other = copy.deepcopy(student)
    plain = objective({"ce": CE()}, other, teacher)(*images())
    before = {name: module.training for name, module in student.named_modules()}
    found = objective({"ce": CE(), "full-jacobian": FullJacobian()}, student, teacher)(*images())
    assert torch.equal(found.parts["ce"], plain.parts["ce"])
    assert {name: module.training for name, module in student.named_modules()} == before
    for key, value in other.state_dict().items():
        assert torch.equal(value, student.state_dict()[key]), key


class Residual(nn.Module):
    """A network whose sums and ReLUs may be written over what norms gave."""

    def __init__(self, in_place: bool):
        super().__init__()
        torch.manual_seed(3)
        self.convs = nn.ModuleList([nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)]).double()
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)]).double()
        self.head, self.in_place = nn.Linear(4, 3).double(), in_place

    def forward(self, x):
        first = torch.nn.functional.relu(self.norms[0](self.convs[0](x)), inplace=self.in_place)
        second = self.norms[1](self.convs[1](first))
        second = second.add_(first) if self.in_place else second + first
        return self.head(torch.nn.functional.relu(second, inplace=self.in_place).mean((2, 3)))


@pytest.mark.parametrize("norms", ["running", "batch"])
def test_layers_may_be_overwritten_in_place(teacher, norms):
    named = {"student_layers": ("norms.0", "norms.1"), "teacher_layers": ("1", "8")}
    found = []
    for in_place in (True, False):
        student = Residual(in_place)
        total = of(FullJacobian(norms=norms, form="squared", **named), student, teacher)
        total.backward()
        found.append([total.detach(), *(one.grad for one in student.parameters() if one.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][0] > 1e-3 and found[0][1].any()


def test_two_processes_are_one(machine, tmp_path):
    """Also where batch norm trains by the statistics of a batch, and buffers go from the first process to all."""
    finished = machine([tmp_path / "two.safetensors"], program=derived_loop.__file__, processes=2)
    assert finished["status"] == 0, finished["errors"]
    one, two = derived_loop.trained(), load_file(tmp_path / "two.safetensors")
    start = derived_loop.networks()[0].state_dict()
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-6, msg=lambda said, key=key: f"{key}: {said}")
        # what a norm takes off again does not move, and the batch counter is no weight
        assert (
            key in ("0.bias", "3.bias") or "num_" in key or "running" in key or not torch.equal(one[key], start[key])
        ), key


@pytest.mark.parametrize(
    ("norms", "mode", "layers", "passes"),
    [("running", True, True, 2), ("batch", True, True, 1), ("running", False, True, 1), ("running", True, False, 1)],
)
def test_the_student_runs_twice_only_where_its_batch_norms_make_a_difference(teacher, norms, mode, layers, passes):
    student, ran = network(5, 0, norms=layers).train(mode), []
    student.register_forward_hook(lambda *_: ran.append(1))
    both = objective({"ce": CE(), "jacobian": Jacobian(norms=norms)}, student, teacher)
    ran.clear()
    both(*images()).total.backward()
    assert len(ran) == passes
    plain = objective({"ce": CE()}, student, teacher)
    ran.clear()
    plain(*images())
    assert len(ran) == 1


def test_statistics_of_batches_can_be_had_and_others_are_asked_for(teacher):
    student = network(5, 0).train()
    student[1].track_running_stats, student[1].running_mean, student[1].running_var = False, None, None
    with pytest.raises(InputError, match="the student: its batch norm '1' keeps no running statistics"):
        objective({"jacobian": Jacobian()}, student, teacher)
    assert of(Jacobian(norms="batch"), student, teacher).isfinite()


def test_autocast_leaves_them_in_full_precision(student, teacher):
    """Also where a wrapper switches it on within the network's forward pass."""
    student, teacher = student.float(), teacher.float()
    x, labels = images()
    term = FullJacobian(student_layers=NORMS, teacher_layers=NORMS)
    start = copy.deepcopy(student.state_dict())
    found = []
    for cast in (False, True):
        student.load_state_dict(start)
        plain = type(student).forward
        if cast:
            student.forward = torch.autocast("cpu", torch.bfloat16)(partial(plain, student))
        student.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            total = objective({"full-jacobian": term}, student, teacher)(x.float(), labels).total
        total.backward()
        found.append(
            (total.detach(), torch.cat([one.grad.flatten() for one in student.parameters() if one.grad is not None]))
        )
    assert found[0][0].dtype == found[1][0].dtype == torch.float32
    # the first pass, which moves the statistics, is in half precision
    torch.testing.assert_close(found[1][0], found[0][0], rtol=2e-3, atol=0)
    assert (found[1][1] - found[0][1]).norm() < 5e-3 * found[0][1].norm()
    student.eval()
    with torch.autocast("cpu", torch.bfloat16):
        cast = objective({"full-jacobian": term}, student, teacher)(x.float(), labels).total
    del student.forward
    plain = objective({"full-jacobian": term}, student, teacher)(x.float(), labels).total
    torch.testing.assert_close(cast, plain, rtol=1e-5, atol=1e-6)


def test_without_gradients_there_is_the_number_alone(student, teacher):
    student.eval()
    with torch.no_grad():
        found = of(FullJacobian(), student, teacher)
    assert not found.requires_grad
    torch.testing.assert_close(found, of(FullJacobian(), student, teacher).detach())


def test_maps_of_other_sizes_keep_their_sums():
    small, large = torch.rand(2, 4, 4), torch.rand(2, 8, 8)
    s, t = summed_alike(small, large)
    assert s is small and t.shape == (2, 4, 4)
    torch.testing.assert_close(t, large.view(2, 4, 2, 4, 2).sum((2, 4)))
    torch.testing.assert_close(summed_alike(torch.rand(2, 8, 4), large)[1].sum((1, 2)), large.sum((1, 2)))


def test_directions_alone_count_where_they_are_normalised():
    one = torch.randn(3, 2, 4, 4)
    assert apart(one, 7 * one, "normalised") < 1e-10
    assert apart(one, -one, "normalised").item() == pytest.approx(4)
    assert apart(one, torch.zeros_like(one), "normalised").item() == pytest.approx(1)


def test_angles():
    angles = torch.tensor([0.0, 1e-4, 30.0, 89.0, 150.0, 180.0], dtype=torch.float64)
    first = torch.tensor([3.0, 0.0], dtype=torch.float64).expand(6, 2)
    second = torch.stack([angles.deg2rad().cos(), angles.deg2rad().sin()], 1) * torch.arange(1, 7)[:, None]
    torch.testing.assert_close(angle(first, second), angles, rtol=1e-9, atol=1e-9)
    assert angle(torch.zeros(1, 2), torch.ones(1, 2)).item() == 90
    one = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(angle(one.bfloat16(), one.bfloat16()), torch.zeros(4), atol=1e-3, rtol=0)


def test_activation_is_half_the_squared_distance():
    one, other = torch.randn(4, 3), torch.randn(4, 3)
    expected = sum(float((a - b) ** 2) for a, b in zip(one.flatten(), other.flatten(), strict=True)) / 8
    assert squared_error(one, other).item() == pytest.approx(expected, rel=1e-6)


def test_attention_of_sizes_adds_up_with_them(student, teacher):
    maps = torch.randn(2, 3, 4, 4)
    expected = maps.abs().sum(1).flatten(1)
    torch.testing.assert_close(attention(maps, 1), expected / expected.norm(dim=1, keepdim=True))
    terms = {"activation": Activation(), "attention": Attention(p=1), "full-jacobian": FullJacobian()}
    taps = {"student_taps": ("1", "8"), "teacher_taps": ("1", "8")}
    found = objective(terms, student, teacher, **taps)(*images())
    assert list(found.parts) == list(terms)
    torch.testing.assert_close(found.total, sum(found.parts.values()))
    found.total.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in student.parameters())


def test_what_cannot_be_compared_is_refused(student, teacher):
    for named, said in (
        ({"student_layers": ("1",)}, "of the student there are 1, of the teacher 3: name as many of each"),
        ({"student_layers": ("1", "9")}, "the student: .*9"),
        ({"student_layers": ("2", "4", "8")}, "the student: layer '2', a ReLU, has no effective bias"),
        ({"student_layers": ("1", "4", "12"), "teacher_layers": NORMS}, "the student's layer '12' gives .3,. and"),
        ({"student_layers": ("nine",)}, "nine"),
    ):
        with pytest.raises(InputError, match=said):
            of(BiasJacobian(**named), student, teacher)
    bare = network(5, 0, bias=False).train()
    with pytest.raises(InputError, match="the student: layer '0' has no bias: name another one"):
        of(BiasJacobian(student_layers=("0",), teacher_layers=("1",)), bare, teacher)
    small = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double()
    with pytest.raises(InputError, match="3 layers are to be compared, and it has 0 that could be"):
        of(BiasJacobian(), small, teacher)
    with pytest.raises(InputError, match=r"--full-jacobian.bias-weight -1.0: expected a number of 0 or more"):
        FullJacobian(bias_weight=-1.0)
    with pytest.raises(InputError, match=r"--attention.p 3: expected 1 or 2"):
        Attention(p=3)
