"""Settings given from Python, where no parser looks at them: held to the rules of the flags."""

from dataclasses import replace
from functools import partial

import pytest

from apps.classifiers.settings import ClassifierTraining
from apps.classifiers.training import train_classifier
from apps.command.config import Where
from apps.distilling.program import distil
from apps.distilling.settings import configuration
from apps.generators.hvae_settings import HVAESettings
from apps.generators.sngan_settings import SNGANSettings
from apps.generators.train_hvae import train_hvae
from apps.generators.train_sngan import train_sngan
from priors import InputError

NAN, INF = float("nan"), float("inf")
KINDS = {
    train_hvae: HVAESettings,
    train_sngan: SNGANSettings,
    train_classifier: ClassifierTraining,
    distil: partial(configuration(["ce"]), "ce"),
}


def refused(train, folder, said, section="", **values):
    """Make sure that a program refuses values that tests' own checks of types would not let in."""
    settings = replace(KINDS[train](), where=Where(runs=folder, device="cpu"))
    if section:
        object.__setattr__(settings, section, replace(getattr(settings, section)))
    for name, value in values.items():
        object.__setattr__(getattr(settings, section) if section else settings, name, value)
    with pytest.raises(InputError, match=said) as error:
        train(settings)
    assert "\n" not in str(error.value) and not list(folder.iterdir())


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize(("name", "value"), [("lr", NAN), ("lr", -1.0), ("batch_size", 0), ("ema", INF), ("lr", "x")])
def test_numbers_that_flags_refuse_are_refused(tmp_path, train, name, value):
    refused(train, tmp_path, f"--{name.replace('_', '-')} {value}: .*expected", "optimisation", **{name: value})


@pytest.mark.parametrize(
    ("train", "name", "value", "said"),
    [
        (train_hvae, "latent_dim", -1, "--latent-dim -1: expected"),
        (train_hvae, "latent_dim", "many", "--latent-dim many: expected a whole number"),
        (train_hvae, "latent_dim", True, "--latent-dim True: expected a whole number"),
        (train_hvae, "concentration", 5.0, "--concentration 5.0: expected a text"),
        (train_sngan, "radius", NAN, "--radius nan: expected a number above 0"),
        (train_sngan, "r1", INF, "--r1 inf: expected"),
        (train_sngan, "steps", 2.5, "--steps 2.5: expected a whole number"),
        (train_sngan, "preset", "mimicri", "--preset mimicri: expected"),
        (distil, "seeds", 0, "--seeds 0: expected"),
    ],
)
def test_others_are_as_well(tmp_path, train, name, value, said):
    refused(train, tmp_path, said, **{name: value})
