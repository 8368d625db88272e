"""Information bottlenecks against torch's divergences, a search over all shares, and what they cannot depend on."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from analysis import information_bottleneck
from priors.errors import InputError


def test_what_is_let_through_is_the_divergence_of_two_normals():
    torch.manual_seed(0)
    features, mean, deviation = torch.randn(3, 4).double(), torch.randn(4).double(), torch.rand(4).double() + 0.1
    found = information_bottleneck(lambda z: z, features, torch.zeros(3).long(), mean, deviation, steps=3)
    share = found.share
    through = Normal(share * features + (1 - share) * mean, (1 - share) * deviation)
    expected = kl_divergence(through, Normal(mean, deviation))
    assert torch.allclose(found.kept, expected, rtol=1e-9, atol=1e-12) and float(share.max()) < 1
    assert torch.allclose(found.total, expected.sum(1))


def test_it_is_the_best_of_all_shares():
    """One feature that decides a class of two, whose best share is found by trying a thousand with 20,000 draws.

    The search is run a hundred times at once, by other noise: its mean is within .02 whatever the seed.
    """
    gain, weight, feature = 3.0, 0.3, 1.5

    def rest(z):
        return torch.cat((gain * z, torch.zeros_like(z)), 1)

    given, one = torch.full((100, 1), feature).double(), torch.ones(1).double()
    how = {"weight": weight, "steps": 150, "samples": 4, "rate": 0.05, "start": 1.0}
    found = information_bottleneck(rest, given, torch.zeros(100).long(), 0 * one, one, **how)
    noise = Normal(0.0, 1.0).icdf((torch.arange(20_000).double() + 0.5) / 20_000)
    shares = torch.linspace(0.001, 0.999, 999).double()[:, None]
    entropy = F.softplus(-gain * (shares * feature + (1 - shares) * noise)).mean(1)
    kept = kl_divergence(Normal(shares * feature, 1 - shares), Normal(0.0, 1.0))[:, 0]
    best = int((entropy + weight * kept).argmin())
    assert 0.1 < float(shares[best]) < 0.9
    assert float(found.share.mean()) == pytest.approx(float(shares[best]), abs=0.02)
    at = ((found.share - shares[:, 0]).abs()).argmin(1)
    assert float((found.cross_entropy - entropy[at]).mean()) == pytest.approx(0, abs=0.02)


def test_what_no_class_hangs_on_is_not_let_through():
    torch.manual_seed(0)
    weight = torch.zeros(2, 6, 4, 4)
    weight[0, :3] = 1.0

    def rest(z):
        return torch.stack([(z * one).sum((1, 2, 3)) for one in weight], 1)

    features = torch.randn(5, 6, 4, 4).abs() + 1
    zero, one = torch.zeros(6, 4, 4), torch.ones(6, 4, 4)
    how = {"steps": 40, "weight": 1.0, "samples": 4}
    found = information_bottleneck(rest, features, torch.zeros(5).long(), zero, one, **how)
    assert bool((found.kept[:, :3].mean((1, 2, 3)) > 5 * found.kept[:, 3:].mean((1, 2, 3))).all())
    wide = information_bottleneck(rest, features, torch.zeros(5).long(), zero, one, **how | {"weight": 1e4})
    assert bool((wide.total < 0.2 * found.total).all()) and bool((wide.cross_entropy >= found.cross_entropy).all())


def test_an_image_hangs_on_its_index_alone():
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    features, mean, deviation = torch.randn(6, 4), torch.zeros(4), torch.ones(4)
    target = torch.randint(3, (6,))
    whole = information_bottleneck(layer, features, target, mean, deviation, seed=3)
    some = torch.tensor([4, 1])
    part = information_bottleneck(layer, features[some], target[some], mean, deviation, seed=3, index=some)
    assert torch.allclose(part.total, whole.total[some], rtol=1e-5)
    with torch.inference_mode():
        again = information_bottleneck(layer, features.clone(), target.int(), mean, deviation, seed=3)
    assert torch.equal(again.total, whole.total)
    other = information_bottleneck(layer, features, target, mean, deviation, seed=4)
    assert not torch.allclose(other.total, whole.total, rtol=1e-5)
    assert all(one.grad is None for one in layer.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": torch.randn(2, 3, 4)}, r"\(batch, units\)"),
        ({"features": torch.full((2, 3), torch.nan)}, "not finite"),
        ({"target": torch.zeros(3).long()}, "3 labels were given for 2 images"),
        ({"target": torch.tensor([0, 3])}, "label 3 is out of range: the classes are 0 to 2"),
        ({"target": torch.zeros(2)}, "class numbers were expected"),
        ({"index": torch.zeros(3).long()}, "a whole number for each of 2 images"),
        ({"rest": lambda z: z[:, 0]}, r"gives \(2,\) of 2 images"),
        ({"rest": lambda z: z.detach()}, "do not hang on the features"),
        ({"mean": torch.zeros(4)}, r"mean is of shape \(4,\): \(3,\) was expected"),
        ({"deviation": -torch.ones(3)}, "deviations below 0"),
        ({"weight": 0}, "weight is 0: a number above 0"),
        ({"steps": 0}, "steps is 0"),
        ({"smoothing": -1}, "smoothing is -1"),
    ],
    ids=[
        "axes",
        "nan",
        "target",
        "class",
        "floats",
        "index",
        "rest",
        "slopes",
        "mean",
        "deviation",
        "weight",
        "steps",
        "smoothing",
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    given = {"features": torch.randn(2, 3), "target": torch.zeros(2).long()}
    given |= {"rest": lambda z: z, "mean": torch.zeros(3), "deviation": torch.ones(3)} | change
    with pytest.raises(InputError, match=said) as error:
        information_bottleneck(**given)
    assert "\n" not in str(error.value)
