"""A MODEL by any of its names: a run, torchvision's, or the user's own module."""

import importlib
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from apps.command.config import Foreign
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.models.activations import activations
from apps.models.classifier_priors import classifier_prior
from apps.models.named import (
    check_classes,
    classifier,
    generator_run,
    is_network,
    is_run,
    open_run,
    trained_on,
)
from apps.models.registry import CLASSIFIER, kind_of
from apps.models.representation import representation
from priors import ClassifierPrior, zoo
from priors.errors import InputError

CPU = ("--device", "cpu", "--threads", 1)
OWN = '''
import warnings

import torch
from torch import nn


class Mine(nn.Module):
    """Normalised pixels, a hidden layer, ten classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.hidden = nn.Linear(64, 12)
        self.last = nn.Linear(12, 10)

    def forward(self, images):
        return self.last(self.hidden(images.flatten(1)).relu())


class TwoHeads(Mine):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(12, 10)

    def forward(self, images):
        return super().forward(images) + self.other(self.hidden(images.flatten(1)).relu())


class Normed(nn.Module):
    """A head whose weight is computed before each pass, and a projection after it that takes no part."""

    def __init__(self):
        super().__init__()
        self.fc = nn.utils.weight_norm(nn.Linear(64, 10))
        self.projection = nn.Linear(10, 4)

    def forward(self, images):
        return self.fc(images.flatten(1))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.head = nn.Conv2d(1, 10, 8)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Mine(), torch.zeros(1, 1, 8, 8))


class Likely(Mine):
    def forward(self, images):
        return super().forward(images).softmax(1)


class Typed(Mine):
    """Another type of floats, and two penultimate units; cast: whether it casts what it is given itself."""

    def __init__(self, dtype, cast=False):
        super().__init__()
        self.hidden, self.last = nn.Linear(64, 2), nn.Linear(2, 10)
        self.own = dtype if cast else None
        self.to(dtype)

    def forward(self, images):
        return super().forward(images if self.own is None else images.to(self.own))


def float32():
    return Typed(torch.bfloat16).float()


def bfloat16():
    return Typed(torch.bfloat16)


def float16():
    return Typed(torch.float16)


def float64():
    return Typed(torch.bfloat16).double()


def float64_by_itself():
    return Typed(torch.float64, cast=True)


def bfloat16_by_itself():
    return Typed(torch.bfloat16, cast=True)


def no_module():
    return 3


def raises():
    raise FileNotFoundError("my weights")


def needs_arguments(width):
    return Mine()
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own in the current folder; each test finds it anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    # As where nothing has looked for it yet: a finder remembers folders that were empty.
    importlib.invalidate_caches()
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(OWN)
    (package / "broken.py").write_text("import torch\n1 / 0\n")

    def make(name: str) -> torch.nn.Module:
        """One of its networks, made by hand."""
        scope: dict = {}
        exec(OWN, scope)  # noqa: S102 - the text above
        return scope[name]()

    yield make
    for name in [name for name in sys.modules if name == "mine" or name.startswith("mine.")]:
        del sys.modules[name]


def test_a_run_is_read_as_it_was_saved(trained):
    network = classifier(str(trained / "classifier"))
    weights = load_file(trained / "classifier" / "model.safetensors")
    assert not network.training and network.class_names == tuple("0123456789")
    assert all((weights[name] == tensor).all() for name, tensor in network.state_dict().items())
    assert kind_of(open_run(trained / "classifier")) is CLASSIFIER
    assert trained_on(open_run(trained / "hvae")).data == "digits"


@pytest.mark.parametrize("variant", ["hvae", "hvae-c", "hvae-l"])
def test_a_generator_needs_its_folder_alone(copied, variant):
    run = copied(variant)
    for path in run.iterdir():
        if path.name not in ("config.json", "result.json", "model.json", "model.safetensors"):
            path.unlink()
    model = generator_run(run)
    assert kind_of(open_run(run)).name == "hvae" and not model.training
    images = model.generate(torch.tensor([1, 2]), torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, 8, 8) and images.isfinite().all()


def test_what_is_a_run():
    assert is_run("runs/a") and is_run("prior.safetensors")
    assert not is_run("torchvision:resnet18") and not is_run("import:a:b")


def test_a_network_that_a_loop_of_ones_own_saved_is_a_model(penult, trained, tmp_path):
    network = zoo.load(trained / "classifier")
    zoo.save(network, tmp_path / "saved")
    assert not is_run("saved") and is_network("saved") and not is_network(trained / "classifier")
    for name, tensor in classifier("saved").state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    said = penult("prior", "saved", "--concentration", 15, "--no-measure")
    assert said.status == 0, said.err
    said = penult("evaluate", "saved", "--data", "digits", *CPU)
    assert said.status == 0 and "360 test images" in said.out, said.err
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["model.json", "model.safetensors"]
    said = penult("analyse", "layers", "saved", *CPU)
    assert said.status == 2 and "--data" in said.err and said.err.count("\n") == 1
    said = penult("prior", "saved", "--mean", 0.5)
    assert said.status == 2 and "leave them out" in said.err
    few = ("--arch", "mlp", "--penultimate", 6, "--data", "digits", "--epochs", 0.1, *CPU)
    said = penult("train", "classifier", "--init", "saved", "--name", "again", *few)
    assert said.status == 0, said.err


# The user's own.


def test_ones_own_module_gives_a_prior(penult, own):
    said = penult("prior", "import:mine.nets:Mine", "--concentration", 15, "--out", "p.safetensors")
    assert said.status == 0 and len(re.findall(r"^ +\d +0\.\d+ +15 ", said.out, re.M)) == 10
    prior = classifier_prior("p.safetensors", ())
    assert torch.equal(prior.weight, own("Mine").last.weight) and prior.concentration.tolist() == [15] * 10


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
def test_the_weight_that_a_head_computes_is_that_of_the_file(penult, own):
    torch.manual_seed(5)
    trained = own("Normed").eval()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_()
        applied = trained(torch.eye(64).view(64, 1, 8, 8)) - trained(torch.zeros(1, 1, 8, 8))
    save_file(trained.state_dict(), "trained.safetensors")
    model = "import:mine.nets:Normed,weights=trained.safetensors"
    assert penult("prior", model, "--out", "p.safetensors").status == 0
    for prior in (classifier_prior("p.safetensors", ()), classifier_prior(model, ["30"])):
        torch.testing.assert_close(prior.weight, applied.T, rtol=1e-5, atol=1e-5)


def test_weights_from_a_file(penult, own):
    network = own("Mine")
    network.last.weight.data.neg_()
    save_file(network.state_dict(), "mine.safetensors")
    loaded = classifier("import:mine.nets:Mine,weights=mine.safetensors")
    assert torch.equal(loaded.head.weight, network.last.weight)
    save_file({"last.weight": torch.zeros(2, 2)}, "other.safetensors")
    for file, expected in (("other.safetensors", "do not fit"), ("none.safetensors", "no weights at none.safetensors")):
        said = penult("prior", f"import:mine.nets:Mine,weights={file}")
        assert said.status == 2 and expected in said.err and said.err.count("\n") == 1


def test_ones_own_module_is_scored_as_one_would(penult, own):
    """Accuracy on digits with --mean and --std, against the module called by hand on normalised pixels."""
    test = sources.load("digits", "test")
    with torch.no_grad():
        logits = own("Mine")((test.images.float() / 255 - 0.3) / 0.4)
    expected = (logits.argmax(1) == test.labels).float().mean().item()
    said = penult("evaluate", "import:mine.nets:Mine", "--data", "digits", "--mean", 0.3, "--std", 0.4)
    assert said.status == 0 and re.search(rf"^all +{expected:.2%}$", said.out, re.M), said.out
    assert not list(Path().rglob("evaluation.json"))


def test_a_generator_from_ones_own_module(penult, own):
    words = ["--classifier", "import:mine.nets:Mine", "--latent-dim", 11, "--epochs", 0.05, "--device", "cpu"]
    said = penult("train", "hvae", *words, "--name", "mine")
    assert said.status == 0, said.err
    assert generator_run("runs/mine").dim == 12


def test_norms_of_ones_own_module_need_data(penult, own):
    said = penult("prior", "import:mine.nets:Mine", "--concentration", "norms")
    assert said.status == 2 and "give --data" in said.err
    said = penult("prior", "import:mine.nets:Mine", "--concentration", "norms", "--data", "digits")
    assert said.status == 0


def test_a_generator_measures_ones_own_module_on_its_images_and_takes_its_head(penult, own):
    """Against the norms by hand; the head's name is no part of the run's configuration, its weights are."""
    words = ["train", "hvae", "--classifier", "import:mine.nets:TwoHeads", "--concentration", "norms"]
    words += ["--latent-dim", 11, "--epochs", 0.05, "--device", "cpu", "--name", "mine"]
    assert "name the head" in penult(*words).err
    said = penult(*words, "--head", "last")
    assert said.status == 0, said.err
    network = own("TwoHeads")
    with torch.no_grad():
        pixels = sources.load("digits", "train").images.float() / 255
        norm = network.hidden(pixels.flatten(1)).relu().norm(dim=1).mean()
    expected = network.last.weight.norm(dim=1) * norm
    assert torch.allclose(generator_run("runs/mine").prior.concentration, expected, rtol=1e-5)
    assert "prior_digest" in penult(*words, "--head", "other").err


def test_pictures_of_several_sizes_are_brought_to_one(penult, own):
    for split in ("train", "test"):
        for number in range(10):
            folder = Path("pictures") / split / str(number)
            folder.mkdir(parents=True)
            for size in (8, 12):
                Image.new("L", (size, size + 1), 25 * number).save(folder / f"{size}.png")
    for verb, *options in (["evaluate"], ["prior", "--concentration", "norms"]):
        words = [verb, "import:mine.nets:Mine", "--data", "pictures", *options]
        assert "--image-size" in penult(*words).err
        said = penult(*words, "--image-size", 8)
        assert said.status == 0, said.err


def test_the_cross_entropy_of_probabilities_is_that_of_their_logits(penult, own):
    logits, probabilities = (
        penult("evaluate", f"import:mine.nets:{name}", "--data", "digits").out for name in ("Mine", "Likely")
    )
    said = "gives probabilities, not logits: the cross-entropy is of their logarithms"
    assert said in probabilities and said not in logits
    found = [re.search(r"cross-entropy (\d+\.\d+) nats", out)[1] for out in (logits, probabilities)]
    assert float(found[0]) == pytest.approx(float(found[1]), abs=1e-4)


def numbers(text: str) -> list[str]:
    """What a verb printed, without the name of the model."""
    return re.findall(r"-?\d+\.\d+", text)


@pytest.mark.parametrize("verb", ["evaluate", "analyse normalised"])
def test_networks_of_any_type_of_floats(penult, own, verb, caplog):
    """bfloat16 weights in float32 are the same numbers, and so is what comes out; it is said."""
    found = {}
    for name in ("float32", "bfloat16", "float64"):
        said = penult(*verb.split(), f"import:mine.nets:{name}", "--data", "digits")
        assert said.status == 0, (name, said.err)
        found[name] = numbers(said.out)
    assert found["bfloat16"] == found["float32"] == found["float64"] and found["float32"]
    (line,) = [record.message for record in caplog.records]
    assert "import:mine.nets:bfloat16 are bfloat16" in line


@pytest.mark.parametrize("name", ["bfloat16", "float64"])
def test_what_is_measured_on_networks_of_any_type_of_floats(own, name):
    """Activations, from which priors, anomalies and circles are made, and contexts of inversions."""
    images = sources.load("digits", "test").subset(range(20))
    networks = [classifier(f"import:mine.nets:{one}") for one in (name, "float32")]
    found, expected = (activations(network, images) for network in networks)
    torch.testing.assert_close(found.penultimate.float(), expected.penultimate)
    torch.testing.assert_close(found.logits.float(), expected.logits)
    values = {"activations": found.penultimate, "labels": found.labels}
    for strategy in ("norms", "mle-pooled"):
        priors = [ClassifierPrior.from_classifier(network, strategy, **values) for network in networks]
        torch.testing.assert_close(priors[0].concentration.float(), priors[1].concentration)
    shown = images.images.float() / 255
    contexts = [representation(network, "penultimate", (1, 8, 8))(shown) for network in networks]
    assert contexts[0].dtype == torch.float32
    torch.testing.assert_close(*contexts)


def test_a_teacher_of_half_precision(penult, own):
    words = "distill ce+hinton+ckd --student mlp --data digits --epochs 0.05 --device cpu --concentration 20".split()
    said = penult(*words, "--teacher", "import:mine.nets:float16")
    assert said.status == 0, said.err


def test_a_network_that_casts_by_itself(penult, own):
    """In double precision it runs as it is; half precision is not what it is run in, which one line says."""
    assert penult("evaluate", "import:mine.nets:float64_by_itself", "--data", "digits").status == 0
    for verb in ("evaluate", "analyse normalised"):
        said = penult(*verb.split(), *"import:mine.nets:bfloat16_by_itself --data digits".split())
        assert said.status == 2 and "cannot take images of 1x8x8" in said.err and "Traceback" not in said.err
        assert "in float32" in said.err


def test_weights_of_more_digits_than_the_network_is_made_with(own, tmp_path):
    """They are kept, though the network is of half precision until it has them."""
    given = {name: torch.randn(weight.shape) for name, weight in own("float16").state_dict().items()}
    save_file(given, "more.safetensors")
    loaded = classifier("import:mine.nets:float16,weights=more.safetensors")
    assert torch.equal(loaded.network.hidden.weight, given["hidden.weight"])


def test_a_file_of_wrapped_weights_is_read_and_that_is_said(penult, own, caplog):
    network = own("Mine")
    network.last.weight.data.neg_()
    save_file({f"model.module.{name}": tensor for name, tensor in network.state_dict().items()}, "mine.safetensors")
    loaded = classifier("import:mine.nets:Mine,weights=mine.safetensors")
    assert torch.equal(loaded.head.weight, network.last.weight)
    (record,) = caplog.records
    assert "mine.safetensors" in record.message and "'model.module.'" in record.message


def test_taps_and_head(own):
    network = classifier("import:mine.nets:Mine", Foreign(taps=("hidden",), head="last"))
    assert network.stages == ("network.hidden",) and network.head_name == "network.last"


WRONG = {
    "ambiguous head": (["import:mine.nets:TwoHeads"], "name the head"),
    "head that is not linear": (["import:mine.nets:Convolutional", "--head", "head"], "a Conv2d"),
    "last layer that is not linear": (["import:mine.nets:Convolutional"], "not a linear one"),
    "compiled by torch.jit": (["import:mine.nets:scripted"], "a torch.jit module, compiled by script or trace"),
    "unknown head": (["import:mine.nets:Mine", "--head", "lats"], "did you mean 'last'"),
    "unknown tap": (["import:mine.nets:Mine", "--taps", "hiden"], "did you mean 'hidden'"),
    "mean of three": (["import:mine.nets:Mine", "--std", 0], "std"),
    "no such module": (["import:mine.nest:Mine"], "cannot be imported"),
    "module that breaks": (["import:mine.broken:Mine"], "ZeroDivisionError"),
    "no such factory": (["import:mine.nets:Mien"], "did you mean 'Mine'"),
    "factory that is no function": (["import:mine.nets:OWN"], "unknown factory"),
    "factory that raises": (["import:mine.nets:raises"], "FileNotFoundError: my weights"),
    "factory with arguments": (["import:mine.nets:needs_arguments"], "called without arguments"),
    "factory of something else": (["import:mine.nets:no_module"], "a int, expected a torch.nn.Module"),
    "no factory": (["import:mine.nets"], "expected import:package.module:factory"),
    "no module": (["import::Mine"], "expected import:package.module:factory"),
    "empty name": (["import:mine..nets:Mine"], "cannot be imported"),
    "relative name": (["import:.nets:Mine"], "cannot be imported"),
    "torchvision with too many parts": (["torchvision:resnet18:DEFAULT:1"], "torchvision:NAME:WEIGHTS"),
    "torchvision's unknown weights": (["torchvision:resnet18:IMAGENET"], "IMAGENET1K_V"),
    "torchvision's unknown network": (["torchvision:resnet81"], "did you mean 'torchvision:resnet18'"),
    "torchvision without a name": (["torchvision:"], "unknown classifier"),
    "timm with too many parts": (["timm:resnet18:a1_in1k:1"], "expected timm:NAME or timm:NAME:TAG"),
    "timm with a mean": (["timm:resnet18", "--mean", 0.5], "--mean with timm:resnet18: it is known"),
}


@pytest.mark.parametrize("case", WRONG)
def test_models_that_cannot_be_had(penult, own, case):
    words, expected = WRONG[case]
    said = penult("prior", *words)
    assert (said.status, said.out) == (2, "") and expected in said.err and said.err.count("\n") == 1, said.err


# torchvision's.


def test_torchvision_without_its_weights_is_one_line(penult, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    said = penult("prior", "torchvision:resnet18")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "no weights IMAGENET1K_V1" in said.err and "put https://" in said.err and "hub/checkpoints" in said.err


def test_torchvision_with_its_weights(penult, monkeypatch):
    """Weights as the hub would give them: drawn here, since there is no network in a test."""
    from torchvision import models

    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: network.state_dict())
    prior = classifier_prior("torchvision:shufflenet_v2_x0_5", ["30"])
    assert torch.equal(prior.weight, network.fc.weight) and prior.class_names[0] == "tench" and prior.dim == 1024
    for flag, value in (("--mean", 0.5), ("--head", "fc"), ("--taps", "stage2")):
        said = penult("prior", "torchvision:shufflenet_v2_x0_5", flag, value)
        assert said.status == 2 and f"{flag} with torchvision" in said.err


# Classes.


def images_of(*names: str) -> ImageSet:
    return ImageSet(
        "set", "train", torch.zeros(0, 1, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), names
    )


def test_classes_must_agree():
    check_classes(("a", "b"), "model", images_of("a", "b"))
    check_classes(("0", "1"), "model", images_of("a", "b"))
    for names in (("b", "a"), ("a", "c"), ("a", "b", "c")):
        with pytest.raises(InputError, match="must agree"):
            check_classes(names, "model", images_of("a", "b"))


def test_default_concentration_is_the_papers(trained):
    assert classifier_prior(str(trained / "classifier"), ()).concentration.tolist() == [20] * 10
    assert isinstance(classifier(str(trained / "classifier")), zoo.Classifier)


def test_a_folder_of_imagenet_has_its_classes_under_wordnets_numbers():
    images = ImageSet(
        "val", "test", torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), ("n01440764", "n01443537")
    )
    check_classes(("tench", "goldfish"), "torchvision:resnet18", images)
    with pytest.raises(InputError, match="tench"):
        check_classes(("tench", "goldfish"), "torchvision:resnet18", replace(images, class_names=("fish", "goldfish")))


def test_a_run_that_is_not_there_is_answered_with_few(tmp_path, monkeypatch):
    """The nearest by its name alone, beside it or among the runs; none where none is near."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/teacher", "runs/inv-conv1", "runs/inv-logits", "out-teacher", *(f"runs/z{i}" for i in range(9))):
        Path(name).mkdir(parents=True)
        Path(name, "config.json").write_text("{}")
    Path("runs/inv").mkdir()

    def said(folder: str) -> str:
        with pytest.raises(InputError) as refused:
            open_run(folder)
        return str(refused.value)

    assert "'teacher': did you mean 'runs/teacher'? (known: runs/teacher, out-teacher, " in said("teacher")
    assert "did you mean 'runs/teacher'" in said("rusn/teachr")
    far = said("runs/nosuch")
    assert "did you mean" not in far and far.count("runs/") == 1 + 6 and "... 12 in all" in far
    assert "the runs runs/inv-conv1, runs/inv-logits: give one of them" in said("runs/inv")
    assert said("runs").endswith("it has no config.json")


@pytest.mark.parametrize("broken", [os.mkfifo, lambda path: path.symlink_to("nothing"), Path.mkdir])
def test_a_run_whose_settings_are_no_file_is_not_taken_for_a_network_alone(copied, broken):
    run = copied("classifier")
    (run / "config.json").unlink()
    assert is_network(run)
    broken(run / "config.json")
    assert not is_network(run)
    with pytest.raises(InputError, match="is not a run: its config.json is no file that could be read"):
        open_run(run)
