"""The SNGAN's training: losses from the logits, the penalty by finite differences, streams, the command line."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from apps.command.config import Optimisation
from apps.data import sources
from apps.data.batches import Batch
from apps.data.sweep import sweep
from apps.fidelity import protocols
from apps.fidelity.extractor import classifier_extractor
from apps.fidelity.scores import scores
from apps.generators.latents import Gaussian
from apps.generators.sngan import SNGAN, Discriminator
from apps.generators.sngan_presets import architecture
from apps.generators.sngan_settings import SNGANSettings
from apps.generators.sngan_training import Objective, SNGANTraining, standing_statistics
from apps.generators.train_sngan import objective, resolved
from apps.models.named import generator_run
from priors import ClassifierPrior
from priors.files.tensors import read_tensors

SHAPE = (1, 8, 8)
CLASSES = ("a", "b", "c")


def batch_of(number=0, count=6):
    stream = torch.Generator().manual_seed(number)
    labels = torch.arange(count) % 3
    images = torch.rand(count, *SHAPE, generator=stream)
    return Batch(images, labels, torch.arange(count), torch.zeros(count, dtype=torch.int64), number)


def task_of(**options):
    torch.manual_seed(0)
    sizes = architecture("gan-evaluation", SHAPE, 4, 4)
    return SNGANTraining(SNGAN(sizes, CLASSES, Gaussian(5)), Discriminator(sizes, 3), Objective(**options), seed=7)


class Recording(nn.Module):
    """A discriminator that keeps what it is shown and answers with the mean pixel times the label."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.seen = []

    def forward(self, images, labels):
        self.seen.append((images, labels))
        return self.scale * images.mean((1, 2, 3)) * (1 + labels)


def with_recording(task):
    recording = Recording()
    task.networks["discriminator"] = task._discriminator = recording
    return recording


def test_the_discriminators_loss_is_the_hinge_on_reals_and_fakes_in_one_pass():
    task = task_of()
    recording = with_recording(task)
    batch = batch_of()
    losses = task.losses("discriminator", batch, 0)
    ((images, labels),) = recording.seen
    assert torch.equal(labels, torch.cat([batch.labels, batch.labels]))  # fakes have the real batch's
    scores = 3 * images.mean((1, 2, 3)) * (1 + labels)
    expected = sum(max(0.0, 1 - score) for score in scores[:6].tolist()) / 6
    expected += sum(max(0.0, 1 + score) for score in scores[6:].tolist()) / 6
    assert losses.keys() == {"discriminator"} and losses["discriminator"].item() == pytest.approx(expected, rel=1e-5)
    losses["discriminator"].backward()
    assert recording.scale.grad is not None
    assert all(parameter.grad is None for parameter in task.networks["model"].parameters())


def test_real_images_are_spread_over_their_grey_level():
    task = task_of()
    recording = with_recording(task)
    batch = batch_of()
    task.losses("discriminator", batch, 0)
    real = (recording.seen[0][0][:6] + 1) * 128  # in [0, 256]
    noise = real - 255 * batch.images
    assert -1e-3 < noise.min() < 0.1 and 0.9 < noise.max() < 1.001 and abs(noise.mean() - 0.5) < 0.1
    plain = task_of(dequantise=False)
    recording = with_recording(plain)
    plain.losses("discriminator", batch, 0)
    assert torch.equal(recording.seen[0][0][:6], batch.images * 2 - 1)


def test_the_generators_loss_is_minus_the_mean_score():
    task = task_of(labels="uniform", fakes=2)
    recording = with_recording(task)
    recording.requires_grad_(False)
    losses = task.losses("generator", batch_of(), 0)
    ((images, labels),) = recording.seen
    assert len(images) == len(labels) == 12 and set(labels.tolist()) <= {0, 1, 2}
    expected = -(3 * images.mean((1, 2, 3)) * (1 + labels)).mean()
    torch.testing.assert_close(losses["generator"], expected)
    losses["generator"].backward()
    assert all(parameter.grad is not None for parameter in task.networks["model"].parameters())


