"""What the samplers of generators are given: labels, sources of draws, concentrations; from Python, without flags."""

import numpy as np
import pytest
import torch
from small_generators import GENERATORS, prior
from torch import nn

from analysis.densities.pixelcnn import PixelCNN
from apps.generators.latents import Gaussian, UniformSphere, VonMisesFisherLatent
from priors import InputError, VonMisesFisher

pytestmark = pytest.mark.usefixtures("as_a_user")


OF_A_PRIOR = ("hvae-l", "sngan of a prior")
WRONG_LABELS = (
    (torch.tensor([0, 3]), "label 3 is out of range: the classes are 0 to 2"),
    (torch.tensor([-1]), "label -1 is out of range"),
    (torch.tensor([0.0, 1.0]), "labels are torch.float32: class numbers were expected"),
    (torch.tensor([True]), "labels are torch.bool"),
    (torch.tensor([[0, 1]]), r"labels of shape \(1, 2\): one class for each"),
    (torch.tensor(1), r"labels of shape \(\): one class for each"),
    (["dgo"], "unknown class 'dgo': did you mean 'dog'"),
    ([0, 5], "label 5 is out of range"),
    ("cat", r"labels are 'cat': one class for each that is drawn was expected, such as \[0, 0, 3\]"),
    (2, "labels are 2: one class for each"),
    ([None], "label None is out of range"),
)


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", GENERATORS)
def test_images_have_no_graph(name):
    model = GENERATORS[name]()
    assert all(weight.requires_grad for weight in model.parameters())
    images = model.generate([0, 1], seeded())
    assert not images.requires_grad and not images.is_inference()  # so that it can be an input of what is trained


def test_what_the_libraries_draw_has_no_graph():
    density = PixelCNN((1, 4, 4), (), filters=2, layers=1)
    loc = nn.functional.normalize(torch.eye(3, 5)).requires_grad_()
    assert not density.sample(n=1).requires_grad
    own = VonMisesFisher(loc, torch.tensor(2.0))
    assert not prior().sample([0, 1]).requires_grad and not own.sample().requires_grad
    assert own.rsample().requires_grad, "which is documented to have one"


@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_no_label_no_source_and_no_concentration_is_said_in_a_line(name):
    model = GENERATORS[name]()
    draw = [model.generate] + ([model.sample_latent] if hasattr(model, "sample_latent") else [])
    for one in draw:
        for labels, said in WRONG_LABELS:
            with pytest.raises(InputError, match=said) as error:
                one(labels, seeded())
            assert "\n" not in str(error.value)
        for source in (5, 2.5, "seed", np.random.default_rng(0)):
            with pytest.raises(InputError, match="generator is .*: the source of the draws"):
                one(torch.tensor([0]), source)
        for wrong in (-1.0, float("nan"), float("inf"), 1e39, "mle", True):
            said = "concentration is .*: expected" if name in OF_A_PRIOR else "--concentration is for|: expected"
            with pytest.raises(InputError, match=said):
                one(torch.tensor([0]), seeded(), wrong)


@pytest.mark.parametrize("name", GENERATORS)
def test_labels_are_of_any_whole_type_and_names(name):
    model = GENERATORS[name]().requires_grad_(False)
    expected = model.generate(torch.tensor([0, 2]), seeded())
    assert expected.shape[0] == 2 and 0 <= float(expected.min()) and float(expected.max()) <= 1
    for labels in (["cat", "emu"], (0, "emu"), [0, 2], np.array([0, 2]), torch.tensor([0, 2], dtype=torch.uint8)):
        assert torch.equal(model.generate(labels, seeded()), expected)
    assert len(model.generate([], seeded())) == 0 or name.startswith("sngan")


@pytest.mark.parametrize("latent", [Gaussian(5), UniformSphere(5), VonMisesFisherLatent(prior())], ids=lambda x: x.name)
def test_latents_are_given_the_same(latent):
    wrong = WRONG_LABELS if latent.name == "vmf" else WRONG_LABELS[2:6]
    for labels, said in wrong:
        with pytest.raises(InputError, match=said):
            latent.sample(labels)
    with pytest.raises(InputError, match="generator is 5"):
        latent.sample(torch.tensor([0]), 5)
    drawn = latent.sample(torch.tensor([0, 1]), seeded())
    assert drawn.dtype == torch.float32 and drawn.shape == (2, 5)
    away = latent.sample(torch.tensor([0, 1], device="meta"), seeded()) if latent.name != "vmf" else drawn
    assert away.shape == (2, 5)  # a source on the CPU serves another device
