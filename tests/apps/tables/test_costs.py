"""What trainings would take: their arithmetic beside torch's own count, and the times of finished runs."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apps.tables import costs
from apps.tables.arithmetic import operations, words_of
from apps.tables.costs import Costs, Estimate
from priors import zoo


def words(line: str):
    return words_of(shlex.split(line))


TEACHER = "train classifier --data cifar100 --arch wrn-16-2 --epochs 8 --name teacher"
STUDENT = "distill ce{} --data cifar100 --student resnet-20 --epochs 3 --train-images 500 --name student"
MAKERS = {"teacher": words(TEACHER)}


def forward(arch: str, classes: int, shape: tuple[int, int, int]) -> float:
    """By torch's own counter, on real numbers."""
    network = zoo.build(arch, classes=classes, image_shape=shape).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    return counter.get_total_flops()


def test_arithmetic_is_that_of_the_networks_times_the_images():
    teacher, student = (forward(arch, 100, (3, 32, 32)) for arch in ("wrn-16-2", "resnet-20"))
    taught = " --teacher runs/teacher"
    assert operations(words(TEACHER), {}) == pytest.approx(8 * 50_000 * 3 * teacher)
    assert operations(words(STUDENT.format("")), {}) == pytest.approx(1500 * 3 * student)
    found = operations(words(STUDENT.format("+hinton") + taught), MAKERS)
    assert found == pytest.approx(1500 * (3 * student + teacher))
    assert operations(words(STUDENT.format("+ckd") + taught), MAKERS) == pytest.approx(1500 * 3 * student)
    found = operations(words(STUDENT.format("+jacobian") + taught), MAKERS)
    assert found == pytest.approx(1500 * (9 * student + 3 * teacher))
    pruned = operations(words("prune runs/teacher --keep 0.5 --epochs 1 --name pruned"), MAKERS)
    assert pruned == pytest.approx(50_000 * 3 * teacher)
    wide = "train classifier --data cub-200-2011 --image-size 64 --arch torchvision:resnet18 --epochs 1"
    found = operations(words(wide), {})
    assert found == pytest.approx(5994 * 3 * forward("torchvision:resnet18", 200, (3, 64, 64)))


@pytest.mark.parametrize(
    "line",
    (
        "train hvae --data mnist --epochs 3",
        "train classifier --data mine --arch mlp --epochs 3",
        "train classifier --data digits --arch import:mine:net --epochs 3",
        "distill ce+hinton --data digits --student mlp --teacher runs/unknown --epochs 1",
        "evaluate runs/teacher",
    ),
)
def test_what_is_not_known_is_none(line):
    assert operations(words(line), MAKERS) is None


def finished(runs: Path, line: str, seconds: float, steps: int, device: str = "cpu") -> None:
    """A run's folder as a training leaves it, but for its weights."""
    split = shlex.split(line)
    folder = runs / split[split.index("--name") + 1]
    folder.mkdir(parents=True)
    verb = words(line).verb
    stored = {"format": 2, "verb": verb, "config": {}, "environment": {"device": device}, "command": split}
    (folder / "config.json").write_text(json.dumps(stored))
    (folder / "result.json").write_text(json.dumps({"steps": steps, "seconds": seconds}))


def estimate(found: Costs, *lines: str) -> Estimate:
    return found.of(lines, MAKERS, {line: shlex.split(line) for line in lines})


LIKE = "train hvae --data mnist --validation 10000 --variant hvae --latent-dim 5 --batch-size 100"


def test_runs_that_are_alike_go_before_arithmetic(tmp_path, monkeypatch):
    finished(tmp_path, f"{LIKE} --epochs 2 --seed 3 --name one", 30, 10)
    finished(tmp_path, f"{LIKE} --epochs 1 --seed 4 --lr 0.1 --name two", 10, 10)
    finished(tmp_path, f"{LIKE} --epochs 1 --seed 5 --name three", 40, 10)
    finished(tmp_path, f"{LIKE} --epochs 1 --precision bf16 --seed 5 --name other", 990, 10)
    finished(tmp_path, f"{LIKE} --epochs 1 --seed 5 --name of-a-gpu", 0.1, 10, device="NVIDIA")
    monkeypatch.setattr(costs, "_measured", lambda *_: pytest.fail("nothing is to be measured"))
    found = estimate(Costs(tmp_path, torch.device("cpu"), 1), f"{LIKE} --epochs 4 --seed 0 --name new")
    assert found.hours == pytest.approx(4 * 500 * 3.0 / 3600), "the median of 3, 1 and 4 seconds an update"
    assert found.whole and found.by == {"runs"}


def test_arithmetic_goes_by_what_is_measured_now_where_few_runs_are(tmp_path, monkeypatch):
    finished(tmp_path, "train classifier --data digits --arch mlp --epochs 1 --name one", 10, 10)
    monkeypatch.setattr(costs, "_measured", lambda device, threads, precision: 2e9)
    found = Costs(tmp_path, torch.device("cpu"), 1)
    one = estimate(found, TEACHER, "analyse discard runs/teacher --name scores")
    assert one.hours == pytest.approx(operations(MAKERS["teacher"], {}) / 2e9 / 3600) and not one.whole
    assert one.said.endswith(" h+") and found.said()[0].startswith("fp32: 2 billion operations a second, measured")


def test_arithmetic_goes_by_the_median_of_runs(tmp_path, monkeypatch):
    one = operations(words("train classifier --data digits --arch mlp --epochs 1"), {})
    for number, rate in enumerate((1e6, 5e6, 9e6), 1):
        line = (
            f"train classifier --data digits --arch mlp --epochs 1 --batch-size 64 --mixup 0.{number} --name n{number}"
        )
        finished(tmp_path, line, one / rate / (1437 / 64) * 22, 22)
    monkeypatch.setattr(costs, "_measured", lambda *_: pytest.fail("nothing is to be measured"))
    found = Costs(tmp_path, torch.device("cpu"), 1)
    assert estimate(found, TEACHER).hours == pytest.approx(operations(MAKERS["teacher"], {}) / 5e6 / 3600)
    assert "the median of 3 finished trainings here" in found.said()[0]


def test_runs_that_are_damaged_are_no_measurement(tmp_path, monkeypatch):
    beginning = "train classifier --data digits --arch mlp"
    for name, more in {"odd": "--epochs many", "none": "--epochs 1 --batch-size 0", "env": "--epochs 1"}.items():
        finished(tmp_path, f"{beginning} {more} --name {name}", 10, 10)
    stored = json.loads((tmp_path / "env/config.json").read_text())
    (tmp_path / "env/config.json").write_text(json.dumps(stored | {"environment": ["cpu"]}))
    monkeypatch.setattr(costs, "_measured", lambda device, threads, precision: 2e9)
    found = estimate(Costs(tmp_path, torch.device("cpu"), 1), TEACHER)
    assert found.hours == pytest.approx(operations(MAKERS["teacher"], {}) / 2e9 / 3600)


def test_a_training_of_which_nothing_is_known_makes_all_unknown(tmp_path):
    found = estimate(
        Costs(tmp_path / "none", torch.device("cpu"), 1), "train hvae --data mnist --epochs 3", "evaluate x"
    )
    assert found.hours is None and found.said == "unknown"


def test_this_machine_is_measured():
    """A step of a WRN-16-2 is 3 forward passes of 64 images: any machine does 10 million to 100 trillion a second."""
    before = torch.random.get_rng_state()
    assert 1e7 < costs._measured(torch.device("cpu"), 1, "fp32") < 1e14
    assert torch.equal(before, torch.random.get_rng_state())
