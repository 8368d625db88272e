"""Standing statistics of a generator whose batch norm is synchronised: one of two processes takes them by itself."""

PROGRAM = """
import copy, sys, warnings
warnings.simplefilter("error")
import torch
from accelerate import Accelerator
from torch import nn
from apps.generators.sngan_training import SNGANTraining, Objective, standing_statistics

class Latent(nn.Module):
    def sample(self, labels, stream):
        return torch.randn(len(labels), 3, generator=stream) + labels.unsqueeze(1)

class Toy(nn.Module):
    class_names = ("a", "b")

    def __init__(self):
        super().__init__()
        self.latent = Latent()
        self.norms = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (4, 1, 1)), nn.BatchNorm2d(4))

    def description(self):
        return {}

    def forward(self, z, labels):
        return self.norms(z)

torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
torch.manual_seed(0)
plain = Toy()
synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
standing_statistics(plain, 5, 8, 3)
task = SNGANTraining(synchronised, nn.Linear(1, 1), Objective(standing=5), 3, batch_size=8)
task.networks["model"] = synchronised
if accelerator.is_main_process:  # as when weights are written: the other process waits below
    kept = task._standing(synchronised)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, kept.state_dict()[name]), name
    assert not synchronised.training or int(synchronised.norms[2].num_batches_tracked) == 0
    assert type(kept.norms[2]) is nn.SyncBatchNorm and "forward" not in vars(kept.norms[2])
    print("one process alone")
accelerator.wait_for_everyone()
seen = []
task._observe = lambda kept, training, step, sweep: seen.append(kept.norms[2].running_var) or {}
task.validate(synchronised, None, 0)  # on both: the same numbers as the one that writes has
assert torch.equal(seen[0], plain.norms[2].running_var)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_one_of_two_processes_takes_them_alone(machine, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    run = machine([], program=tmp_path / "program.py", processes=2)
    assert run["status"] == 0, run["errors"]
    assert "one process alone" in run["output"]
