"""What every sampler is given: a number of draws, labels, and a source of random numbers."""

import numpy as np
import pytest
import torch

from analysis.densities.pixelcnn import PixelCNN
from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior
from priors.vmf.distribution import VonMisesFisher
from priors.vmf.maximum_likelihood import solve_concentration
from priors.vmf.sphere import HypersphericalUniform

pytestmark = pytest.mark.usefixtures("as_a_user")


def source():
    return torch.Generator().manual_seed(0)


def prior():
    return ClassifierPrior.from_weight(torch.eye(12, 14), 5.0, class_names=[str(number) for number in range(12)])


@pytest.mark.parametrize("make", [lambda: VonMisesFisher(torch.eye(3), 4.0), lambda: HypersphericalUniform(3, (3,))])
def test_a_number_of_draws_is_a_shape(make):
    for number in (5, np.int64(5), [np.int32(5)]):
        assert torch.equal(make().sample(number, source()), make().sample((5,), source()))
    for wrong in (-1, "5", 2.5, (2, -1), True):
        with pytest.raises(InputError, match="a number, or a shape"):
            make().sample(wrong)
    with pytest.raises(InputError, match="generator is 5"):
        make().sample((2,), 5)


def test_a_density_without_context_draws_as_many_as_are_asked_for():
    torch.manual_seed(0)
    model = PixelCNN((1, 4, 4), layers=1, filters=2).eval()
    found = model.sample(2, source())
    assert found.shape == (2, 1, 4, 4) and torch.equal(found, model.sample(n=2, generator=source()))
    for wrong, said in (((0,), "1 or more"), ((2, 5), "generator is 5"), ((), "give n")):
        with pytest.raises(InputError, match=said):
            model.sample(*wrong)
    with pytest.raises(InputError, match="once"):
        model.sample(2, n=2)
    with pytest.raises(InputError, match="context"):
        PixelCNN((1, 4, 4), (3,), layers=1, filters=2).sample(2)


def test_a_prior_says_how_to_draw_several_of_a_label():
    labels = torch.tensor([0, 2])
    with pytest.raises(InputError, match=r"prior.distributions\(labels\).sample\(5\)"):
        prior().sample(labels, 5)
    assert prior().distributions(labels).sample(5).shape == (5, 2, 14)


def test_one_label_is_one_draw_and_a_name_no_list_of_letters():
    assert prior().sample(11).shape == prior().sample("11").shape == (14,)
    for label in (11, np.int64(11), [11], torch.tensor(11)):
        assert torch.equal(prior().sample("11", source()), prior().sample(label, source()).view(14))
    for wrong in (12, np.int64(-1), None, True):
        with pytest.raises(InputError, match="out of range"):
            prior().sample(wrong)


def test_a_deficit_and_a_length_may_be_a_number_beside_a_tensor():
    lengths = torch.tensor([0.9, 0.9], dtype=torch.float64)
    expected = solve_concentration(lengths, 5)
    for length, deficit in ((lengths, 0.1), (0.9, 1 - lengths), (0.9, 0.1)):
        torch.testing.assert_close(solve_concentration(length, 5, deficit=deficit).expand(2), expected)
    # Of another device: torch refuses tensors of two, and numbers of Python go to that of the tensor.
    away = torch.tensor([0.9], dtype=torch.float64, device="meta")
    seen = []
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("priors.vmf.maximum_likelihood._require", lambda fine, *_: seen.append(fine.device.type))
        solve_concentration(away, 5, deficit=0.1)
    assert seen[:2] == ["meta", "meta"]
