"""Samples against the distribution function by quadrature, gradients against moments in closed form.

Every statistical comparison has a fixed seed. At random seeds a Kolmogorov-Smirnov one would fail at a rate of 1e-5, a
four-sigma one at 6e-5; the plain run makes some 30 of the former and 80 of the latter.
"""

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from priors.errors import InputError
from priors.vmf import cosine, transport
from priors.vmf.quantile_table import tabulate
from priors.vmf.transport import rsample

DIMS = (2, 3, 4, 5, 7, 9, 10, 11, 20, 21, 64, 128, 512)
CONCENTRATIONS = (0.0, 1e-4, 0.5, 2.0, 5.0, 20.0, 100.0, 1000.0, 1e6)


def angles(m: int, k: float) -> tuple[np.ndarray, np.ndarray]:
    """A fine grid over the angle where it has mass, and its density there, up to a constant."""

    def log_density(angle):
        return (m - 2) * np.log(np.sin(angle)) - 2 * k * np.sin(angle / 2) ** 2

    coarse = np.geomspace(1e-7, np.pi * (1 - 1e-9), 20001)
    mass = log_density(coarse)
    inside = np.flatnonzero(mass > mass.max() - 60)
    low = 0.0 if inside[0] == 0 or m == 2 else coarse[inside[0]]
    high = np.pi if inside[-1] == len(coarse) - 1 else coarse[inside[-1]]
    grid = np.linspace(low, high, 200001)
    with np.errstate(divide="ignore"):
        density = log_density(grid) if m > 2 else -2 * k * np.sin(grid / 2) ** 2
    return grid, np.exp(density - density.max())


def distribution(m: int, k: float, angle: np.ndarray) -> np.ndarray:
    """P(angle between sample and mean < angle)."""
    if k == 0 and m > 2:
        return special.betainc((m - 1) / 2, (m - 1) / 2, np.sin(angle / 2) ** 2)
    if m == 3:
        return np.expm1(-2 * k * np.sin(angle / 2) ** 2) / np.expm1(-2 * k)
    grid, density = angles(m, k)
    below = integrate.cumulative_simpson(density, x=grid, initial=0)
    return np.interp(angle, grid, below / below[-1])


def moment(m: int, k: float, *functions) -> list[float]:
    """Expectations of functions of the cosine."""
    grid, density = angles(m, k)
    total = integrate.simpson(density, x=grid)
    return [integrate.simpson(density * f(np.cos(grid)), x=grid) / total for f in functions]


def mean_resultant_length(m: int, k: float) -> float:
    nu = mpmath.mpf(m) / 2 - 1
    return float(mpmath.besseli(nu + 1, k) / mpmath.besseli(nu, k)) if k else 0.0


