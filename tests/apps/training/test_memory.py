"""What a training takes, against what torch's autograd keeps and sums by hand."""

import pytest
import torch
from torch import nn

from apps.command.config import Optimisation
from apps.generators.hvae import VARIANTS
from apps.generators.hvae_training import HVAETraining
from apps.training import free_memory
from apps.training.free_memory import available_bytes
from apps.training.memory import check_memory, check_training, needed_for, pass_bytes, within_memory
from apps.training.task import Criterion, Task
from priors import zoo
from priors.errors import InputError


@pytest.mark.parametrize("name", ["wrn-16-1", "resnet-20"])
def test_a_pass_holds_what_autograd_keeps_and_two_gradients(name):
    """What autograd saves of a batch, each storage once."""
    with torch.device("meta"):
        bare = zoo.build(name, classes=10, image_shape=(3, 16, 16)).eval()
    network = zoo.build(name, classes=10, image_shape=(3, 16, 16)).train()
    weights, saved = {parameter.data_ptr() for parameter in network.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.rand(32, 3, 16, 16)).sum()
    held = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    found, largest = pass_bytes(bare, (torch.empty(1, 3, 16, 16, device="meta"),), 32, gradients=True)
    assert largest == 4 * 32 * 16 * 16 * 16 and 0.95 * held < found - 2 * largest < 1.3 * held


def test_a_pass_without_gradients_lets_go():
    with torch.device("meta"):
        chain = nn.Sequential(*(nn.Linear(100, 100) for _ in range(20)))
        row = torch.empty(1, 100)
    layer = 4 * 100 * 7
    assert pass_bytes(chain, (row,), 7, gradients=False) == (2 * layer, layer)
    assert pass_bytes(chain, (row,), 7, gradients=True) == ((20 + 2) * layer, layer)


def test_more_than_there_is_is_refused():
    cpu = torch.device("cpu")
    there = available_bytes(cpu)
    assert 2**20 < there < 2**50
    check_memory("it", 2**20, cpu)
    with pytest.raises(InputError, match=r"it needs about 1,153,433.7 GiB more and [\d.,]+ GiB are free on cpu"):
        check_memory("it", 2**50, cpu)


class Fitting(Task):
    """A linear layer of 65 weights, on images of 3 x 2 x 2."""

    def __init__(self, criterion=None, validated=0):
        self.networks, self.frozen = {"model": nn.Sequential(nn.Flatten(), nn.Linear(12, 5))}, {}
        self.criterion, self.validated = criterion, validated

    def example(self, image_shape):
        return {"model": (torch.zeros(1, *image_shape, device="meta"),)}

    def losses(self, turn, batch, step):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("criterion", "optimisation", "copies"),
    [
        (None, Optimisation(), 3),  # gradients and two moments
        (None, Optimisation(optimizer="sgd"), 2),
        (Criterion("x", larger=True), Optimisation(ema=0.9), 5),  # the best ones and the average as well
    ],
)
def test_what_a_training_holds_is_counted(criterion, optimisation, copies):
    needed = needed_for(Fitting(criterion), (3, 2, 2), 10, optimisation, torch.device("cpu"))
    assert needed.device == needed.host == 4 * 65 * copies + 3 * 4 * 5 * 10


def test_a_validation_may_need_more_than_a_step(monkeypatch):
    monkeypatch.setattr("apps.training.memory._LARGE", 0)
    few, many = (
        needed_for(Fitting(validated=count), (3, 2, 2), 1, Optimisation(), torch.device("cpu")) for count in (1, 500)
    )
    assert many.device == 4 * 65 * 2 + 4 * 5 * 500 > few.device


def test_a_batch_that_cannot_fit_is_refused_of_networks_that_are_built():
    task, cpu = Fitting(), torch.device("cpu")
    check_training(task, (3, 2, 2), 1000, Optimisation(), cpu)
    with pytest.raises(InputError, match=r"the training of 65 weights with 1,000,000,000,000 images at a time needs"):
        check_training(task, (3, 2, 2), 10**12, Optimisation(), cpu)
    assert next(task.networks["model"].parameters()).device.type == "cpu", "the network itself is left where it is"


def test_a_latent_space_that_fits_a_step_and_no_validation_is_refused(monkeypatch):
    """Widths of 100,000,000 passed once: a validation of 239 images takes sixty times what a step of 4 does."""
    with torch.device("meta"):
        model = VARIANTS["hvae"]((1, 8, 8), 100_000_001, list("0123456789"), (4,))
    task = HVAETraining(model, 0, range(239), 0)
    monkeypatch.setattr("apps.training.memory.available_bytes", lambda device: 21 * 2**30)
    with pytest.raises(InputError, match=r"with 4 images at a time and 239 in a validation needs about [23]\d\d\."):
        check_training(task, (1, 8, 8), 4, Optimisation(), torch.device("cpu"))


def test_what_a_container_and_a_shell_allow_counts(tmp_path, monkeypatch):
    for version, (limit, taken, cached) in enumerate(free_memory._FILES):
        group = tmp_path / str(version)
        group.mkdir()
        (group / limit).write_text("1000\n")
        (group / taken).write_text("700\n")
        (group / "memory.stat").write_text(f"anon 1\n{cached} 200\n")
        assert free_memory.group_bytes(group) == 500
        (group / limit).write_text("max\n")
        assert free_memory.group_bytes(group) is None
    monkeypatch.setattr(free_memory, "_groups", lambda: [tmp_path / "0", tmp_path / "none"])
    (tmp_path / "0/memory.max").write_text("1000\n")
    assert available_bytes(torch.device("cpu")) == 500
    (tmp_path / "0/memory.max").write_text("100\n")
    assert available_bytes(torch.device("cpu")) == 0


def test_a_tensor_that_cannot_fit_is_refused_before_it_is_taken():
    with within_memory():
        small, bare = torch.zeros(3, 4), torch.empty(10**7, 10**7, device="meta")
        with pytest.raises(InputError, match=r"a tensor of 10,000,000 x 10,000,000 numbers needs 372,529\.0 GiB"):
            nn.Linear(10**7, 10**7)
    assert small.shape == (3, 4) and bare.device.type == "meta"
