"""Every verb under three processes: none of them holds or leaves out a message that the others wait for.

Before each message the processes compare, by notes in their store, which line sends it and what shape it has. (torch's
own comparison, TORCH_DISTRIBUTED_DEBUG=DETAIL, ends in a segmentation fault of DistributedDataParallel: torch 2.15.)
"""

import json
import shutil
from pathlib import Path

import pytest

PROGRAM = """
import contextlib, io, json, os, sys, traceback
from datetime import timedelta
import torch
import torch.distributed as distributed
from apps.command.cli import main
from apps.training import session

session.PATIENCE = PATIENCE = timedelta(seconds=90)
rank, world, folder = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sys.argv[1]
os.chdir(folder)
sent, total = [], 0
ours = os.path.dirname(os.path.dirname(sys.modules["apps"].__file__))

def compared(name):
    function = getattr(distributed, name)
    def call(*words, **options):
        global total
        total += 1
        at = [frame for frame in traceback.extract_stack()[:-1] if frame.filename.startswith(ours + os.sep)][-1]
        shapes = [tuple(word.shape) for word in words if isinstance(word, torch.Tensor)]
        sent.append(f"{name} {shapes} {os.path.relpath(at.filename, ours)}:{at.lineno}")
        store = distributed.distributed_c10d._get_default_store()
        store.set(f"test/{total}/{rank}", sent[-1])
        store.wait([f"test/{total}/{other}" for other in range(world)], PATIENCE)
        every = [store.get(f"test/{total}/{other}").decode() for other in range(world)]
        assert len(set(every)) == 1, every
        return function(*words, **options)
    setattr(distributed, name, call)

for name in ("all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "barrier", "broadcast",
             "broadcast_object_list", "gather", "gather_object", "reduce", "scatter"):
    compared(name)
found = {}
for command in json.load(open("commands.json")):
    sent.clear()
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            status = main(command)
        except BaseException:
            status = traceback.format_exc()
    found[" ".join(command)] = [status, errors.getvalue(), output.getvalue(), list(sent)]
    json.dump(found, open(f"found-{rank}.json", "w"))
    if status:
        break
"""

SMALL = "--device cpu --threads 1"
TRAINED = f"--batch-size 48 --epochs 0.2 {SMALL}"
SNGAN = "--batch-size 48 --generator-width 4 --discriminator-width 4 --steps 2 --score-every 1 --score-images 200"
COMMANDS = [
    f"train classifier --penultimate 2 --snapshots 0 3 --validation 50 --name circle {TRAINED}",
    f"train classifier --arch convnet --sync-batchnorm --ema 0.9 --clip 1 --mixup 0.3 --name convnet {TRAINED}",
    f"train autoencoder --arch convnet --decoder-width 2 --validation 50 --ema 0.9 --snapshots 2 --name auto {TRAINED}",
    f"train hvae --variant hvae-l --classifier runs/classifier --latent-dim 5 --kl-warmup 0 --name guided {TRAINED}",
    f"train hvae --variant hvae-m --networks conv --latent-dim 5 --kl-warmup 0 --name learnt {TRAINED}",
    f"train sngan --latent vmf --classifier runs/classifier --extractor runs/classifier --ema 0.5 --r1 1 {SNGAN} "
    f"--name sngan {SMALL}",
    f"distill ce+hinton+crd+attention --teacher runs/convnet --student convnet-half --name student {TRAINED}",
    f"distill ce+hinton --teacher runs/convnet --student convnet-half --cache-logits logits --sync-batchnorm "
    f"--augment flip --name cached {TRAINED}",
    f"distill ce+ckd+class-means+nd --teacher runs/classifier --student mlp --concentration mle --seeds 2 {TRAINED}",
    f"distill ce+fitnet+ab --pretraining 0.1 --teacher runs/convnet --student convnet-half --name phased {TRAINED}",
    f"prune runs/convnet --keep 0.3 --ema 0.9 --clip 1 --name pruned {TRAINED}",
    f"prior runs/classifier --concentration mle --out prior.safetensors {SMALL}",
    f"prior runs/classifier --concentration sweep:5,20 --for hvae-l --train epochs=0.1 batch-size=48 {SMALL}",
    f"evaluate runs/convnet {SMALL}",
    f"evaluate runs/auto {SMALL}",
    f"evaluate runs/hvae-l --samples 2 --images 31 --batch-size 10 {SMALL}",
    f"evaluate runs/hvae-c --protocol fid-all --split test --extractor runs/classifier {SMALL}",
    f"evaluate runs/hvae-c --classify-by runs/circle --gan-train {SMALL}",
    f"analyse normalised runs/convnet --every-gauge {SMALL}",
    f"analyse circle runs/circle {SMALL}",
    f"analyse gauges runs/circle {SMALL}",
    f"analyse anomaly runs/classifier --against noise --every-gauge --images 100 --concentration mle {SMALL}",
    f"analyse invert runs/circle --taps logits --layers 1 --filters 2 --decoder-filters 2 --decoder-epochs 0.1 "
    f"--test-images 31 --shown 2 --n 2 --distances 4 --closest logits --draws 7 --snapshots --name inverted {TRAINED}",
    f"analyse spectrum runs/convnet --taps convolutions --against runs/hvae noise --images 100 {SMALL}",
    f"analyse layers runs/circle --against runs/convnet --images 21 --draws 100 {SMALL}",
    f"analyse discard runs/convnet --metrics sid,ru --taps norm2 --images 21 --grid 4 --decoder-width 2 --ru-steps 2 "
    f"--ru-measured 4 {TRAINED}",
    f"analyse coherency runs/convnet --metrics sid,ru --taps norm2 --images 21 --grid 4 --decoder-width 2 --ru-steps 2 "
    f"--ru-measured 4 --sid-steps 2 --sid-check 4 --retrained {TRAINED}",
    f"analyse discard runs/auto --images 21 --grid 4 --method linear {TRAINED}",
    f"analyse saliency runs/convnet --images 7 --steps 2 --noisy 2 --drawn 1 {SMALL}",
    f"analyse robustness runs/convnet --images 21 --wrong 3 --steps 10 {SMALL}",
    f"sample runs/hvae-l --n 2 --out drawn.png {SMALL}",
    "export runs/hvae-l exported",
    "report runs/hvae-l",
    "table penultimate 2-short --all --device cpu --threads 1",
    "show runs/hvae-l",
    "completion names -- evaluate runs/",
    "ls runs",
]


@pytest.mark.slow
def test_no_process_sends_what_another_does_not(machine, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs")
    commands = [command.split() for command in COMMANDS]
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    (tmp_path / "program.py").write_text(PROGRAM)
    job = {"processes": 3, "seconds": 1500, "environment": {"PENULT_DATA": str(tmp_path / "data")}}
    ran = machine([tmp_path], program=tmp_path / "program.py", **job)
    assert ran["status"] == 0, ran["errors"]
    first, *others = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in range(3))
    for command, (status, errors, _, sent) in first.items():
        assert status == 0, (command, status, errors)
        for other in others:
            assert other[command][0] == 0 and other[command][2] == "" and "penult: " not in other[command][1], command
            assert other[command][3] == sent, command
    assert len(first) == len(COMMANDS)
    apart = {command for command, found in first.items() if not found[3]}
    alone = {"sample", "export", "report", "table", "show", "completion", "ls"}  # a table that is shown, not trained
    assert {command.split()[0] for command in apart} <= alone
    assert Path(tmp_path, "drawn.png").is_file()
