"""The learnt prior against HVAE-L, whose limit it is, and against integrals over the sphere."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from apps.command.config import Optimisation
from apps.data import sources
from apps.data.batches import Batches
from apps.data.sweep import sweep
from apps.generators.hvae import HVAEL, rebuild
from apps.generators.hvae_training import HVAETraining
from apps.generators.learnt_prior import HVAEM, PARTS, LearntPrior, drawn_prior
from apps.training.task import Phase
from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError

CLASSES = ("zero", "one", "two")
SHAPE = (1, 3, 4)
STEPS = 60


def prior_of(dim=3):
    torch.manual_seed(2)
    return ClassifierPrior.from_weight(torch.randn(3, dim), [2.0, 5.0, 9.0], torch.ones(3), CLASSES)


def model_of(kind, **options):
    torch.manual_seed(0)
    return kind(SHAPE, 3, CLASSES, hidden=(8, 6), prior=prior_of(), **options).double().eval()


def test_with_nothing_to_learn_it_is_hvae_l_to_the_bit():
    ours, theirs = model_of(HVAEM, learn=()), model_of(HVAEL)
    generator = torch.Generator().manual_seed(1)
    images, labels = (torch.rand(5, *SHAPE, generator=generator) > 0.5).double(), torch.tensor([0, 1, 2, 1, 0])
    found = []
    for model in (ours, theirs):
        bound = model(images, labels, torch.Generator().manual_seed(3))
        (bound.divergence - bound.reconstruction).sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        evidence = model.evidence(images, labels, 20, torch.Generator().manual_seed(4))
        drawn = [model.generate(labels, torch.Generator().manual_seed(5), kappa) for kappa in (None, 50.0)]
        found.append(
            [bound.reconstruction, bound.divergence, *gradients, evidence.given_label, evidence.marginal, *drawn]
        )
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))


def divergence_by_integration(loc, kappa, direction, log_concentration):
    """KL between two vMFs on the sphere in R^3 by quadrature that is exact to rounding."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    angle = np.arange(160) * (2 * np.pi / 160)
    ring = np.sqrt(1 - nodes**2)
    points = np.stack([np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(nodes[:, None], 160, 1)])
    points, weights = points.reshape(3, -1).T, np.repeat(weights * (2 * np.pi / 160), 160)

    def log_density(mu, k):
        return k * (points @ (mu / np.linalg.norm(mu))) + math.log(k / (4 * np.pi * math.sinh(k)))

    log_q, log_p = log_density(loc, kappa), log_density(direction, math.exp(log_concentration))
    return float((weights * np.exp(log_q) * (log_q - log_p)).sum())


