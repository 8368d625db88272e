"""Distillation on the command line, against the same training written out, and what it refuses."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from apps.data import sources
from apps.data.batches import Batches
from apps.data.shift import parse_shift
from apps.distilling.distillation import Distillation
from apps.models.mean_activations import mean_activations
from apps.seeds import derive
from priors import ClassifierPrior, zoo
from priors.files.tensors import digest_of, read_tensors

TINY = "--data digits --student mlp --device cpu --threads 1 --lr 0.01 --log-every 1".split()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier of the digits, trained for two epochs."""
    from apps.command.cli import main

    runs = tmp_path_factory.mktemp("teacher")
    words = ["train", "classifier", "--device", "cpu", "--threads", "1", "--epochs", "2", "--runs", str(runs)]
    assert main([*words, "--name", "teacher"]) == 0
    return runs / "teacher"


def weights(folder):
    return read_tensors(folder / "model.safetensors", "weights")[0]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def by_hand(steps, loss_of, lr=0.01, shift=None):
    """Plain SGD with momentum on the same student and batches, shifted before both networks see them."""
    images = sources.load("digits", "train")
    torch.manual_seed(derive(0, "weights"))
    from apps.data.image_set import channel_statistics

    mean, std = channel_statistics(images)
    student = zoo.build("mlp", classes=images.class_names, image_shape=images.image_shape, mean=mean, std=std).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    batches = Batches(images, 64, 0, shift=None if shift is None else parse_shift(shift))
    for number in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.1 ** sum(number >= part * steps for part in (0.625, 0.75, 0.875))
        optimizer.zero_grad()
        batch = batches.at(number)
        loss_of(student(batch.images), batch).backward()
        optimizer.step()
    return student.state_dict()


@pytest.mark.parametrize("shift", [None, "downsample:0.5", "photometric:0.6"])
@pytest.mark.parametrize("norms", ["running", "batch"])
def test_hinton_beside_the_labels_is_the_training_written_out(penult, teacher, tmp_path, shift, norms):
    if norms == "batch":  # a teacher with batch norm, which in training mode has each batch's own statistics
        words = ["train", "classifier", "--data", "digits", "--arch", "convnet", "--epochs", 0.2, "--name", "maps"]
        assert penult(*words, "--device", "cpu", "--threads", 1).status == 0
        teacher = tmp_path / "runs/maps"
    before = digest_of(weights(teacher))
    words = ["distill", "ce+hinton", "--teacher", teacher, *TINY, "--epochs", 0.5, "--name", "s"]
    words += [] if shift is None else ["--shift", shift]
    assert penult(*words, "--teacher-norms", norms).status == 0
    network = zoo.load(teacher).train(norms == "batch")

    def loss(logits, batch):
        with torch.no_grad():
            target = (network(batch.images) / 4).softmax(1)
        soft = -(target * (logits / 4).log_softmax(1)).sum(1).mean() * 16
        return 0.1 * F.cross_entropy(logits, batch.labels) + 0.9 * soft

    expected = by_hand(round(0.5 * 1437 / 64), loss, shift=shift)
    for name, values in weights(tmp_path / "runs/s").items():
        torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-6)
    assert digest_of(weights(teacher)) == before


def test_parts_of_a_batch_are_the_batch_and_bf16_is_near(penult, teacher, tmp_path):
    words = ["distill", "ce+hinton+crd", "--teacher", teacher, *TINY, "--epochs", 0.3, "--crd.negatives", 50, "--name"]
    assert penult(*words, "bf16", "--precision", "bf16").status == penult(*words, "fp32").status == 0
    plain = ["distill", "ce+hinton", *words[2:-3], "--name"]
    assert penult(*plain, "parts", "--accumulate", 4).status == penult(*plain, "whole").status == 0
    for first, second, rtol, atol in (("whole", "parts", 1e-4, 1e-6), ("fp32", "bf16", 0.1, 0.02)):
        expected = weights(tmp_path / f"runs/{first}")
        for name, values in weights(tmp_path / f"runs/{second}").items():
            torch.testing.assert_close(values, expected[name], rtol=rtol, atol=atol)


