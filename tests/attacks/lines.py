"""Bad command lines: each is refused in clear words before anything is written, or does what it says."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from importing import imports_from
from material import PLACE, SHARED
from outcome import SECONDS, Outcome, Tally, digests, ill, refusal, run

CLASSIFIER = f"train classifier --arch mlp --epochs 1 --name new {SHARED}"
HVAE = f"train hvae --variant hvae --latent-dim 3 --hidden 4 --epochs 1 --name new {SHARED}"
HVAE_L = f"train hvae --variant hvae-l --latent-dim 3 --hidden 4 --epochs 1 --name new {SHARED}"
SNGAN = f"train sngan --generator-width 4 --discriminator-width 2 --steps 2 --name new {SHARED}"
DISTILL = f"distill ce --student mlp --epochs 1 --name new {SHARED}"
SAMPLE, EVALUATE = "sample runs/hvae-l --n 1 --out new.npz", f"evaluate runs/classifier {PLACE}"

WORDS = """
trian classifier | train | train clasifier | analyse | analyze normalised runs/classifier | evalute runs/classifier
penult | -x | --helpp | ls run | ls runs extra | table | table nothing 1 | sample | evaluate | report | export
evaluate runs/classifer | evaluate runs | evaluate images.npz | evaluate nowhere/at/all | evaluate ''
evaluate runs/classifier runs/hvae-l | sample runs/classifier --out new.npz | sample runs/hvae-l --out new.bmp
sample runs/hvae-l --out drawn-hvae-l.npz | sample runs/hvae-l --out /proc/new.npz | sample runs/hvae-l --out ''
sample runs/hvae-l --labels 9 --out new.npz | sample runs/hvae-l --labels , --out new.npz
sample runs/hvae-l --labels 0-99999999999 --out new.npz | sample runs/hvae-l --labels 2-0 --out new.npz
sample runs/hvae-l --interpolate 1 --out new.png | sample runs/hvae-l --interpolate 0,9 --out new.png
sample runs/hvae-l --image image.png --out new.png | sample runs/inverted-logits --out new.png
sample runs/inverted-logits --image images.npz --out new.png | sample runs/sngan --concentration -3 --out new.npz
sample runs/hvae-l --steps 5 --out new.png
evaluate runs/classifier --data drawn-hvae-l.npz --device cpu | evaluate runs/classifier --data nothing --device cpu
evaluate runs/classifier --data runs --device cpu | evaluate runs/classifier --protocol fid-9k --device cpu
evaluate runs/hvae-l --classify-by runs/hvae-l --device cpu | evaluate runs/classifier --gan-train --device cpu
prior runs/inverted-logits | prior prior.safetensors --concentration x | prior runs/classifier --out new.txt
prior runs/classifier --out prior.safetensors | prior runs/classifier --concentration -1 | prior runs/classifier --for x
prior import:nothing | prior import:os:getcwd | prior torchvision:resnet0 | prior torchvision: | prior import::
prior runs/classifier --concentration mle auto | prior runs/classifier --concentration nan
report runs/nothing | report runs/classifier runs/classifier --out new/ | report images.npz
export runs/classifier | export runs/classifier runs/classifier | export runs/classifier runs | export images.npz new
analyse circle runs/classifier | analyse normalised runs/hvae-l | analyse invert runs/classifier --taps nothing
distill ce+class-means --student mlp --epochs 1 --name new | analyse gauges nothing
analyse gauges runs/hvae-l | analyse gauges runs/classifier runs/classifier --out new.png
analyse gauges runs/classifier --out new.txt | analyse circle runs/classifier --every-gauge --space raw
analyse normalised runs/classifier --every-gauge --directions means | analyse normalised runs/classifier --folds 1
analyse normalised runs/classifier --every-gauge --folds 99999
analyse anomaly runs/classifier --against noise --also nothing
analyse anomaly runs/classifier --against noise --every-gauge --space whitened
analyse anomaly runs/classifier --against nothing | analyse anomaly runs/classifier --against images
"""
"""Whole lines that say what cannot be meant, or is not there."""

FLAGS = {
    CLASSIFIER: """--epochs nan | --epochs -1 | --epochs 1e30 | --lr inf | --lr -1 | --lr x | --batch-size 0
        --batch-size 99999999999999999999 | --batch-size 1.5 | --penultimate 0 | --penultimate 100000000000 | --seed -1
        --seed 99999999999999999999999 | --validation -1 | --validation 96 | --validation 1000000000000
        --schedule linaer | --optimizer adma | --final-lr -1 | --milestones 2 1 | --decay 0 | --warmup -1 | --clip 0
        --ema 1 | --ema -1 | --precision fp8 | --validate-every 0 | --patience 0 | --checkpoint-every 0
        --log-every 0 | --snapshots -1 | --tracker nothing | --accumulate 0 | --accumulate 17 | --threads 0
        --threads 100000 | --device tpu | --arch mpl | --data nothing | --data nothing.npz | --data runs
        --name a/b | --name .. | --name '' | --runs image.png | --data-root image.png | --epchs 1 | --learning-rate 1
        --weight-decay -1 | --augment rotate | --augment resized-crop --crop-fill mean | --reset-momentum
        --mixup 0 | --image-size 0 | --lr 1 --lr 2 | --no-augment | extra""",
    HVAE: """--latent-dim 0 | --latent-dim 100000000000 | --hidden 0 | --hidden | --kl-warmup -1 | --variant hvae-x
        --classifier runs/classifier | --concentration 3 | --learn directions | --learn x""",
    HVAE_L: """--classifier nowhere | --classifier images.npz | --classifier runs/inverted-logits
        --classifier prior.safetensors --concentration -1 | --classifier prior.safetensors --concentration 1e300
        --classifier prior.safetensors --latent-dim 7""",
    SNGAN: """--steps 0 | --generator-width 0 | --discriminator-turns 0 | --betas 1 1 | --betas 0.5 | --r1 -1
        --r1-every 0 | --standing -1 | --score-every 0 | --score-images 0 | --score-images 99999999999 | --radius 0
        --latent vmf | --latent-dim -3 | --fakes 0 | --preset nothing""",
    DISTILL: """--teacher nowhere | --student nothing | --seeds 0 | --seeds -1 | --shift photometric:x | --shift nothing
        --crop-fill red | --teacher-taps a | --pretraining -1""",
    "distill nothing": "--student mlp | --teacher runs/classifier",
    f"distill ce+hinton --student mlp --epochs 1 --name new {SHARED}": """--teacher runs/hvae-l | --epochs 1
        --teacher runs/classifier --hinton.temperature 0 | --teacher runs/classifier --cache-logits image.png""",
    SAMPLE: "--n 0 | --n -1 | --n 100000000000 | --seed -1 | --concentration 1e39 | --concentration -1 | --steps 0",
    EVALUATE: """--images 0 | --images -1 | --batch-size 0 | --samples 0 | --seed -1 | --image-size -1 | --split all
        --against nothing | --mean 1 2 --std 1 | --head nothing""",
}
"""By a line that is well in itself, what is added to it, or said another way."""


def _flagged() -> list[str]:
    """The lines with one part said badly: an option that the line has already takes the bad value."""
    found = []
    for line, endings in FLAGS.items():
        for ending in endings.replace("\n", "|").split("|"):
            if ending := ending.strip():
                found.append(_with(line, ending))
    return found


def _with(line: str, ending: str) -> str:
    parts = line.split(" --")
    given = [part.split()[0] for part in f" {ending}".split(" --")[1:]]
    kept = [part for part in parts[1:] if part.split()[0] not in given]
    return " --".join([parts[0], *kept]) + f" {ending}"


CONTROL = [
    ["evaluate", "runs/\x1b[2J\x07"],
    ["train", "\x1b]0;title\x07"],
    ["evaluate", "runs/a\nb"],
    ["evaluate", "runs/\udcff\udcfe"],
    ["\udcff"],
    ["sample", "runs/hvae-l", "--out", "\udcff.xyz"],
    ["sample", "runs/hvae-l", "--labels", "\x1b[31m", "--out", "new.npz"],
    ["train", "classifier", "--\x1b[31m", "1"],
    ["train", "classifier", "--arch", "\x1b[31m"],
    ["train", "classifier", "--data", "\x1b[31m.npz", "--name", "new"],
    ["evaluate", "x" * 5000],
    ["evaluate", "runs/" + "猫"],
    ["prior", "import:\x1b[2J:\x07"],
    ["distill", "ce+\x1b[2J"],
]
"""Words that a terminal would obey, or that no text is."""


def _raw(outcome: Outcome) -> bool:
    """Whether a control character of the line reached what was said."""
    return any(character in outcome.out + outcome.err for character in "\x1b\x07")


def attack(machine: Callable, made: Path, work: Path, count: int, seed: int, real: bool = True) -> Tally:
    """Give the lines, or the first so many of each sort; `real`: also those for a process with odd surroundings."""
    tally = Tally("lines")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made / "done", work)
    before = digests(work)
    plain = [line.strip() for line in WORDS.replace("\n", "|").split("|") if line.strip()]
    for sort in (plain, _flagged(), CONTROL):
        for line in sort[: count or None]:
            outcome = run(machine, work, line)
            end = ill(outcome) or (refusal(outcome) if outcome.status else "obeyed")
            if end == "refused" and sort is CONTROL and _raw(outcome):
                end = "raw control characters"
            if end == "refused" and outcome.files != before:
                end = "refused, but something was written"
            said = line if isinstance(line, str) else shlex.join(line)
            tally.note(end, f"penult {said.encode(errors='backslashreplace').decode()!r}", outcome)
            if outcome.files != before:
                shutil.rmtree(work)
                shutil.copytree(made / "done", work)
    for name, command, change, status in SURROUNDINGS if real else ():
        outcome = _process(work, command, change)
        end = ill(outcome) or (
            "same" if outcome.status == status or (status is None and outcome.status in (0, 141)) else "another status"
        )
        tally.note(end, f"{name}: {command}", outcome)
    return tally


SURROUNDINGS = (
    ("text in ASCII", "evaluate runs/classifier --device cpu", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, 0),
    ("text in ASCII", "evaluate runs/猫", {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}, 2),
    ("text in ASCII", "ls runs", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, 0),
    ("standard error closed", f"{CLASSIFIER} 2>&-", {}, 0),
    ("standard error closed", "evaluate runs/nothing 2>&-", {}, 2),
    ("standard input closed", "evaluate runs/classifier --device cpu <&-", {}, 0),
    ("a full device", "ls runs > /dev/full", {}, 1),
    ("a reader that left", "ls classifiers | true; exit ${PIPESTATUS[0]}", {}, None),
)
"""What it is, the line as a shell has it, the environment, and the status that is right; None: 0, or 141 where the
reader was the quicker."""


def _process(work: Path, command: str, environment: dict[str, str]) -> Outcome:
    """A command by a shell, in a process of its own."""
    root = str(Path(__file__).parents[2])
    line = f"{shlex.quote(sys.executable)} -m apps {command}"
    place = os.environ | imports_from(root) | environment
    try:
        ended = subprocess.run(["bash", "-c", line], cwd=work, env=place, capture_output=True, timeout=4 * SECONDS)
    except subprocess.TimeoutExpired:
        return Outcome(-14, "", "", {})
    out, err = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
    return Outcome(ended.returncode, out, err, digests(work))
