"""`penult analyse perturb`, from its words to its files."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from analysis import random_maps, removal_mask, salience_ranks, sobel_maps
from apps.command.cli import main
from apps.data import sources
from apps.jacobians.perturbation import retraining
from apps.seeds import derive
from priors import ClassifierPrior, zoo

CPU = ("--device", "cpu", "--threads", 1)
PNG = b"\x89PNG\r\n\x1a\n"
QUICK = ("--methods", "full-jacobian", "--controls", "random", "sobel")


def read(path: Path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A small network of digits; not to be changed."""
    place = tmp_path_factory.mktemp("perturbed")
    words = (
        "--data digits --arch mlp --penultimate 8 --epochs 3 --train-images 200 --batch-size 20 --lr 3e-3 --name net"
    )
    words = [*words.split(), "--runs", str(place), *map(str, CPU)]
    assert main(["train", "classifier", *words]) == 0
    return place


@pytest.fixture
def run(runs, tmp_path):
    """The network, to be written into."""
    return Path(shutil.copytree(runs / "net", tmp_path / "runs" / "net"))


def test_a_run_is_benchmarked_and_what_comes_of_it_is_kept(penult, run):
    words = ["analyse", "perturb", run, "--images", 40, "--methods", "full-jacobian", "--fractions", 0.1, 0.5, *CPU]
    said = penult(*words)
    assert said.status == 0, said.err
    assert "full-jacobian, blurred" in said.out and "by blurring" in said.out and "lower is better" in said.out
    assert "of all pixels are black already" in said.out  # as half of the digits' are
    (entry,) = read(run / "perturb.json")
    names = ["full-jacobian", "full-jacobian, blurred", "sobel", "sobel, blurred", "random"]
    assert list(entry["curves"]) == names and entry["fractions"] == [0.1, 0.5] and entry["images"] == 40
    assert (run / "perturb-pixel.png").read_bytes().startswith(PNG)
    network, shown = zoo.load(run).eval(), sources.load("digits", "test").images[:40] / 255
    random = random_maps(derive(0, "random maps", "test"), torch.arange(40), 8, 8)
    with torch.inference_mode():
        before, label = network(shown).max(1)
        for name, maps in {"random": random, "sobel": sobel_maps(shown)}.items():
            curve = []
            for part in (0.1, 0.5):
                black = shown * ~removal_mask(salience_ranks(maps), part, "least")[:, None]
                curve.append(float(((network(black).gather(1, label[:, None])[:, 0] - before) / before).abs().mean()))
            assert entry["curves"][name]["mean"] == pytest.approx(curve, rel=1e-4)
            assert entry["scores"][name]["score"] == pytest.approx(sum(curve) / 2, rel=1e-4)
    assert penult(*words).status == 0
    assert len(read(run / "perturb.json")) == 1  # the same protocol again
    assert penult(*words, "--benchmark", "road", "--controls", "none").status == 0
    road = read(run / "perturb.json")[1]
    assert road["measure"] == "accuracy" and road["order"] == "most" and list(road["curves"]) == ["full-jacobian"]
    assert (run / "perturb-road.png").read_bytes().startswith(PNG)


def test_methods_that_do_not_fit_are_left_out_with_a_line_and_refused_where_they_are_named(penult, run):
    pytest.importorskip("captum")
    said = penult("analyse", "perturb", run, "--images", 6, "--controls", "random", "--fractions", 0.5, *CPU)
    assert said.status == 0 and "Without grad-cam: " in said.out
    (entry,) = read(run / "perturb.json")
    assert "integrated-gradients" in entry["methods"] and "grad-cam" not in entry["methods"]
    said = penult("analyse", "perturb", run, "--images", 6, "--methods", "grad-cam", *CPU)
    assert said.status == 2 and len(said.err.splitlines()) == 1


def test_maps_of_log_densities_are_benchmarked_under_a_prior(penult, run):
    words = ["analyse", "perturb", run, "--images", 8, *QUICK, "--fractions", 0.5, *CPU]
    said = penult(*words, "--of", "log-density", "--concentration", 30)
    assert said.status == 0, said.err
    assert "|f(x') - f(x)| of the log-density f, in nats" in said.out
    assert penult(*words, "--controls", "centre", "--of", "margin").status == 0
    density, margin = read(run / "perturb.json")
    assert density["prior"]["concentration"] == ["30"] and density["of"] == "log-density"
    assert "prior" not in margin and list(margin["curves"]) == ["full-jacobian", "centre"]
    network, shown = zoo.load(run).eval(), sources.load("digits", "test").images[:8] / 255
    prior = ClassifierPrior.from_classifier(network, 30.0)
    black = shown * ~removal_mask(salience_ranks(sobel_maps(shown)), 0.5, "least")[:, None]
    with torch.no_grad():
        label = network(shown).argmax(1, keepdim=True)
        before, after = (prior.log_prob(network.penultimate(one)).gather(1, label) for one in (shown, black))
    assert density["scores"]["sobel"]["score"] == pytest.approx(float((after - before).abs().mean()), rel=1e-3)
    said = penult(*words, "--concentration", 30)
    assert said.status == 2 and "a logit is of no prior" in said.err