def test_the_bound_has_the_gradients_of_its_integral_in_posterior_and_prior():
    """Central differences of the integral, in all of both means and concentrations."""
    prior = LearntPrior(prior_of().double(), PARTS)
    with torch.no_grad():
        prior.direction.mul_(1.7)  # a direction has any length
    loc = torch.tensor([0.3, -0.8, 0.4], dtype=torch.double, requires_grad=True)
    kappa = torch.tensor(6.5, dtype=torch.double, requires_grad=True)
    unit = torch.nn.functional.normalize(loc, dim=-1)
    for label in range(3):
        q, p = VonMisesFisher(unit, kappa), VonMisesFisher(prior.loc[label], prior.concentration[label])
        found = torch.distributions.kl_divergence(q, p)
        wanted = [loc, kappa, prior.direction, prior.log_concentration]
        by_loc, by_kappa, by_direction, by_log = torch.autograd.grad(found, wanted, retain_graph=True)
        assert not by_direction[np.arange(3) != label].any() and not by_log[np.arange(3) != label].any()
        ours = torch.cat([by_loc, by_kappa[None], by_direction[label], by_log[label, None]])
        at = torch.cat([loc, kappa[None], prior.direction[label], prior.log_concentration[label, None]])
        at = at.detach().numpy()

        def integral(x):
            return divergence_by_integration(x[:3], x[3], x[4:7], x[7])

        assert found.item() == pytest.approx(integral(at), rel=1e-10)
        steps = 1e-4 * np.eye(len(at))
        slopes = [(integral(at + step) - integral(at - step)) / 2e-4 for step in steps]
        np.testing.assert_allclose(ours.numpy(), slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("learn", [(), PARTS[:1], PARTS[1:], PARTS], ids=str)
def test_what_is_learnt_is_stored_and_read_again_with_where_it_comes_from(learn):
    model = model_of(HVAEM, learn=learn).float()
    with torch.no_grad():
        for parameter in model.undecayed():
            parameter.add_(0.1)
    again = rebuild(model.description(), model.state_dict())
    again.load_state_dict(model.state_dict())
    assert len(model.undecayed()) == len(again.undecayed()) == len(learn)
    ours, theirs, start = model.prior.as_it_is(), again.prior.as_it_is(), prior_of()
    assert torch.equal(ours.loc, theirs.loc) and torch.equal(ours.concentration, theirs.concentration)
    assert torch.allclose(ours.loc, model.prior.loc) and ours.class_names == CLASSES
    assert torch.equal(ours.loc, start.loc) == ("directions" not in learn)
    assert torch.equal(ours.concentration, start.concentration) == ("concentrations" not in learn)
    assert (ours.bias is None) == ("directions" in learn), "the final layer's goes with its directions"
    assert ("learnt with the model" in ours.provenance.network) == ("directions" in learn)
    assert ("learnt with the model" in ours.provenance.concentration) == ("concentrations" in learn)
    assert ours.provenance == theirs.provenance


def test_weight_decay_leaves_the_prior_alone():
    model = model_of(HVAEM)
    config = Optimisation(optimizer="adamw", weight_decay=0.5, lr=0.1)
    optimizer = HVAETraining(model, 0, None).optimizer("train", Phase("train"), config)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1.0 if name.startswith("prior") else 0.95
        assert torch.allclose(parameter, before[name] * factor), name


def test_a_learnt_prior_has_a_better_bound_than_random_directions():
    """On held-out digits, paired by image; 5 standard errors of 400: chance alone does so in 1 of 3 million."""
    digits = sources.load("digits", "train")
    held_out, seen = digits.subset(range(400)), digits.subset(range(400, len(digits)))
    bounds = []
    for kind in (HVAEL, HVAEM):
        start = drawn_prior(digits.class_names, 4, 20, torch.Generator().manual_seed(0), "digits")
        torch.manual_seed(0)
        model = kind(digits.image_shape, 4, digits.class_names, (32, 16), prior=start)
        task, batches = HVAETraining(model, 0, None), Batches(seen, 64, 0)
        optimizer = task.optimizer("train", Phase("train"), Optimisation(lr=6e-3))
        for step in range(STEPS):
            sum(task.losses("train", batches.at(step), step).values()).backward()
            optimizer.step()
            optimizer.zero_grad()

        def bound(batch, model=model):
            found = model((batch.images > 0.5).float(), batch.labels, torch.Generator().manual_seed(9))
            return {"bound": found.reconstruction - found.divergence}

        with torch.no_grad():
            bounds.append(sweep(held_out, bound)["bound"])
    gained = (bounds[1] - bounds[0]).double()
    assert gained.mean() > 5 * gained.std() / math.sqrt(len(gained))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearntPrior(prior_of(), ("direction",)), "directions"),
        (lambda: LearntPrior(prior_of().with_concentration([1, 0, 2])), "class 'one' starts at 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_run_is_reported_and_handed_on_with_its_prior_to_the_bit(penult):
    words = ("--data", "digits", "--epochs", 0.1, "--kl-warmup", 0, "--device", "cpu", "--threads", 1)
    networks = ("--networks", "conv", "--channels", 2, "--posterior", "spherical-cauchy")
    assert penult("train", "hvae", "--variant", "hvae-m", *words, *networks, "--name", "learnt").status == 0
    said = penult("report", "runs/learnt", "--n", 1, "--out", "page.html")
    assert said.status == 0 and "learnt with the model" in Path("page.html").read_text(encoding="utf-8")
    assert penult("export", "runs/learnt", "out", "--dtype", "bfloat16").status == 0
    theirs, ours = load_file("runs/learnt/model.safetensors"), load_file("out/model.safetensors")
    prior = [name for name in ours if name.startswith("prior.")]
    assert "prior.direction" in prior and all(torch.equal(ours[name], theirs[name]) for name in prior)
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "an encoder q(z|x) that gives spherical Cauchy distributions, convolutional networks" in card
