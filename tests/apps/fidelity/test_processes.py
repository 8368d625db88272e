"""Two processes over gloo share drawing, features and chunks, and get what one gets."""

import json
import os

PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import nets
from accelerate import Accelerator
from apps.fidelity import drawn_set
from apps.fidelity import scores as module
from apps.fidelity.protocols import Protocol
from apps.training.session import sweeping
from apps.data.sweep import sweep

folder = Path(sys.argv[2])
accelerator = Accelerator()
rank = accelerator.process_index
protocol = Protocol("chunked", "", fakes=70, reals=40, chunks=3)
model, reals = nets.Dim().eval(), nets.images(300, seed=2)
if rank == 0:
    nets.extractor(folder / "classifier")
accelerator.wait_for_everyone()
extractor = nets.classifier_extractor(str(folder / "classifier"))
object.__setattr__(extractor, "batch_size", 64)
drawn, chunks, draw, chunk = [], [], drawn_set.draw_block, module._chunk
drawn_set.draw_block = lambda *words: drawn.append(words[1:3]) or draw(*words)
module._chunk = lambda *pair: chunks.append(len(pair[0])) or chunk(*pair)
two = module.scores(model, reals, protocol, extractor, 4, sweeping(accelerator), cache=folder / "cache")
json.dump([drawn, chunks, [repr(two.named), two.kid_subset]], open(folder / f"{rank}.json", "w"))
torch.distributed.barrier()
again = module.scores(model, reals, protocol, extractor, 4, sweeping(accelerator), cache=folder / "cache")
assert again == two
torch.distributed.barrier()
torch.distributed.destroy_process_group()
if rank == 0:
    one = module.scores(model, reals, protocol, extractor, 4, sweep)
    for name, value in one.named.items():
        assert abs(value.value - two.named[name].value) <= 1e-6 * abs(value.value), (name, value, two.named[name])
    print("two processes agree with one")
"""


def test_two_processes_score_as_one_does(machine, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    run = machine([os.path.dirname(__file__), tmp_path], program=tmp_path / "program.py", processes=2)
    assert run["status"] == 0, run["errors"]
    assert "two processes agree with one" in run["output"]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    drawn = [tuple(block) for found in (first, second) for block in found[0]]
    assert sorted(drawn) == [(label, number) for label in range(3) for number in range(2)], "each block once"
    assert {len(first[1]), len(second[1])} == {1, 2}, "the chunks are shared"
    assert first[2] == second[2], "the same on both, to the last digit"
    assert len(list((tmp_path / "cache").iterdir())) == 1