def test_the_penalty_is_half_the_squared_slope_at_real_images_and_comes_every_few_steps():
    task = task_of(r1=4.0, r1_every=3, dequantise=False)
    task.networks["discriminator"].eval()  # the power iteration would move the weights between evaluations
    batch = batch_of()
    assert "R1" not in task.losses("discriminator", batch, 1)
    found = float(task.losses("discriminator", batch, 3)["R1"].detach())
    double = task.networks["discriminator"].double()
    real = batch.images.double() * 2 - 1
    total = 0.0
    with torch.no_grad():
        for number in range(len(real)):
            for position in range(64):
                step = torch.zeros(1, *SHAPE).double()
                step.view(-1)[position] = 1e-6
                image, label = real[number : number + 1], batch.labels[number : number + 1]
                slope = (_score(double, image + step, label) - _score(double, image - step, label)) / 2e-6
                total += slope**2
    assert found == pytest.approx(3 * 4.0 / 2 * total / len(real), rel=1e-3)


def _score(network, image, label) -> float:
    features = network.blocks(image).clamp_min(0).sum((2, 3))
    return float(network.linear(features)[:, 0] + (network.embedding(label) * features).sum(1))


def test_no_two_turns_or_parts_share_a_draw_and_the_same_one_repeats():
    task = task_of()
    seen = {}
    for number in range(3):
        for part in range(2):
            task.slice = part
            labels = torch.zeros(4, dtype=torch.int64)
            seen[number, part] = task._latent(labels, batch_of(number))
    task.slice = 1
    assert torch.equal(task._latent(labels, batch_of(2)), seen[2, 1])
    assert len({tuple(z.flatten().tolist()) for z in seen.values()}) == 6


def test_five_turns_to_one():
    task = task_of()
    assert task.turns(0) == ("discriminator",) * 5 + ("generator",)
    assert task.trained("generator") == ("model",) and task.trained("discriminator") == ("discriminator",)


def test_standing_statistics_are_those_of_many_fakes():
    model = task_of().networks["model"]
    standing_statistics(model, 40, 50, seed=3)
    norm = model.blocks[0].norm1.normalise
    assert not model.training and norm.momentum == 0.1
    labels = torch.arange(3).repeat(3000)
    with torch.no_grad():
        h = model.linear(model.latent.sample(labels, torch.Generator().manual_seed(1))).unflatten(1, (-1, 4, 4))
    # Sums of five Gaussians: the mean of 2,000 within five standard errors, the variance within a tenth.
    error = (h.mean((0, 2, 3)) - norm.running_mean).abs() / h.std((0, 2, 3))
    assert error.max() < 5 / 2000**0.5
    torch.testing.assert_close(norm.running_var, h.var((0, 2, 3)), rtol=0.1, atol=0)


def test_what_is_kept_has_standing_statistics_and_what_is_trained_has_not(tmp_path):
    task = task_of(standing=3)
    before = {name: values.clone() for name, values in task.networks["model"].state_dict().items()}
    task.networks["model"].train()
    task.save(tmp_path, task.networks)
    assert task.networks["model"].training
    assert all(torch.equal(values, before[name]) for name, values in task.networks["model"].state_dict().items())
    kept = read_tensors(tmp_path / "model.safetensors", "weights")[0]
    changed = {name for name in kept if not torch.equal(kept[name], before[name])}
    assert changed and all("running" in name or "num_batches" in name for name in changed)


def test_presets_fill_in_what_is_not_given():
    filled = resolved(SNGANSettings(preset="sngan-projection"))
    assert (filled.steps, filled.labels, filled.fakes, filled.dequantise, filled.first_relu) == (
        *(50_000, "uniform", 2, "yes", "out-of-place"),
    )
    own = SNGANSettings(preset="mimicry", steps=7, labels="real", fakes=3, first_relu="out-of-place")
    filled = resolved(own)
    assert (filled.steps, filled.labels, filled.fakes, filled.dequantise, filled.first_relu) == (
        *(7, "real", 3, "no", "out-of-place"),
    )
    assert objective(replace(filled, betas=(0.5, 0.999))).betas == (0.5, 0.999)
    optimizer = task_of(betas=(0.5, 0.99)).optimizer("generator", SNGANTraining.phase, Optimisation())
    assert optimizer.defaults["betas"] == (0.5, 0.99)