def test_a_phase_of_the_students_maps_leaves_its_final_layer_alone(penult, tmp_path, monkeypatch):
    """Weight decay alone would shrink it; and the rate stays where it is until the phase ends."""
    words = ["train", "classifier", "--data", "digits", "--arch", "convnet", "--epochs", 0.05, "--device", "cpu"]
    assert penult(*words, "--threads", 1, "--name", "maps").status == 0
    seen = []
    optimizer = Distillation.optimizer

    def noted(task, turn, phase, config):
        made = optimizer(task, turn, phase, config)
        head, step = task.networks["model"].head.weight, made.step

        def stepped(*arguments, **options):
            before = head.detach().clone()
            step(*arguments, **options)
            seen.append((phase.name, made.param_groups[0]["lr"], torch.equal(before, head)))

        made.step = stepped
        return made

    monkeypatch.setattr(Distillation, "optimizer", noted)
    words = [
        "distill",
        "ce+ab",
        "--teacher",
        "runs/maps",
        "--data",
        "digits",
        "--student",
        "convnet-half",
        "--lr",
        0.001,
    ]
    words += ["--epochs", 0.2, "--pretraining", 0.4, "--device", "cpu", "--threads", 1, "--name", "s"]
    assert penult(*words).status == 0
    of_phase, after = ([entry[1:] for entry in seen if entry[0] == name] for name in ("ab", "train"))
    assert len(of_phase) > 6 and set(of_phase) == {(0.001, True)}
    assert len(after) > 2 and len({rate for rate, _ in after}) > 1 and not any(same for _, same in after)


def test_ckd_is_the_training_written_out_and_needs_no_teacher_on_disk(penult, teacher, tmp_path):
    prior = tmp_path / "prior.safetensors"
    assert penult("prior", teacher, "--concentration", 80, "--out", prior, "--no-measure").status == 0
    shutil.copytree(teacher, tmp_path / "gone")
    words = [*TINY, "--epochs", 0.5, "--name"]
    assert penult("distill", "ce+ckd", "--prior", prior, *words, "from-prior").status == 0
    assert penult("distill", "ce+ckd", "--teacher", tmp_path / "gone", *words, "from-teacher").status == 0
    shutil.rmtree(tmp_path / "gone")
    table = ClassifierPrior.load(prior).class_posterior(temperature=4.0, standard_error=1e-3).table.float()

    def loss(logits, batch):
        soft = -(table[batch.labels] * (logits / 4).log_softmax(1)).sum(1).mean() * 16
        return 0.1 * F.cross_entropy(logits, batch.labels) + 0.9 * soft

    expected = by_hand(round(0.5 * 1437 / 64), loss)
    for name, values in weights(tmp_path / "runs/from-prior").items():
        torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-6)
        assert torch.equal(values, weights(tmp_path / "runs/from-teacher")[name])


def test_class_means_are_the_teachers_own_of_its_training_images_as_they_are(penult, teacher, tmp_path):
    words = ["distill", "ce+class-means", "--teacher", teacher, *TINY, "--epochs", 0.5, "--shift", "downsample:0.5"]
    done = penult(*words, "--name", "s")
    assert done.status == 0
    network, images = zoo.load(teacher).eval(), sources.load("digits", "train")
    with torch.no_grad():
        soft = (network(images.images.float() / 255) / 4).softmax(1)
    table = torch.stack([soft[images.labels == label].mean(0) for label in range(10)])
    assert f"Soft labels of the teacher's class means: {table.diagonal().mean():.3f} on the class itself" in done.out

    def loss(logits, batch):
        soft = -(table[batch.labels] * (logits / 4).log_softmax(1)).sum(1).mean() * 16
        return 0.1 * F.cross_entropy(logits, batch.labels) + 0.9 * soft

    expected = by_hand(round(0.5 * 1437 / 64), loss, shift="downsample:0.5")
    for name, values in weights(tmp_path / "runs/s").items():
        torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-6)


