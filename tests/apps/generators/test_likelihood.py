import math
from dataclasses import asdict

import pytest
import torch

from apps.data import sources
from apps.data.binarise import binarise
from apps.data.sweep import sweep
from apps.generators.hvae import HVAE, HVAEC
from apps.generators.likelihood import likelihood, reconstruct
from apps.runs.by_image import keep_by_image
from apps.scores.kind import Command
from apps.scores.known import evaluations
from apps.seeds import generator
from priors.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits", "test")


def model_of(kind, digits):
    torch.manual_seed(0)
    return kind(digits.image_shape, 4, digits.class_names, (32, 16)).eval()


def test_means_and_errors_are_those_of_the_images(digits):
    model, some = model_of(HVAEC, digits), digits.subset(range(150))
    scored = likelihood(model, some, sweep, samples=20, seed=3, batch_size=100)
    values = []
    for number, part in enumerate((range(100), range(100, 150))):
        pixels = some.subset(part).images.float() / 255
        binary = binarise(pixels, generator("cpu", 3, "evaluate-binarise", number))
        with torch.no_grad():
            values.append(
                model.evidence(binary, some.subset(part).labels, 20, generator("cpu", 3, "evaluate-latent", number))
            )
    given = torch.cat([value.given_label for value in values]).double()
    assert scored.given_label.value == pytest.approx(float(given.mean()), abs=1e-4)
    assert scored.given_label.error == pytest.approx(float(given.std()) / math.sqrt(150), abs=1e-5)
    assert scored.joint.value == pytest.approx(scored.given_label.value - math.log(10))
    assert scored.elbo_joint.value == pytest.approx(scored.elbo.value - math.log(10))
    assert scored.elbo.value == pytest.approx(scored.reconstruction.value - scored.divergence.value, abs=1e-4)
    assert (scored.images, scored.samples, scored.seed) == (150, 20, 3)


def test_what_is_kept_of_images_counts_where_it_is_of_the_scores(digits, tmp_path):
    """So that two models can be compared image by image, of the same images and draws."""
    scored = likelihood(model_of(HVAEC, digits), digits.subset(range(50)), sweep, samples=10)
    command, scores = (
        Command(("evaluate", "run"), tmp_path),
        {name: asdict(mean) for name, mean in scored.named.items()},
    )
    kind = next(kind for kind in evaluations() if kind.holds == "hvae")
    assert kind.by_image(command, scores) is None, "as of runs of before"
    keep_by_image(tmp_path, scored.by_image, "of these")
    found = kind.by_image(command, scores)
    assert found.digest == "of these" and set(found.scores) == {"ELBO", "log p(x)", "log p(x|i)"}
    for name, values in found.scores.items():
        assert values.shape == (50,) and float(values.double().mean()) == pytest.approx(scored.named[name].value)
    scores["ELBO"]["value"] += 0.01
    assert set(kind.by_image(command, scores).scores) == {"log p(x)", "log p(x|i)"}, "another evaluation's"


def test_an_unconditional_model_has_one_likelihood(digits):
    scored = likelihood(model_of(HVAE, digits), digits.subset(range(50)), sweep, samples=10)
    assert scored.given_label is None and scored.joint is None and scored.elbo_joint is None
    assert scored.elbo.value < scored.marginal.value + 4 * scored.marginal.error


def test_a_stopped_scoring_goes_on_and_other_weights_start_anew(digits, tmp_path, monkeypatch):
    model, some = model_of(HVAE, digits), digits.subset(range(50))
    calls = []
    evidence = model.evidence
    monkeypatch.setattr(model, "evidence", lambda *given: calls.append(1) or evidence(*given))
    first = likelihood(model, some, sweep, samples=10, batch_size=25, store=tmp_path)
    assert len(calls) == 2
    assert likelihood(model, some, sweep, samples=10, batch_size=25, store=tmp_path) == first
    assert len(calls) == 2
    with torch.no_grad():
        model.to_logits.bias.add_(1)
    assert likelihood(model, some, sweep, samples=10, batch_size=25, store=tmp_path) != first
    assert len(calls) == 4


def test_reconstructions_are_images(digits):
    pixels = digits.images[:7].float() / 255
    rebuilt = reconstruct(model_of(HVAEC, digits), pixels, digits.labels[:7])
    assert rebuilt.shape == pixels.shape and 0 <= float(rebuilt.min()) and float(rebuilt.max()) <= 1


def test_images_that_do_not_fit_are_refused(digits):
    with pytest.raises(InputError, match="trained on"):
        likelihood(HVAE((1, 9, 9), 4, digits.class_names).eval(), digits, sweep)
    with pytest.raises(InputError, match="classes"):
        likelihood(HVAE(digits.image_shape, 4, ("a", "b")).eval(), digits, sweep)
    for count in (0, 1):  # one has no standard error
        with pytest.raises(InputError, match=f"{count} images? to score"):
            likelihood(model_of(HVAE, digits), digits.subset(range(count)), sweep)