# The command line.

TINY = "--data digits --device cpu --threads 1 --generator-width 4 --discriminator-width 4 --batch-size 16".split()


def test_training_writes_a_run_that_samples_alone(penult, trained, tmp_path):
    said = penult(
        *("train", "sngan", *TINY, "--steps", 6, "--score-every", 3, "--latent", "vmf", "--augment", "translation"),
        *(
            "--classifier",
            trained / "classifier",
            "--radius",
            4,
            "--ema",
            0.5,
            "--r1",
            1,
            "--r1-every",
            2,
            "--name",
            "g",
        ),
    )
    assert said.status == 0, said.err
    assert sorted(path.name for path in (tmp_path / "runs/g/grids").iterdir()) == [
        "step-0000003.png",
        "step-0000006.png",
    ]
    model = generator_run("runs/g")
    prior = ClassifierPrior.from_weight(model.latent.prior.weight, 5.0)
    torch.testing.assert_close(model.latent.prior.loc, prior.loc)
    assert model.latent.radius == 4 and model.latent.prior.concentration.tolist() == [5.0] * 10
    assert read_tensors(tmp_path / "runs/g/discriminator.safetensors", "weights")[0]
    logged = [json.loads(line) for line in (tmp_path / "runs/g/metrics.jsonl").read_text().splitlines()]
    assert {"train/discriminator", "train/generator", "train/R1"} <= logged[-1].keys()
    for name, n in (("a.npz", 3), ("b.npz", 70)):
        assert penult("sample", "runs/g", "--labels", "2,5", "--n", n, "--out", name).status == 0
    few, many = _images("a.npz"), _images("b.npz")
    assert (few[:3] == many[:3]).all() and (few[3:] == many[70:73]).all()
    assert penult("sample", "runs/g", "--concentration", 1e4, "--n", 2, "--out", "c.npz").status == 0


def test_scores_by_a_classifier_choose_the_weights(penult, trained, tmp_path):
    said = penult(
        *("train", "sngan", *TINY, "--steps", 6, "--score-every", 2, "--ema", 0.5, "--lr", 1e-2, "--name", "g"),
        *("--extractor", trained / "classifier", "--score-images", 100),
    )
    assert said.status == 0, said.err
    logged = [json.loads(line) for line in (tmp_path / "runs/g/metrics.jsonl").read_text().splitlines()]
    extractor = classifier_extractor(str(trained / "classifier"))
    name = extractor.label("FID")
    assert name == "FID (mlp-digits, penultimate)"
    by_step = {entry["step"]: entry[f"validation/{name}"] for entry in logged if f"validation/{name}" in entry}
    assert list(by_step) == [2, 4, 6]
    assert all(f"validation/last weights: {name}" in entry for entry in logged if f"validation/{name}" in entry)
    result = json.loads((tmp_path / "runs/g/result.json").read_text())
    assert result["best step"] == min(by_step, key=by_step.get)
    # The same score from the files: 100 fakes of the kept weights against 100 of the training images.
    found = scores(
        generator_run("runs/g"),
        sources.load("digits", "train"),
        protocols.single(100),
        extractor,
        0,
        sweep,
    )
    assert found.fid.value == pytest.approx(by_step[result["best step"]], rel=1e-4)


def test_the_generator_alone_is_averaged(penult, tmp_path):
    for ema in ("None", 0.9):
        assert penult("train", "sngan", *TINY, "--steps", 3, "--ema", ema, "--name", f"ema-{ema}").status == 0
    for name, same in (("discriminator", True), ("model", False)):
        plain, averaged = (
            read_tensors(tmp_path / f"runs/ema-{ema}/{name}.safetensors", "w")[0] for ema in ("None", 0.9)
        )
        assert all(torch.equal(plain[key], averaged[key]) for key in plain) == same


