"""The fake device itself: it computes what the CPU computes, and logs what a GPU would wait for or refuse."""

import copy

import backpropagation
import pytest
import torch
import torch.nn.functional as F
from device_log import AHEAD, BEHIND, FLOAT64, MIXED, OFFENCES, TO_DEVICE, TO_HOST, WAIT
from fake_cuda import DEVICE, Away
from torch import nn


class Doubled(torch.autograd.Function):
    """A function with arguments that are no tensors, and an output without a gradient."""

    @staticmethod
    def forward(ctx, factor, values, unused):
        ctx.factor = factor
        return factor * values, values.clone()

    @staticmethod
    def backward(ctx, gradient, other):
        return None, ctx.factor * gradient + other, None


class Network(nn.Module):
    """Convolutions, batch norm, a branch, a bias that is broadcast, an embedding, and a function of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head, self.embedding = nn.Linear(4, 3), nn.Embedding(5, 4)
        self.shift = nn.Parameter(torch.randn(1, 4))

    def forward(self, images, labels):
        maps = self.norm(self.convolution(images))
        maps = F.relu(maps) + maps.square().mean(0, keepdim=True)
        doubled, _ = Doubled.apply(2.0, maps.mean((2, 3)) + self.shift, None)
        return self.head(doubled * self.embedding(labels))


def images_and_labels():
    return torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def gradients(network) -> list:
    return [parameter.grad for parameter in network.parameters()]


def penalised(logits, images, labels, slope):
    """A loss with a derivative of a derivative in it."""
    (found,) = slope(logits.sum(), images, create_graph=True)
    return F.cross_entropy(logits, labels) + found.square().sum()


def test_the_engine_has_the_gradients_of_torchs_own():
    network, (images, labels) = Network(), images_and_labels()
    images.requires_grad_()
    other = copy.deepcopy(network)
    penalised(network(images, labels), images, labels, torch.autograd.grad).backward()
    expected, images.grad = images.grad, None
    for _ in range(2):  # the second one is added
        backpropagation.backward(penalised(other(images, labels), images, labels, backpropagation.grad))
    for own, its in zip(gradients(other), gradients(network), strict=True):
        torch.testing.assert_close(own, 2 * its, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(images.grad, 2 * expected, rtol=1e-4, atol=1e-6)


def trained(device: str, precision=torch.float32):
    """A network after two steps, and the last loss."""
    network, (images, labels) = Network().to(device), images_and_labels()
    images, labels = images.to(device), labels.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    for _ in range(2):
        with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = F.cross_entropy(network(images, labels).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return network, loss


@pytest.mark.parametrize(("precision", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_a_training_gives_there_what_it_gives_here_and_a_clean_step_logs_nothing(fake, precision, near):
    expected, loss = trained("cpu", precision)
    with fake as log:
        there, found = trained("cuda", precision)
        assert found.device == DEVICE and all(isinstance(one, Away) for one in there.parameters())
        assert not log.kinds(MIXED, WAIT, TO_HOST, FLOAT64)
        assert log.kinds(TO_DEVICE)  # of the loading
        images, labels = (one.to("cuda") for one in images_and_labels())
        log.clear()
        F.cross_entropy(there(images, labels), labels).backward()
        assert not log.found and 30 < sum(log.launches.values()) < 120
    assert float(found.held.detach()) == pytest.approx(float(loss.detach()), abs=near)
    for own, its in zip(there.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own.held.detach(), its.detach(), rtol=near, atol=near)


def test_autocast_is_that_of_cuda(fake):
    with fake, torch.autocast("cuda", torch.bfloat16):
        left = torch.ones(2, 2, device="cuda")
        assert (left @ left).dtype == torch.bfloat16
        assert (left @ left).softmax(0).dtype == torch.float32


THERE, MASK = torch.arange(4.0), torch.tensor([True, False, True, True])
CASES = {
    "item": (WAIT, lambda x: x.sum().item()),
    "float": (WAIT, lambda x: float(x[0])),
    "bool": (WAIT, lambda x: bool((x >= 0).all())),
    "if": (WAIT, lambda x: 1 if (x >= 0).all() else 0),
    "nonzero": (WAIT, lambda x: x.nonzero()),
    "a mask": (WAIT, lambda x: x[x > 1]),
    "a mask that is written to": (WAIT, lambda x: x.clone().__setitem__(x > 1, 0.0)),
    "unique": (WAIT, lambda x: x.unique()),
    "equal": (WAIT, lambda x: torch.equal(x, x)),
    "repeats": (WAIT, lambda x: x.repeat_interleave(x.long())),
    "Cholesky": (WAIT, lambda x: torch.linalg.cholesky(torch.eye(2, device="cuda") + 0 * x[0])),
    "cpu": (TO_HOST, lambda x: x.cpu()),
    "tolist": (TO_HOST, lambda x: x.tolist()),
    "copy to the CPU": (TO_HOST, lambda x: torch.empty(4).copy_(x)),
    "tensor": (TO_DEVICE, lambda x: torch.tensor([1.0, 2.0], device="cuda")),
    "to": (TO_DEVICE, lambda x: THERE.to("cuda")),
    "copy from the CPU": (TO_DEVICE, lambda x: x.clone().copy_(THERE)),
    "an index of the CPU": (TO_DEVICE, lambda x: x[torch.tensor([1, 2])]),
    "to, not waiting": (AHEAD, lambda x: THERE.to("cuda", non_blocking=True)),
    "to the CPU, not waiting": (BEHIND, lambda x: x.to("cpu", non_blocking=True)),
    "float64": (FLOAT64, lambda x: x.double()),
}


@pytest.mark.parametrize("name", CASES)
def test_it_logs_with_the_line_of_the_project(fake, name):
    kind, done = CASES[name]
    with fake as log:
        values = THERE.to("cuda")
        log.clear()
        done(values)
        (found,) = log.kinds(*OFFENCES, AHEAD, BEHIND, FLOAT64) or [""]
    assert found.startswith(kind) and f"test_fake_device.py:{done.__code__.co_firstlineno} " in found


REFUSED = {
    "sum": lambda x: x + THERE,
    "where": lambda x: torch.where(x > 1, x, THERE),
    "cat": lambda x: torch.cat([x, THERE]),
    "matrix": lambda x: x @ THERE,
    "an index of the device into the CPU's": lambda x: THERE[x.long()],
    "a number where no kernel takes one": lambda x: torch.stack([x[0], torch.tensor(1.0)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_mixed_devices(fake, name):
    with fake as log:
        values = THERE.to("cuda")
        with pytest.raises(RuntimeError, match="same device"):
            REFUSED[name](values)
        assert len(log.kinds(MIXED)) == 1


def test_a_generator_draws_on_its_own_device(fake):
    with fake as log:
        log.clear()
        assert torch.rand(3, generator=torch.Generator("cuda").manual_seed(0), device="cuda").device == DEVICE
        with pytest.raises(RuntimeError, match="[Gg]enerator"):
            torch.rand(3, generator=torch.Generator(), device="cuda")
        with pytest.raises(RuntimeError, match="[Gg]enerator"):
            torch.rand(3, generator=torch.Generator("cuda"))
        assert not log.found


def test_what_goes_along_with_a_kernel_is_no_copy(fake):
    with fake as log:
        values = THERE.to("cuda")
        log.clear()
        sums = values + 1.0, values * torch.tensor(2.0), values.clamp(min=0), torch.where(values > 1, values, 0.0)
        sums[0][1:3].view(2).add_(1)
        assert not log.found and sum(log.launches.values()) == 7  # two make up `where`
        assert sums[0].tolist() == [1.0, 3.0, 4.0, 4.0]


def test_what_nobody_waits_for_has_not_arrived_before_its_event(fake):
    with fake as log:
        copied, event = THERE.to("cuda").to("cpu", non_blocking=True), torch.cuda.Event()
        event.record()
        assert copied.tolist() == [-1] * 4 and not event.query() and not log.kinds(WAIT)
        event.synchronize()
        assert torch.equal(copied, THERE) and len(log.kinds(WAIT)) == 1


def test_the_device_is_gone_with_the_test():
    with pytest.raises((AssertionError, RuntimeError)):
        torch.ones(1, device="cuda") + 1
