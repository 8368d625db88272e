"""A training loop with plain PyTorch, on one process or on several: python plain_loop.py OUT."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))  # where it is run as a program

from grown_terms import grown_terms
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import distill

STEPS, BATCH, IMAGES = 6, 8, 40


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.Tanh(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 4))
    maps = nn.Sequential(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
    maps(3 + torch.randn(50, 1, 6, 6))  # statistics that are no zeros and ones
    teacher = nn.Sequential(maps, nn.Flatten(), nn.Linear(80, 9), nn.Softplus(), nn.Linear(9, 4))
    return student, teacher


def images() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(IMAGES, 1, 6, 6, generator=drawn), torch.randint(4, (IMAGES,), generator=drawn)


def training(words: dict | str, rank: int = 0, processes: int = 1):
    """A student's objective, its optimiser, and a function that does the step of a number."""
    student, teacher = networks()
    pictures, labels = images()
    objective = distill.objective(
        words,
        student=student,
        teacher=teacher,
        image_shape=(1, 6, 6),
        labels=labels,
        generator=torch.Generator().manual_seed(2),
    )
    optimizer = torch.optim.SGD(objective.trainable(), 0.05, momentum=0.9)
    prepared = {"student": student, **objective.learnt}
    if processes > 1:
        prepared = {name: DistributedDataParallel(network) for name, network in prepared.items()}

    def step(number: int) -> distill.WeightedSum:
        index = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(number))[:BATCH]
        own = index.tensor_split(processes)[rank]
        drawn = torch.Generator().manual_seed(number)
        found = objective(pictures[own], labels[own], own, generator=drawn, prepared=prepared)
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        return found

    return student, objective, optimizer, step


def terms() -> dict[str, distill.Term]:
    """Two that share a learnt map, one of which takes derivatives, one that reads a batch norm, and a memory."""
    from distill.terms import terms

    chosen = {name: terms()[name]() for name in ("ce", "directions", "means")}
    return chosen | {"slopes": terms()["slopes"](layer="1"), "crd": terms()["crd"](negatives=9, dim=5)}


def state(student: nn.Module, objective: nn.Module) -> dict[str, torch.Tensor]:
    every = {"student": student, "objective": objective}
    return {f"{who}.{key}": value for who, module in every.items() for key, value in module.state_dict().items()}


def main(out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    with grown_terms():
        student, objective, _, step = training(terms(), rank, processes)
    for number in range(STEPS):
        step(number)
    if rank == 0:
        save_file(state(student, objective), out)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