@pytest.mark.slow
def test_a_concentration_is_chosen_by_fid(penult, trained, tmp_path):
    words = ["prior", trained / "classifier", "--concentration", "sweep:1,100", "--for", "sngan", "--device", "cpu"]
    tiny = ["steps=2", "score-every=1", "generator-width=4", "discriminator-width=4", "batch-size=16"]
    said = penult(*words, "--train", *tiny, "--threads", 1)
    assert said.status == 2 and "extractor=MODEL" in said.err and not (tmp_path / "runs").exists()
    extractor = f"extractor={trained / 'classifier'}"
    said = penult(*words, "--train", *tiny, "score-images=50", extractor, "--threads", 1, "--out", "p.safetensors")
    assert said.status == 0, said.err
    name = "FID (mlp-digits, penultimate)"
    scores = {
        kappa: json.loads((tmp_path / f"runs/classifier-sngan-kappa{kappa}/result.json").read_text())["best"][name]
        for kappa in (1, 100)
    }
    best = min(scores, key=scores.get)
    assert ClassifierPrior.load("p.safetensors").concentration.tolist() == [best] * 10


def test_synchronised_batch_norm_keeps_what_each_norm_takes():
    for preset in ("gan-evaluation", "mimicry"):
        model = SNGAN(architecture(preset, SHAPE, 4, 4), CLASSES, Gaussian(5)).eval()
        z, labels = torch.randn(3, 5), torch.arange(3)
        before = model(z, labels)
        assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(model)(z, labels), before)


def _images(path):
    import numpy

    return numpy.load(path)["x"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["gan-evaluation", "biggan"])
def test_a_stopped_training_goes_on_to_the_same_weights(penult, monkeypatch, tmp_path, preset):
    words = ["train", "sngan", *TINY, "--steps", 6, "--score-every", 2, "--ema", 0.5, "--augment", "cutout"]
    words += ["--preset", preset]
    assert penult(*words, "--name", "whole").status == 0
    calls = []
    original = SNGANTraining.losses

    def dying(self, turn, batch, step):
        calls.append(turn)
        if len(calls) == 27:  # in the fifth step
            raise KeyboardInterrupt
        return original(self, turn, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(SNGANTraining, "losses", dying)
        assert penult(*words, "--name", "broken").status == 130
    assert penult(*words, "--name", "broken").status == 0
    for name in ("model", "discriminator"):
        whole, broken = (
            read_tensors(tmp_path / f"runs/{run}/{name}.safetensors", "w")[0] for run in ("whole", "broken")
        )
        assert whole.keys() == broken.keys() and all(torch.equal(whole[key], broken[key]) for key in whole)


@pytest.mark.parametrize(
    "words, expected",
    [
        (("--latent", "vmf"), "--classifier"),
        (("--classifier", "runs/x"), "--latent vmf"),
        (("--concentration", "5"), "--latent vmf"),
        (("--steps", "0"), "--steps 0"),
        (("--radius", "-1", "--latent", "uniform-sphere"), "--radius"),
        (("--betas", "0", "1"), "--betas"),
        (("--optimizer", "sgd"), "adam"),
        (("--generator-width", "1"), "widths"),
        (("--score-images", "5"), "--score-images 5"),
        (("--validation", "9"), "--validation 9"),
        (("--patience", "2"), "--extractor"),
        (("--inception-weights", "x"), "--extractor inception"),
        (("--extractor", "runs/none"), "unknown run"),
    ],
)
def test_bad_input_is_refused_in_one_line(penult, tmp_path, words, expected):
    said = penult("train", "sngan", "--data", "digits", *words)
    assert said.status == 2 and expected in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_latent_of_another_size_than_the_prior_is_refused(penult, trained):
    said = penult(
        *("train", "sngan", *TINY, "--latent", "vmf", "--classifier", trained / "classifier", "--latent-dim", 9)
    )
    assert said.status == 2 and "R^6" in said.err and "--penultimate 9" in said.err


def test_interpolation_is_for_autoencoders(penult):
    assert penult("train", "sngan", *TINY, "--steps", 1, "--name", "g").status == 0
    said = penult("sample", "runs/g", "--interpolate", "1,2")
    assert said.status == 2 and said.err.count("\n") == 1
