"""Linear features, for which all is known in closed form, and the errors that estimates by slopes are known to have."""

import math

import pytest
import torch
from torch import nn

from analysis import discarded_information, feature_spread, linear_entropy, pixel_sensitivity
from priors import InputError

CONSTANT = math.log(2 * math.pi * math.e) / 2


class Linear(nn.Module):
    """A matrix, in double precision."""

    def __init__(self, features: int, shape: tuple[int, ...]):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        matrix = torch.randn(features, *shape, generator=generator, dtype=torch.float64)
        columns = torch.rand(shape, generator=generator, dtype=torch.float64) * 3 + 0.1
        self.matrix = nn.Parameter(matrix * columns)

    def forward(self, images):
        return images.flatten(1) @ self.matrix.flatten(1).T

    @property
    def squares(self):
        return self.matrix.detach().square().sum(0)


def network() -> nn.Module:
    """A small one that is not linear."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 5, 3, 2), nn.Tanh()).double().eval()


IMAGES = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("grid", [None, 2, (3, 4)])
def test_linear_features_have_the_closed_form(grid, shared):
    layer, alpha = Linear(7, (3, 8, 6)), 3e-4
    found = discarded_information(
        layer, IMAGES, method="linear", grid=grid, shared=shared, probes=7, alpha=alpha, cap=1e3, delta="image"
    )
    rows, columns = (8, 6) if grid is None else (2, 2) if grid == 2 else grid
    for channels in [[0, 1, 2]] if shared else [[0], [1], [2]]:
        for row in range(rows):
            for column in range(columns):
                down = [one for one in range(8) if one * rows // 8 == row]
                across = [one for one in range(6) if one * columns // 6 == column]
                own = layer.squares[channels][:, down][:, :, across]
                share = own.numel() / (3 * 8 * 6)
                sigma = math.sqrt(alpha * float(layer.squares.sum()) * share / float(own.sum()))
                cell = (slice(None), 0 if shared else channels[0], row, column)
                assert found.sigma[cell].tolist() == pytest.approx([sigma] * 3)
                assert found.entropy[cell].tolist() == pytest.approx([math.log(sigma) + CONSTANT] * 3)
                place = (slice(None), channels[0], down[0], across[0])
                assert torch.equal(found.maps[place], found.entropy[cell])
                assert torch.equal(found.noise[place], found.sigma[cell])
    assert found.unit == "pixel" and not found.capped.any() and not found.failed.any()
    exactly = (found.noise.square() * layer.squares).flatten(1).sum(1) / (alpha * layer.squares.sum())
    assert exactly.tolist() == pytest.approx([1.0] * 3)
    torch.testing.assert_close(found.mean, found.maps.flatten(1).mean(1))
    torch.testing.assert_close(found.total, found.maps.flatten(1).sum(1))
    if grid is None and not shared:  # the mean by the ratio of means: 1/2 log(2 pi e alpha) + 1/2 log(AM / GM)
        ratio = layer.squares.mean().log() - layer.squares.log().mean()
        assert found.mean[0].item() == pytest.approx((math.log(2 * math.pi * math.e * alpha) + float(ratio)) / 2)


def test_no_other_scales_of_as_far_moved_features_have_more_entropy():
    """The closed form against scales that are drawn around it, under the cap, and brought to the same E."""
    layer, generator = Linear(7, (3, 8, 6)), torch.Generator().manual_seed(0)
    layer.matrix.data[:, 1, :4] = 0
    layer.matrix.data[:, 2, :2] *= 1e-3
    found = discarded_information(layer, IMAGES[:1], method="linear", grid=4, shared=False, probes=7, cap=0.05)
    assert 0 < found.capped.item() < found.sigma.numel()
    assert found.capped.item() == int((found.sigma == 0.05).sum())
    wanted = found.alpha * layer.squares.sum()
    torch.testing.assert_close((found.noise.square() * layer.squares).sum(), wanted)
    free = (found.sigma < 0.05).double()
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            away = torch.randn(found.sigma.shape, generator=generator, dtype=torch.float64)
            other = (found.sigma * (size * away).exp()).clamp(max=0.05)
            for _ in range(60):  # to the same E by the scales below the cap
                other = (other * (1 + free * ((wanted / energy(found, other, layer)).sqrt() - 1))).clamp(max=0.05)
            assert energy(found, other, layer) == pytest.approx(float(wanted), rel=1e-6)
            gain = (found.grid.counts() * (other / found.sigma).log()).sum()
            assert gain < 1e-5 * size


def energy(found, sigma, layer):
    return (found.grid.spread(sigma).square() * layer.squares).sum()


def test_sensitivities_are_those_of_finite_differences_and_of_torchs_jacobian():
    model = network()
    found = pixel_sensitivity(model, IMAGES, grid=None, shared=False, probes=10**3)
    assert found.exact and float(found.spread_error.abs().max()) == 0
    step = 1e-5
    for image, own in zip(IMAGES, found.value, strict=True):
        around = torch.eye(image.numel(), dtype=torch.float64).view(-1, *image.shape) * step
        with torch.no_grad():
            slopes = (model(image + around) - model(image - around)) / (2 * step)
        torch.testing.assert_close(own.flatten(), slopes.flatten(1).square().sum(1), rtol=1e-6, atol=1e-9)
        whole = torch.func.jacrev(lambda x: model(x[None])[0])(image)
        torch.testing.assert_close(own, whole.square().sum((0, 1, 2)))
    wide = pixel_sensitivity(model, IMAGES, grid=None, shared=False, probes=10**3, deviation=(0.5, 2.0, 3.0))
    torch.testing.assert_close(wide.value, found.value * torch.tensor([0.25, 4.0, 9.0]).view(3, 1, 1))


@pytest.mark.parametrize("probes", [1, 2, 8])
def test_the_bias_of_logarithms_is_that_of_chi_squared_numbers(probes):
    """400 images of 144 values: five standard errors, 6e-7 of false alarms each."""
    layer = Linear(40, (3, 8, 6))
    images = torch.zeros(400, 3, 8, 6, dtype=torch.float64)
    found = pixel_sensitivity(layer, images, grid=None, shared=False, probes=probes)
    off = (found.value / layer.squares).log() / 2
    own = off.flatten(1).mean(1)
    expected = (torch.digamma(torch.tensor(probes / 2)) - math.log(probes / 2)) / 2
    assert found.log_bias.tolist() == pytest.approx([float(expected)] * 400)
    assert float(expected) < -0.05
    assert abs(float(own.mean() - expected)) < 5 * float(own.std()) / 20
    assert float(off.square().mean() - off.mean().square()) == pytest.approx(float(found.log_error[0]) ** 2, rel=0.03)
    assert float(found.spread.mean()) == pytest.approx(
        float(layer.squares.sum()), abs=5 * float(found.spread.std()) / 20
    )
    if probes == 8:
        assert float(found.spread.std()) == pytest.approx(float(found.spread_error.square().mean().sqrt()), rel=0.15)
        assert float(own.std()) == pytest.approx(float(found.mean_log_error.square().mean().sqrt()), rel=0.15)


@pytest.mark.parametrize("features", [1, 5, 200])
def test_entropies_of_cells_are_right_on_average(features):
    """Cells of several values have degrees of freedom that are estimated; 200 images, and at most .01 nat off."""
    layer = Linear(features, (3, 8, 6))
    images = torch.zeros(200, 3, 8, 6, dtype=torch.float64)
    found = pixel_sensitivity(layer, images, grid=2, probes=12)
    if features <= 12:
        assert found.exact
        return
    true = pixel_sensitivity(layer, images[:1], grid=2, probes=features)
    solved, exactly = linear_entropy(found, delta=float(true.spread[0])), linear_entropy(true)
    off = solved.entropy - exactly.entropy
    assert abs(float(off.mean())) < 0.01 and abs(float(found.log_bias.mean())) < 0.02
    assert float(off.std()) == pytest.approx(float(found.log_error.square().mean().sqrt()), rel=0.15)
    assert bool((found.freedom > 3 * 12).all())


def test_the_spread_is_the_squared_norm_of_the_jacobian_and_so_is_it_at_a_small_tau():
    model = network()
    true = pixel_sensitivity(model, IMAGES, grid=1, probes=10**3).spread
    for found in (
        feature_spread(model, IMAGES, samples=29),  # one less than there are features
        feature_spread(model, IMAGES, samples=200, tau=1e-4),
        feature_spread(model, IMAGES.split(2), samples=29),
    ):
        assert bool(((found.value - true).abs() < 5 * found.error).all())  # 6e-7 of false alarms an image
        assert bool((found.error < 0.2 * true).all())
        assert found.mean == pytest.approx(float(found.value.mean()))
    whole, parts = feature_spread(model, IMAGES), feature_spread(model, IMAGES.split(2))
    torch.testing.assert_close(whole.value, parts.value)
    wide = feature_spread(lambda x: x.tanh(), IMAGES, samples=50, tau=10.0)
    assert wide.tau == 10.0 and bool((wide.value < 0.1 * 3 * 8 * 6).all())  # tanh saturates


def test_what_is_drawn_for_an_image_hangs_on_its_index_alone():
    model = network()
    options = {"method": "linear", "grid": 4, "delta": 1.0, "seed": 5}
    whole = discarded_information(model, IMAGES, index=[7, 3, 11], **options)
    alone = discarded_information(model, IMAGES[1:2], index=[3], **options)
    split = discarded_information(model, IMAGES, index=[7, 3, 11], memory=1, **options)
    for name in ("entropy", "achieved", "achieved_error", "error", "mean_error"):
        torch.testing.assert_close(getattr(whole, name)[1:2], getattr(alone, name))
        torch.testing.assert_close(getattr(whole, name), getattr(split, name))
    other = discarded_information(model, IMAGES, **options)
    assert not torch.allclose(whole.entropy, other.entropy)


def test_delta_is_the_mean_of_a_data_set_or_each_images_own():
    model = network()
    options = {"method": "linear", "grid": 4, "probes": 10**3}
    own, mean = (discarded_information(model, IMAGES, delta=name, **options) for name in ("image", "dataset"))
    spread = pixel_sensitivity(model, IMAGES, grid=1, probes=10**3).spread
    torch.testing.assert_close(own.delta, spread)
    torch.testing.assert_close(mean.delta, spread.mean().expand(3))
    torch.testing.assert_close(mean.mean - own.mean, (spread.mean() / spread).log() / 2)
    given = discarded_information(model, IMAGES, delta=spread, **options)
    torch.testing.assert_close(given.entropy, own.entropy)


def test_the_unit_shifts_entropies_by_its_logarithm():
    model = network()
    options = {"method": "linear", "grid": 4, "probes": 10**3, "delta": "image", "shared": False, "cap": 1e3}
    plain = discarded_information(model, IMAGES, **options)
    unit = discarded_information(model, IMAGES, deviation=0.25, alpha=1.5e-4 / 0.25**2, **options)
    torch.testing.assert_close(unit.entropy, plain.entropy - math.log(0.25))
    torch.testing.assert_close(unit.noise, plain.noise)
    assert (plain.unit, unit.unit) == ("pixel", "normalised")


def test_what_is_achieved_is_measured():
    """A linear layer meets what is asked of it; tanh falls short of it by far where noise is large."""
    layer = Linear(60, (3, 8, 6))
    found = discarded_information(layer, IMAGES, method="linear", grid=2, probes=60, check=300)
    assert bool(((found.achieved - 1).abs() < 5 * found.achieved_error).all())
    assert bool((found.achieved_error < 0.05).all())
    short = discarded_information(lambda x: x.sub(0.5).tanh(), IMAGES, method="linear", alpha=100.0, cap=1e3, grid=2)
    assert bool((short.achieved < 0.5).all())


def test_images_that_fail_are_named_and_the_others_kept():
    def features(images):
        return images * torch.where(images.amax((1, 2, 3), keepdim=True) > 5, torch.inf, 2.0)

    images = IMAGES.clone()
    images[1, 0, 0, 0] = 9.0
    found = discarded_information(features, images, method="linear", grid=2)
    assert found.failed.tolist() == [False, True, False]
    assert bool(found.entropy[1].isnan().all()) and bool(found.entropy[[0, 2]].isfinite().all())
    rest = discarded_information(features, images[[0, 2]], method="linear", grid=2, index=[0, 2])
    torch.testing.assert_close(found.entropy[[0, 2]], rest.entropy)
    with pytest.raises(InputError, match="of all images are not finite"):
        discarded_information(features, images[1:2], method="linear", grid=2)
