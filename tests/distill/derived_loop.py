"""A training by slopes of a student with batch norm, on one process or on several: python derived_loop.py OUT."""

import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import distill
from distill.terms.activation import Activation
from distill.terms.ce import CE
from distill.terms.full_jacobian import FullJacobian
from distill.terms.jacobian import Jacobian

STEPS, BATCH = 4, 8


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    found = []
    for width in (4, 6):
        one = [nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
        two = [nn.Conv2d(width, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(4 * width, 3)]
        found.append(nn.Sequential(*one, *two))
    return tuple(found)


def trained(rank: int = 0, processes: int = 1) -> dict[str, torch.Tensor]:
    """The student after some steps, of batches whose second half is their first again: batch norm is alike in both."""
    student, teacher = networks()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # a variance is over one value fewer than there are, of the whole or of a half
            module.running_mean.normal_()
    objective = distill.objective(
        {
            "ce": CE(),
            "activation": Activation(),
            "jacobian": Jacobian(),
            "full-jacobian": FullJacobian(student_layers=("1", "4"), teacher_layers=("1", "4")),
        },
        student=student,
        teacher=teacher,
        image_shape=(1, 6, 6),
    )
    optimizer = torch.optim.SGD(objective.trainable(), 0.02, momentum=0.9)
    prepared = {"student": DistributedDataParallel(student) if processes > 1 else student}
    for number in range(STEPS):
        drawn = torch.Generator().manual_seed(number)
        images = torch.rand(BATCH // 2, 1, 6, 6, generator=drawn).repeat(2, 1, 1, 1)
        labels = torch.randint(3, (BATCH // 2,), generator=drawn).repeat(2)
        own = torch.arange(BATCH).tensor_split(processes)[rank]
        found = objective(images[own], labels[own], prepared=prepared)
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
    return student.state_dict()


def main(out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    weights = trained(rank, processes)
    if rank == 0:
        save_file(weights, out)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
