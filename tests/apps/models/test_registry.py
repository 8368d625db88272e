"""Kinds of model: what a method adds is found by its module's name, read, sampled and refused where it does not fit."""

import subprocess
import sys

import pytest

import apps
from apps.models.named import generator_run, open_run
from apps.models.registry import CLASSIFIER, kind_of, kinds
from apps.models.rooms import offered
from priors.errors import InputError
from priors.files.json_files import write_json

KINDS = """
from apps.models.registry import Kind


def sample(config, device):
    config.out.write_text(f"{config.n} of {device}")
    return config.n


KINDS = (Kind("weather", "a forecast", "train weather", lambda run: f"weather of {run.folder.name}", sample),)
"""


@pytest.fixture
def weather(tmp_path, monkeypatch):
    """A finished run of a kind that a room of its own offers."""
    room = tmp_path / "rooms" / "forecasting"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text("")
    (room / "kinds.py").write_text(KINDS)
    monkeypatch.setattr(apps, "__path__", [*apps.__path__, str(room.parent)])
    offered.cache_clear()
    run = tmp_path / "runs" / "tomorrow"
    run.mkdir(parents=True)
    write_json(run / "config.json", {"verb": "train weather", "config": {}})
    write_json(run / "model.json", {"model": "weather"})
    write_json(run / "result.json", {})
    yield run
    offered.cache_clear()
    for name in ("apps.forecasting.kinds", "apps.forecasting"):
        sys.modules.pop(name, None)


def test_a_kind_of_a_new_room_is_read_and_sampled(penult, weather):
    kind = kind_of(open_run(weather))
    assert (kind.name, kind.read(open_run(weather))) == ("weather", "weather of tomorrow")
    said = penult("sample", weather, "--n", 3, "--out", "drawn.png", "--device", "cpu")
    assert (said.status, said.out) == (0, "3 images in drawn.png\n")


def test_it_is_refused_by_its_words_where_another_is_expected(penult, weather):
    with pytest.raises(InputError, match="is a forecast, not a generator: give a run of penult train hvae or train sn"):
        generator_run(weather)
    said = penult("prior", weather)
    assert said.status == 2
    assert "is a forecast, not a classifier: give a run of penult train classifier\n" in said.err


def test_no_two_kinds_have_one_name():
    found = (CLASSIFIER, *kinds())
    names = [kind.name for kind in found]
    assert len(set(names)) == len(names) and {"hvae", "sngan", "inversion", "reconstruction"} < set(names)


def test_models_imports_no_method_and_a_prior_no_compiler(tmp_path):
    """Also not by way of others: in a fresh process, before any run is read. To load the compiler takes a second."""
    code = (
        "import pkgutil, sys, importlib, apps.models as models\n"
        "[importlib.import_module(f'apps.models.{one.name}') for one in pkgutil.iter_modules(models.__path__)]\n"
        "print(*{name.split('.')[1] for name in sys.modules if name.startswith('apps.')})\n"
        "import torch\n"
        "from priors import ClassifierPrior, zoo\n"
        "zoo.save(zoo.build('mlp', classes=3, image_shape=(1, 4, 4), penultimate=5), sys.argv[1])\n"
        "prior = ClassifierPrior.from_classifier(zoo.load(sys.argv[1]), 20.0)\n"
        "prior.log_prob(prior.sample([0, 2]))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "saved"], capture_output=True, text=True, check=True)
    assert not set(said.stdout.split()) & {"classifiers", "distilling", "generators", "inverting", "verbs"}