def test_networks_are_trained_anew_without_pixels_and_what_is_done_is_not_done_again(penult, run, monkeypatch):
    shown = {}
    real = retraining.train_on

    def watched(config, own, accelerator, images, test, **given):
        shown[own.folder.name] = (images, test, config)
        return real(config, own, accelerator, images, test, **given)

    monkeypatch.setattr(retraining, "train_on", watched)
    words = ["analyse", "perturb", run, "--benchmark", "roar", *QUICK, "--fractions", 0.25, "--seeds", 2, *CPU]
    words += ["--runs", run.parent]
    said = penult(*words)
    assert said.status == 0, said.err
    assert "8 trainings: 3 maps at 1 fraction" in said.out
    names = [f"net-roar-{gone}-seed{seed}" for gone in MAPS for seed in (0, 1)]
    assert sorted(path.name for path in run.parent.iterdir()) == sorted(["net", *names])
    (entry,) = read(run / "perturb.json")
    for name, gone in zip(("whole images", "full-jacobian", "sobel", "random"), MAPS, strict=True):
        accuracies = [
            read(run.parent / f"net-roar-{gone}-seed{seed}" / "result.json")["test/accuracy"] for seed in (0, 1)
        ]
        assert entry["curves"][name]["mean"] == pytest.approx([sum(accuracies) / 2])
    assert (run / "perturb-roar.png").read_bytes().startswith(PNG)

    whole, gone = shown["net-roar-whole-seed0"], shown["net-roar-sobel-most25-seed1"]
    assert gone[2].optimisation.seed == 1 and len(gone[0]) == 200 and gone[2].optimisation.epochs == 3
    colour = int((whole[0].images / 255).double().mean() * 255 + 0.5)
    for before, after in zip(whole[:2], gone[:2], strict=True):
        mask = removal_mask(salience_ranks(sobel_maps(before.images / 255)), 0.25, "most")[:, None]
        assert int(mask[0].sum()) == 16 and after.images.dtype == torch.uint8
        assert torch.equal(after.images, torch.where(mask, colour, before.images).byte())
    train, test = (
        images.images != whole[at].images for at, images in enumerate(shown["net-roar-random-most25-seed0"][:2])
    )
    assert train.any() and not torch.equal(train[:100], test[:100])  # random maps of their own

    (run.parent / "net-roar-random-most25-seed1" / "result.json").unlink()
    before = read(run / "perturb.json")
    shown.clear()
    said = penult(*words)
    assert said.status == 0 and said.out.count("is finished already") == 7
    assert read(run / "perturb.json") == before

    said = penult(
        *words[:4], "roar", *QUICK, "--fractions", 0.25, "--seeds", 2, "--fill", "black", *CPU, "--runs", run.parent
    )
    assert said.status == 2 and "fill" in said.err
    assert len(said.err.splitlines()) == 1


MAPS = ("whole", "full-jacobian-most25", "sobel-most25", "random-most25")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "full-jacobain"], "did you mean 'full-jacobian'"),
        (["--methods", "full-jacobian", "full-jacobian"], "given twice"),
        (["--controls", "none", "random"], "unknown value of --controls"),
        (["--controls", "edges"], "known: random, sobel, centre, blurred"),
        (["--fractions", 0.5, 0.1], "rising"),
        (["--fractions", 1.0], "below 1"),
        (["--benchmark", "road", "--fill", "mean"], "leave it out"),
        (["--benchmark", "roar", "--measure", "logit"], "accuracy"),
        (["--benchmark", "road", "--signed"], "--signed"),
        (["--benchmark", "roar", "--data", "digits"], "leave it out"),
        (["--name", "other"], "leave it out"),
        (["--data", "mnist-like.npz"], "mnist-like.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_before_the_work(penult, run, words, said):
    found = penult("analyse", "perturb", run, *words, *CPU)
    assert found.status == 2 and said in found.err and len(found.err.splitlines()) == 1
    assert not (run / "perturb.json").exists()


def test_roar_repeats_runs_of_classifiers_alone(penult, run):
    found = penult("analyse", "perturb", "torchvision:resnet18", "--benchmark", "roar", *CPU)
    assert found.status == 2 and len(found.err.splitlines()) == 1


def test_numbers_go_to_a_new_folder(penult, run, tmp_path):
    words = ["analyse", "perturb", run, "--images", 5, *QUICK, "--fractions", 0.5, *CPU, "--out", tmp_path / "new"]
    assert penult(*words).status == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["perturb-pixel.png", "perturb.json"]
    assert not (run / "perturb.json").exists()
    found = penult(*words)
    assert found.status == 2 and "not an empty folder" in found.err