def test_nd_takes_the_teachers_mean_activations_and_dkd_comes_in_slowly(penult, teacher, tmp_path):
    network, images = zoo.load(teacher).eval(), sources.load("digits", "train")
    with torch.no_grad():
        rows = network.penultimate(images.images.float() / 255).double()
    expected = torch.stack([rows[images.labels == label].mean(0) for label in range(10)])
    torch.testing.assert_close(mean_activations(network, images), expected, rtol=1e-5, atol=1e-6)
    words = ["distill", "ce+nd+dkd", "--teacher", teacher, *TINY, "--epochs", 0.5, "--dkd.warmup", 0.5, "--name", "s"]
    assert penult(*words, "--runs", tmp_path / "runs").status == 0
    lines = map(json.loads, (tmp_path / "runs/s/metrics.jsonl").read_text().splitlines())
    parts = [line for line in lines if "train/dkd" in line]
    assert parts[0]["train/dkd"] == 0 < parts[1]["train/dkd"] < parts[3]["train/dkd"]
    assert 0 < parts[-1]["train/nd"] < parts[0]["train/nd"] < 1.5 * 2


def test_a_plan_makes_no_pass_over_all_images_and_leaves_a_finished_run(penult, teacher, tmp_path, monkeypatch):
    words = ["distill", "ce+nd+class-means", "--teacher", teacher, *TINY, "--epochs", 0.1, "--runs", tmp_path / "runs"]
    assert penult(*words, "--name", "s").status == 0
    seen = []
    monkeypatch.setattr(
        "apps.models.mean_activations.sweep", lambda images, *_, **__: seen.append(len(images)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        penult(*words, "--name", "s", "--plan")
    assert seen == [10]
    monkeypatch.undo()
    said = penult(*words, "--name", "s", "--plan")
    assert said.status == 0 and "what the training takes" in said.out and (tmp_path / "runs/s/result.json").exists()


def test_labels_alone_are_what_train_classifier_does(penult, tmp_path):
    words = [*TINY[:2], *TINY[4:], "--epochs", 1, "--optimizer", "momentum", "--schedule", "cosine"]
    assert penult("distill", "ce", "--student", "mlp", *words, "--weight-decay", 0, "--name", "a").status == 0
    assert penult("train", "classifier", "--arch", "mlp", *words, "--name", "b").status == 0
    a, b = weights(tmp_path / "runs/a"), weights(tmp_path / "runs/b")
    assert all(torch.equal(a[name], b[name]) for name in b)
    results = [json.loads((tmp_path / f"runs/{name}/result.json").read_text()) for name in "ab"]
    assert results[0]["test/accuracy"] == results[1]["test/accuracy"]


def test_a_students_weights_start_as_published(penult, monkeypatch):
    """A wide residual network's head without bias."""
    seen = []

    def built(*, build, **_):
        seen.append(build().networks["model"])
        return {}

    monkeypatch.setattr("apps.distilling.program.train", built)
    words = ["distill", "ce", "--student", "wrn-16-1", "--data", "digits", "--device", "cpu", "--threads", 1]
    assert penult(*words).status == 0 and not seen[0].head.bias.any()


def test_last_and_best_accuracy_are_reported(penult, teacher, tmp_path):
    words = ["distill", "ce+ckd", "--teacher", teacher, *TINY, "--epochs", 3, "--name", "s"]
    said = penult(*words)
    assert said.status == 0 and "best accuracy" in said.out + said.err
    result = json.loads((tmp_path / "runs/s/result.json").read_text())
    seen = [entry["validation/test accuracy"] for entry in metrics(tmp_path / "runs/s") if "images/s" not in entry]
    assert len(seen) == 3 and result["test/best accuracy"] == max(seen)
    assert result["last"]["test accuracy"] == result["test/accuracy"] == seen[-1]
    evaluated = penult("evaluate", tmp_path / "runs/s")
    assert evaluated.status == 0 and f"{seen[-1]:.2%}" in evaluated.out
    assert "nothing was done" in penult(*words).out
    assert penult("prior", tmp_path / "runs/s").status == 0, "an ordinary run of the zoo"
    assert penult("report", tmp_path / "runs/s").status == penult("export", tmp_path / "runs/s", "given").status == 0
    assert "student mlp on digits, distilled by ce+ckd" in (tmp_path / "runs/s/report.html").read_text()


def test_several_seeds_are_runs_of_their_own_whose_spread_is_said(penult, teacher, tmp_path):
    words = ["distill", "ce+ckd", "--teacher", teacher, *TINY, "--epochs", 0.3]
    said = penult(*words, "--seeds", 3, "--seed", 4, "--name", "s")
    assert said.status == 0
    found = [json.loads((tmp_path / f"runs/s-seed{seed}/result.json").read_text()) for seed in (4, 5, 6)]
    values = [100 * result["test/accuracy"] for result in found]
    assert f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}" in said.out and len(set(values)) > 1
    alone = penult(*words, "--seed", 5, "--name", "s-seed5")
    assert alone.status == 0 and "nothing was done" in alone.out, "the same run as by itself"
    assert penult(*words, "--seeds", 0).err == "penult: --seeds 0: expected 1 or more, at most 10,000\n"


def test_held_out_images_choose_the_weights(penult, teacher, tmp_path):
    words = ["distill", "ce+ckd", "--teacher", teacher, *TINY, "--epochs", 2, "--validation", 200, "--name", "s"]
    assert penult(*words).status == 0
    result = json.loads((tmp_path / "runs/s/result.json").read_text())
    assert {"accuracy", "test accuracy"} <= result["best"].keys() and (tmp_path / "runs/s/last.safetensors").is_file()


def test_cached_logits_train_the_same_student(penult, teacher, tmp_path):
    words = ["distill", "ce+hinton", "--teacher", teacher, *TINY, "--epochs", 2, "--augment", "flip", "--name"]
    cached = ["--cache-logits", tmp_path / "logits"]
    assert penult(*words, "plain").status == penult(*words, "first", *cached).status == 0
    said = penult(*words, "second", *cached)
    assert said.status == 0 and "in 2 views" in said.out and " 0.0% filled" not in said.out
    plain, first, second = (weights(tmp_path / f"runs/{name}") for name in ("plain", "first", "second"))
    for name in plain:
        torch.testing.assert_close(first[name], plain[name], rtol=1e-3, atol=1e-4)  # logits as float16
        torch.testing.assert_close(second[name], first[name], rtol=1e-5, atol=1e-6)


def test_shifted_images_are_shown_to_both_and_tested_on_as_clean_ones_are(penult, teacher, tmp_path):
    words = ["distill", "ce+hinton", "--teacher", teacher, *TINY, "--epochs", 1, "--name"]
    assert penult(*words, "shifted", "--shift", "downsample:0.5").status == 0
    result = json.loads((tmp_path / "runs/shifted/result.json").read_text())
    student, test = zoo.load(tmp_path / "runs/shifted"), sources.load("digits", "test")
    clean = test.images.float() / 255
    half = F.interpolate(clean[:, :, ::2, ::2], scale_factor=2, mode="nearest")
    for name, images in (("", clean), ("shifted ", half)):
        with torch.no_grad():
            right = (student(images).argmax(1) == test.labels).float().mean()
        assert result[f"test/{name}accuracy"] == pytest.approx(float(right), abs=1e-6)
    seen = [entry.get("validation/test shifted accuracy", 0) for entry in metrics(tmp_path / "runs/shifted")]
    assert result["test/best accuracy"] == max(seen)


def test_small_images_make_a_student_of_their_own(penult, teacher, tmp_path):
    words = ["distill", "ce+ckd", "--teacher", teacher, *TINY, "--epochs", 1, "--name", "small"]
    assert penult(*words, "--shift", "downsample:0.5:small").status == 0
    result = json.loads((tmp_path / "runs/small/result.json").read_text())
    assert zoo.load(tmp_path / "runs/small").image_shape == (1, 4, 4)
    assert "test/shifted accuracy" in result and "test/accuracy" not in result


def test_a_student_that_cannot_fit_says_what_it_needs(penult, tmp_path):
    said = penult("distill", "ce", "--data", "digits", "--student", "wrn-28-10", "--batch-size", 1_000_000)
    assert said.status == 2
    assert re.search(r"--student wrn-28-10 with --batch-size 1000000 needs about [\d,.]+ GiB more and [\d.]+", said.err)
    assert not (tmp_path / "runs").exists()


def test_a_teacher_that_cannot_take_the_images_is_said(penult, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(100, 10))\n"
    )
    said = penult("distill", "ce+hinton", "--teacher", "import:own:make", *TINY, "--epochs", 1)
    assert said.status == 2 and "cannot take images of 1x8x8 (channels x height x width)" in said.err
    assert said.err.startswith("penult: the teacher")