def direction(m: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    g = torch.randn(m, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (g / g.norm()).to(dtype)


def half_squared_distance(z: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """1 - w without its cancellation."""
    return (z.double() - mean.double()).square().sum(-1) / 2


def to_angle(versine: np.ndarray) -> np.ndarray:
    return 2 * np.arcsin(np.sqrt(np.clip(versine / 2, 0, 1)))


def versines(m: int, k: float, dtype: torch.dtype, count: int, seed: int) -> np.ndarray:
    """1 - w of that many samples."""
    generator, mean = torch.Generator().manual_seed(seed), direction(m, dtype)
    found = []
    while count:
        batch = min(count, 1 << 17 if m < 100 else 1 << 15)
        z = rsample(mean.expand(batch, m), torch.tensor(k, dtype=dtype).expand(batch), generator)
        found.append(half_squared_distance(z, mean))
        count -= batch
    return torch.cat(found).numpy()


def check_marginal(m: int, k: float, dtype: torch.dtype, count: int = 1_000_000) -> tuple[float, float]:
    versine = versines(m, k, dtype, count, seed=round(1000 * m + k))
    p = stats.kstest(distribution(m, k, to_angle(versine)), "uniform").pvalue
    error = 1 - versine.mean() - mean_resultant_length(m, k)
    z = error / (versine.std() / np.sqrt(count))
    assert p > 1e-5, f"m = {m}, k = {k}, {dtype}: Kolmogorov-Smirnov p = {p:.1e}"
    assert abs(z) < 4, f"m = {m}, k = {k}, {dtype}: the mean resultant length is {z:.1f} standard errors off"
    return p, z


@pytest.mark.parametrize(
    ("m", "k"),
    [(2, 0.0), (2, 5.0), (3, 1e-4), (3, 20.0), (4, 2.0), (5, 1e6), (7, 100.0), (9, 0.5), (10, 0.0), (11, 5.0)]
    + [(20, 20.0), (21, 1e6), (64, 1000.0)],
)
def test_marginal(m, k):
    """Of fewer samples than in the slow test below: it fails as rarely, and sees what is twice as far off."""
    check_marginal(m, k, torch.float32, 250_000)


@pytest.mark.parametrize(("m", "k"), [(2, 20.0), (4, 5.0), (10, 2.0), (128, 100.0)])
def test_marginal_in_double_precision(m, k):
    check_marginal(m, k, torch.float64, 300_000)


@pytest.mark.slow
@pytest.mark.parametrize("m", DIMS)
def test_marginal_everywhere(m):
    results = [
        check_marginal(m, k, dtype)
        for k in CONCENTRATIONS
        for dtype in (torch.float32, torch.float64)
        if dtype == torch.float32 or m < 512
    ]
    p, z = np.array(results).T
    print(f"\nm = {m}: {len(p)} cells, least p {p.min():.3f}, largest |z| {np.abs(z).max():.2f}")


@pytest.mark.parametrize("m", [2, 3, 4, 5, 9, 10, 33, 128, 512, 2048, 8192])
def test_quantiles(m):
    """Without chance: the distribution function at the cosine of a draw is that of the draw."""
    for dtype, tolerance in ((torch.float64, 2e-9), (torch.float32, 2e-5)):
        x = torch.linspace(-6, 6, 121, dtype=dtype)[:, None]
        for k in (0.0, 1e-3, 0.7, 3.0, 12.0, 60.0, 2e3, 1e6):
            k_tensor = torch.full((1, 1), k, dtype=dtype)
            if m == 3:
                law = cosine.in_space(-torch.special.log_ndtr(x), k_tensor, True)
            else:
                law = (cosine.on_circle if m == 2 else cosine.by_table)(
                    x, k_tensor, cosine.table(m, dtype, x.device), True
                )
            angle = np.arctan2(law.sine.double().numpy()[:, 0], law.cosine.double().numpy()[:, 0])
            error = distribution(m, k, angle) - special.ndtr(-x.double().numpy()[:, 0])
            assert np.abs(error).max() < tolerance, f"k = {k}, {dtype}"


@pytest.mark.parametrize("m", [2, 3, 4, 9, 10, 20, 128, 2048])
def test_slope_is_the_path_derivative(m):
    """The gradient in the concentration against finite differences at the same draws."""
    k = torch.tensor([1e-3, 0.3, 0.99, 1.01, 2.0, 5.0, 11.0, 30.0, 200.0, 1e4], dtype=torch.float64).repeat(200)
    loc = direction(m, torch.float64).expand(len(k), m)

    def cosines(k):
        return (rsample(loc, k, torch.Generator().manual_seed(1)) * loc).sum(-1)

    step = 1e-4 * k
    with torch.no_grad():
        expected = (cosines(k + step) - cosines(k - step)) / (2 * step)
    k.requires_grad_()
    w = cosines(k)
    (slope,) = torch.autograd.grad(w.sum(), k)
    scale = (1 - w.detach().square()) / (k.detach() + m)
    assert ((slope - expected) / scale).abs().max() < 1e-4


GRADIENTS = [(2, 1.0), (3, 500.0), (4, 3.0), (5, 2.0), (10, 20.0), (128, 5.0)]


@pytest.mark.parametrize(("m", "k"), GRADIENTS)
def test_gradient_in_the_concentration(m, k):
    """d/dk E f(w) = Cov(f(w), w), for f the identity also A'_m in closed form."""
    count = 300_000 if m < 100 else 100_000
    generator, mean = torch.Generator().manual_seed(m), direction(m, torch.float32)
    concentration = torch.full((count,), k, requires_grad=True)
    w = rsample(mean.expand(count, m), concentration, generator) @ mean
    a = mean_resultant_length(m, k)
    for f, g in (
        (lambda w: w, lambda w: w),
        (lambda w: w**3, lambda w: w**3),
        (lambda w: torch.exp(3 * w), lambda w: np.exp(3 * w)),
    ):
        (gradient,) = torch.autograd.grad(f(w).sum(), concentration, retain_graph=True)
        gradient = gradient.double()
        mean_w, mean_g = moment(m, k, lambda w: w, g)
        (covariance,) = moment(m, k, lambda w, p=mean_w, q=mean_g, g=g: (w - p) * (g(w) - q))
        error = gradient.mean() - covariance
        assert abs(error) < 4 * gradient.std() / count**0.5
    (gradient,) = torch.autograd.grad(w.sum(), concentration)
    error = gradient.double().mean() - (1 - a * a - (m - 1) / k * a)
    assert abs(error) < 4 * gradient.double().std() / count**0.5


@pytest.mark.parametrize(("m", "k"), GRADIENTS)
def test_gradient_in_the_mean_direction(m, k):
    """E (b.z)^2 = A / k + (1 - m A / k) (b.mu)^2, so its tangent gradient is 2 (1 - m A / k) (b.mu) (b - (b.mu) mu)."""
    count = 300_000 if m < 100 else 60_000
    mean, b = direction(m, torch.float64), direction(m, torch.float64, seed=1)
    loc = mean.expand(count, m).clone().requires_grad_()
    z = rsample(loc, torch.tensor(k, dtype=torch.float64).expand(count), torch.Generator().manual_seed(m))
    a, along = mean_resultant_length(m, k), b @ mean
    tangent = b - along * mean
    other = direction(m, torch.float64, seed=2)
    for f, expected in (
        ((z @ b).sum(), a * tangent),
        ((z @ b).square().sum(), 2 * (1 - m * a / k) * along * tangent),
    ):
        (gradient,) = torch.autograd.grad(f, loc, retain_graph=True)
        assert (gradient @ mean).abs().max() < 1e-12 * gradient.norm(dim=-1).max()
        for towards in (tangent, other):
            values = (gradient - expected) @ towards
            assert values.mean().abs() < 4 * values.std() / count**0.5


@pytest.mark.parametrize("m", [2, 3, 4, 11, 40])
def test_tangent_part_is_uniform(m):
    """Its component along any tangent is a uniform direction's, also among the samples nearest to the mean alone."""
    count = 200_000
    mean = direction(m, torch.float64)
    z = rsample(mean.expand(count, m), torch.full((count,), 4.0).double(), torch.Generator().manual_seed(3))
    w = z @ mean
    b = direction(m, torch.float64, seed=4)
    b = b - (b @ mean) * mean
    component = (z @ (b / b.norm())) / (1 - w * w).sqrt()
    for chosen in (component, component[w > w.median()]):
        if m == 2:
            assert abs((chosen > 0).double().mean() - 0.5) < 2 / len(chosen) ** 0.5
            assert torch.allclose(chosen.abs(), torch.ones_like(chosen))
        else:
            law = stats.beta((m - 2) / 2, (m - 2) / 2, loc=-1, scale=2)
            assert stats.kstest(chosen.clamp(-1, 1).numpy(), law.cdf).pvalue > 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [2, 3, 4, 9, 10, 64, 2048, 8192])
def test_extremes_are_finite_unit_vectors(m, dtype):
    k = torch.tensor([0.0, 1e-30, 1e-8, 1.0, 1e3, 1e8], dtype=dtype)[:, None].repeat(1, 2000 if m < 100 else 20)
    loc = direction(m, dtype).expand(*k.shape, m).clone().requires_grad_()
    k.requires_grad_()
    z = rsample(loc, k, torch.Generator().manual_seed(9))
    (z * direction(m, dtype, seed=5)).sum().backward()
    assert (z.norm(dim=-1) - 1).abs().max() < 20 * torch.finfo(dtype).eps
    assert loc.grad.isfinite().all() and k.grad.isfinite().all()
    # At k = 1e8 the squared distance has mean (m - 1) / k: within five standard errors.
    distance = (z - loc)[-1].detach().double().square().sum(-1) * 1e8 / (m - 1)
    assert abs(distance.mean() - 1) < 5 * (2 / (m - 1) / len(distance)) ** 0.5


def test_same_generator_same_samples():
    loc, k = direction(7, torch.float32).expand(50, 7), torch.full((50,), 3.0)
    first, second = (rsample(loc, k, torch.Generator().manual_seed(8)) for _ in range(2))
    assert torch.equal(first, second)
    torch.manual_seed(8)
    assert torch.equal(rsample(loc, k), first)


def test_rows_depend_on_their_own_parameters_only():
    loc, k = torch.stack([direction(6, torch.float64, seed) for seed in range(40)]), torch.linspace(0, 50, 40).double()
    other_loc, other_k = loc.flip(0).clone(), k.flip(0).clone()
    other_loc[7], other_k[7] = loc[7], k[7]
    first = rsample(loc, k, torch.Generator().manual_seed(0))
    second = rsample(other_loc, other_k, torch.Generator().manual_seed(0))
    assert torch.allclose(first[7], second[7], atol=1e-14)
    assert not torch.allclose(first[8], second[8])


@pytest.mark.parametrize("m", [2, 3, 5, 30])
@pytest.mark.parametrize("shape", [(5000,), (3, 2500), (70, 100), (2, 3, 1000)])
def test_parts_make_no_difference(m, shape, monkeypatch):
    """Large batches go in parts, expanded concentrations in their own shape: the result is the same."""
    loc = torch.nn.functional.normalize(torch.randn(*shape, m, generator=torch.Generator().manual_seed(0)), dim=-1)
    k = torch.linspace(0, 40, shape[-1])
    weight = torch.randn(*shape, m, generator=torch.Generator().manual_seed(1))

    def draw(k):
        parameters = loc.clone().requires_grad_(), k.clone().requires_grad_()
        z = rsample(parameters[0], parameters[1].expand(shape), torch.Generator().manual_seed(2))
        return z, *torch.autograd.grad((z * weight).sum(), parameters)

    monkeypatch.setattr(transport, "_PART_NUMBERS", 1 << 12)
    in_parts = draw(k)
    monkeypatch.setattr(transport, "_PART_NUMBERS", 1 << 30)
    monkeypatch.setattr(transport, "_PART_ROWS", 1 << 30)
    monkeypatch.setattr(cosine, "_ROWS", 1 << 30)
    whole, spelled_out = draw(k), draw(k.expand(shape).clone())
    for a, b in zip(in_parts, whole, strict=True):
        assert torch.allclose(a, b, atol=1e-4 if a.ndim == 1 else 1e-5, rtol=1e-3)
    assert torch.allclose(whole[0], spelled_out[0], atol=1e-6)


def test_mean_direction_from_the_same_seed():
    """The draw is then parallel to the mean, and has no tangent part but rounding: still finite."""
    for m in (2, 3, 4, 64):
        loc = direction(m, torch.float64, seed=7)
        assert rsample(loc, torch.tensor(3.0).double(), torch.Generator().manual_seed(7)).isfinite().all()


def test_empty_and_single():
    assert rsample(torch.empty(0, 4), torch.empty(0)).shape == (0, 4)
    assert rsample(direction(4, torch.float32), torch.tensor(2.0)).shape == (4,)


def test_only_wanted_gradients():
    loc, k = direction(5, torch.float32).repeat(3, 1), torch.full((3,), 2.0)
    for wanted in (loc, k):
        wanted.requires_grad_()
        rsample(loc, k).sum().backward()
        assert wanted.grad.isfinite().all()
        wanted.requires_grad_(False)
    assert not rsample(loc, k).requires_grad
    loc.requires_grad_()
    with torch.no_grad():
        assert not rsample(loc, k).requires_grad


def test_second_derivatives_are_refused():
    k = torch.full((3,), 2.0, requires_grad=True)
    z = rsample(direction(5, torch.float32).repeat(3, 1), k)
    (gradient,) = torch.autograd.grad(z.square().sum(), k, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_half_precision_and_autocast():
    loc, k = direction(12, torch.float32).repeat(3000, 1), torch.full((3000,), 30.0)
    full = rsample(loc, k, torch.Generator().manual_seed(0))
    half = rsample(loc.bfloat16(), k.bfloat16(), torch.Generator().manual_seed(0))
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), full, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rsample(loc, k, torch.Generator().manual_seed(0)), full)


def test_matmul_precision_does_not_reach_samples():
    loc, k = direction(40, torch.float32).repeat(500, 1), torch.full((500,), 30.0)
    full = rsample(loc, k, torch.Generator().manual_seed(0))
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(rsample(loc, k, torch.Generator().manual_seed(0)), full)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("m", [2, 3, 6, 20])
def test_runs_without_data(m):
    """On the meta device nothing can be read back: no host synchronisation, no loop that depends on data."""
    loc = torch.zeros(8, m, device="meta", requires_grad=True)
    k = torch.zeros(8, device="meta", requires_grad=True)
    z = rsample(loc, k)
    z.sum().backward()
    assert z.device.type == loc.grad.device.type == k.grad.device.type == "meta"


def test_bad_input():
    with pytest.raises(InputError, match="2 or more"):
        rsample(torch.ones(3, 1), torch.ones(3))


def test_table_is_bounded():
    """At the largest dimension that is spoken of, and where the series are longest."""
    for m, tolerance in ((8192, 3e-8), (4, 1e-11)):
        shape = tabulate(m, tolerance).coefficients.shape
        assert shape[1] <= 128 and shape[2] <= 256


@pytest.mark.gpu
@pytest.mark.parametrize(("m", "k"), [(2, 5.0), (3, 20.0), (5, 2.0), (20, 20.0), (128, 1e6)])
def test_marginal_on_a_gpu(m, k, no_waits):
    count = 1_000_000 if m < 100 else 200_000
    generator, mean = torch.Generator("cuda").manual_seed(0), direction(m, torch.float32).cuda()
    cosine.table(m, torch.float32, mean.device)  # made on the CPU and brought over, once
    with no_waits():
        z = rsample(mean.expand(count, m), torch.full((), k, device="cuda").expand(count), generator)
    versine = half_squared_distance(z, mean).cpu().numpy()
    assert stats.kstest(distribution(m, k, to_angle(versine)), "uniform").pvalue > 1e-5