def test_stages_that_do_not_pair_up_are_said_before_there_is_a_run(penult, tmp_path):
    words = ["train", "classifier", "--data", "digits", "--arch", "convnet", "--epochs", 0.05, "--device", "cpu"]
    assert penult(*words, "--threads", 1, "--name", "maps").status == 0
    words = [
        "distill",
        "ce+attention",
        "--teacher",
        "runs/maps",
        *TINY[:2],
        "--student",
        "convnet-half",
        "--epochs",
        0.05,
    ]
    words += ["--device", "cpu", "--threads", 1, "--name", "s"]
    taps = ["--student-taps", "body.conv1", "body.conv2"]
    said = penult(*words, *taps)
    assert said.status == 2 and "the student has 2, the teacher 4: name as many of each" in said.err
    said = penult(*words, "--student-taps", "body.conv9")
    assert said.status == 2 and "unknown module 'body.conv9': did you mean 'body.conv" in said.err
    assert not (tmp_path / "runs/s").exists()
    assert penult(*words, *taps, "--teacher-taps", "body.conv1", "body.conv2").status == 0


@pytest.mark.slow
def test_a_run_that_dies_goes_on_to_the_same_weights(penult, tmp_path, monkeypatch):
    """Within a phase and after it: banks, constants, draws of negatives and colours, momentum, batch norm."""
    shared = ["--data", "digits", "--device", "cpu", "--threads", 1]
    assert penult("train", "classifier", *shared, "--arch", "convnet", "--epochs", 0.05, "--name", "maps").status == 0
    words = ["distill", "ce+crd+ft+ab", "--teacher", "runs/maps", "--student", "convnet-half", *shared, "--lr", 0.001]
    words += ["--epochs", 0.4, "--pretraining", 0.12, "--crd.negatives", 50, "--checkpoint-every", 2]
    words += ["--shift", "photometric:0.3", "--augment", "flip", "--name"]
    said = penult(*words, "whole")
    assert said.status == 0 and "ft and then ab train alone for 0.12 epochs each first (--pretraining).\n" in said.out
    losses = Distillation.losses
    for dies in (3, 13):

        def dying(task, turn, batch, step, dies=dies):
            if step == dies:
                raise ZeroDivisionError
            return losses(task, turn, batch, step)

        with monkeypatch.context() as patched:
            patched.setattr(Distillation, "losses", dying)
            with pytest.raises(ZeroDivisionError):
                penult(*words, f"died-at-{dies}")
        assert penult(*words, f"died-at-{dies}").status == 0
        for name in ("model", "crd", "ft", "ab"):
            first, second = (
                read_tensors(tmp_path / f"runs/{run}/{name}.safetensors", "weights")[0]
                for run in ("whole", f"died-at-{dies}")
            )
            assert all(torch.equal(first[key], second[key]) for key in first), (name, dies)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ce+hinton", "ce+hinton looks at a teacher: give --teacher MODEL"),
        ("ce+ckd", "as penult prior MODEL --concentration 80 --out FILE.safetensors writes one, or --teacher MODEL"),
        ("--teacher T ce+hinton", "--teacher before the terms, which say what options there are"),
        (
            "attention+rkd --teacher T",
            "nothing in attention+rkd trains the student's final layer: add ce, hinton or ckd",
        ),
        ("ce+rkd --teacher T --accumulate 2", "--accumulate 2: rkd compares the images of a batch with one another"),
        (
            "ce+nd --teacher T --penultimate 7 --batch-size 2 --accumulate 2",
            "--batch-size 2 in 2 parts: nd takes statistics of batch norm over the images of a batch: 2 images",
        ),
        ("ce+hinton --teacher T --pretraining 5", "--pretraining 5.0: no term of ce+hinton has a phase; leave it out"),
        ("ce+ab --teacher T --pretraining 0", "--pretraining 0: expected a number above 0"),
        ("ce+class-means", "ce+class-means looks at a teacher: give --teacher MODEL"),
        (
            "ce+class-means --teacher T --concentration 5",
            "--concentration 5: ce+class-means takes no prior",
        ),
        ("ce+class-means --teacher T --cache-logits c", "ce+class-means runs no teacher while the student is trained"),
        ("ce+class-means --teacher T --class-means.temperature 0", "temperature 0.0: expected a positive number"),
        ("ce+ckd --teacher nothing", "unknown run 'nothing'"),
        ("ce+hintn --teacher T", "unknown term 'hintn': did you mean 'hinton'"),
        ("ce --teacher T", "--teacher T: ce looks at no teacher; leave it out"),
        ("ce+hinton --teacher T --prior T", "--prior T: ce+hinton takes no prior"),
        ("ce+hinton --teacher T --hinton.temperature 0", "--hinton.temperature 0.0: expected a positive number"),
        ("ce+hinton --teacher T --hinton.weight -1", "--hinton.weight -1.0: expected a number of 0 or more"),
        ("ce+hinton --teacher T --student wrn-16-3", "unknown classifier 'wrn-16-3': did you mean 'wrn-16-"),
        ("ce+hinton --teacher T --student-taps a", "--student-taps a: ce+hinton compares no feature maps"),
        ("ce+ckd --teacher T --teacher-norms batch", "--teacher-norms batch: ce+ckd runs no teacher; leave it out"),
        (
            "ce+ckd --teacher T --cache-logits c",
            "--cache-logits c: ce+ckd runs no teacher while the student",
        ),
        (
            "ce+ckd --prior letters.safetensors",
            "the classes of letters.safetensors and of digits differ: class 0 is 'a'",
        ),
        ("ce+hinton --teacher T --shift downsample:0.5:small", "the teacher: images are 1 x 4 x 4"),
        ("ce+fitnet --teacher T --student-taps body.hidden1", "the teacher: the tap 'body.hidden1' gives (1, 256)"),
        ("ce+ckd --teacher T --shift blur:0.5", "unknown shift 'blur'"),
        ("ce+hinton --teacher T --cache-logits c --shift photometric:0.2", "more views than could be kept"),
        ("ce+ckd --prior nine.safetensors", "nine.safetensors has 9 classes and digits 10: they must agree"),
        ("ce+ckd --teacher T --concentration -3", "the concentration of class '0' is -3.0"),
        ("ce+ckd --teacher T --patience 3", "--patience counts validations on held-out images"),
        ("ce+hinton --teacher T --cache-logits c --teacher-norms batch", "--teacher-norms batch makes an image's"),
    ],
)
def test_bad_input_is_one_line(penult, teacher, tmp_path, words, expected):
    (tmp_path / "T").symlink_to(teacher)
    for name, classes in (("letters", "abcdefghij"), ("nine", "012345678")):
        weight = torch.randn(len(classes), 11, generator=torch.Generator().manual_seed(0))
        ClassifierPrior.from_weight(weight, 20, class_names=list(classes)).save(f"{name}.safetensors")
    said = penult("distill", *words.split(), "--data", "digits", "--epochs", 1, "--device", "cpu", "--threads", 1)
    assert said.status == 2 and expected in said.err and "Traceback" not in said.err
    assert not list((tmp_path / "runs").glob("*/metrics.jsonl"))


OWN = """
import torch
from torch import nn
def single():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
def double():
    return single().double()
class Mixed(nn.Sequential):
    def forward(self, images):
        return self[3](self[2](self[1](self[0](images))).double())
def mixed():
    network = Mixed(*single())
    network[3].double()
    return network
"""


@pytest.mark.slow
def test_a_teacher_in_double_precision_or_of_two_types_teaches_what_it_does_in_single(penult, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    found = []
    for name in ("single", "double", "mixed"):
        model = f"import:own:{name}"
        words = ["distill", "ce+ckd+hinton+rkd", "--teacher", model, "--prior", model, "--concentration", 20]
        assert penult(*words, *TINY, "--epochs", 0.1, "--name", name).status == 0
        found.append([entry["train/hinton"] for entry in metrics(tmp_path / "runs" / name) if "train/hinton" in entry])
    assert found[0] and found[1] == pytest.approx(found[0], rel=1e-4) and found[2] == pytest.approx(found[0], rel=1e-4)
