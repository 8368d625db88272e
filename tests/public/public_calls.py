"""Every public function of the libraries that computes with tensors, called once on small made-up numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import analysis
import distill
import priors
from analysis.inversion.cross_entropy import Nearest, nearest, unit_distance
from distill.terms import terms
from priors import zoo

N, M, CLASSES = 40, 6, 3


class Given:
    """What calls are given: the same numbers whatever their type and their device.

    Args:
        dtype: of what is looked at.
        rounded: a type that its values are rounded to first; None: none.
        device: of all tensors.
    """

    def __init__(self, dtype: torch.dtype, rounded: torch.dtype | None = None, device: str = "cpu"):
        self.dtype, self.rounded, self.device = dtype, rounded or dtype, device

    def like(self, values: Tensor) -> Tensor:
        """Numbers in the type that is tried."""
        return values.to(self.rounded).to(self.dtype).to(self.device)

    def normal(self, *shape: int, seed: int = 0) -> Tensor:
        """Normal ones."""
        return self.like(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))

    def part(self, *shape: int) -> Tensor:
        """Between 0 and 1."""
        return self.like(torch.rand(shape, generator=torch.Generator().manual_seed(3)))

    def log_probabilities(self) -> Tensor:
        """Of classes; not rounded twice, since those of fewer digits do not sum to one."""
        found = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(4)).log_softmax(1)
        return found.to(self.device, self.dtype)

    @property
    def labels(self) -> Tensor:
        """Of N rows."""
        return (torch.arange(N) % CLASSES).to(self.device)

    @property
    def images(self) -> Tensor:
        """Two grey ones, on the grid of a density."""
        levels = torch.arange(32).reshape(2, 1, 4, 4) * 8
        return levels.to(self.device, self.dtype) if self.dtype == torch.uint8 else self.like(levels / 255)

    def prior(self, concentration: Any = 5.0, **evidence: Tensor) -> priors.ClassifierPrior:
        """In float32."""
        weight = torch.randn(CLASSES, M, generator=torch.Generator().manual_seed(1)).to(self.device)
        return priors.ClassifierPrior.from_weight(weight, concentration, **evidence)

    def network(self, network: nn.Module) -> nn.Module:
        """On the device, in float32 but for what a test makes of it, without dropout."""
        return network.to(self.device).eval()


def source() -> torch.Generator:
    """Of draws, on the CPU."""
    return torch.Generator().manual_seed(2)


def density(context: tuple[int, ...] = (), channels: int = 1) -> nn.Module:
    """A small one."""
    torch.manual_seed(0)
    return analysis.PixelCNN((channels, 4, 4), context, layers=1, filters=2)


def decoder(context: tuple[int, ...]) -> nn.Module:
    """A small one."""
    torch.manual_seed(0)
    return analysis.UpConvolution((1, 8, 8), context, filters=2)


def two_track(features: tuple[int, ...]) -> nn.Module:
    """The decoder of reconstruction uncertainty, narrow."""
    torch.manual_seed(0)
    return analysis.TwoTrackDecoder((1, 8, 8), features, width=2)


def rebuilding() -> nn.Module:
    """An auto-encoder of a small network's layers."""
    torch.manual_seed(0)
    return analysis.AutoEncoder.of(zoo.build("convnet-half", classes=2, image_shape=(1, 8, 8)), width=2)


def uncertain(give: Given) -> tuple[Tensor, ...]:
    """Of what a decoder of three numbers makes of a network's logits, at two images of its type."""
    network, images = looked_into(give)
    torch.manual_seed(0)
    decoder = give.network(analysis.TwoTrackDecoder((1, 4, 4), (CLASSES,), width=2))
    found = analysis.reconstruction_uncertainty(network, decoder, images, grid=2, steps=2, samples=2, measured=4)
    return found.entropy, found.sigma, found.achieved


def convolutional(width: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A classifier of the user's own."""
    torch.manual_seed(width)
    body = [nn.Conv2d(1, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)]
    top = [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(width)]
    return nn.Sequential(*body, nn.ReLU(), *top, nn.Linear(width, CLASSES)).to(dtype)


def scored(give: Given, score: Callable) -> Tensor:
    """An anomaly score."""
    fitted = analysis.fit_anomaly_scores(give.prior(), torch.randn(N, M).to(give.device), give.labels)
    return score(fitted, give.normal(N, M), give.normal(N, CLASSES))


def near(give: Given) -> Any:
    """Neighbours in candidates that come in parts."""
    found = Nearest(give.normal(5, M), 2)
    found.add(give.normal(N, M, seed=5))
    found.add(give.normal(N, M, seed=6))
    return found.found()


def distilled(
    give: Given, term: str, student: torch.dtype = torch.float32, teacher: torch.dtype = torch.float32
) -> Tensor:
    """The first phase of an objective of labels and a term, of images of the type given."""
    objective = distill.objective(
        term if term == "ce" else f"ce+{term}",
        student=convolutional(4, student).to(give.device),
        teacher=convolutional(5, teacher).to(give.device),
        prior=give.prior(),
        class_means=lambda temperature: torch.eye(give.prior().classes).div(temperature).softmax(1),
        activation_means=lambda: torch.eye(give.prior().classes, 5),
        image_shape=(1, 4, 4),
        labels=give.labels,
        student_taps=("2", "4"),
        teacher_taps=("2", "4"),
        generator=source(),
    ).to(give.device)
    for memory in objective.memories.values():
        memory.to(give.device)
    step = torch.Generator().manual_seed(0)  # a device has draws of its own
    index = torch.arange(2).to(give.device)
    return objective(give.images, give.labels[:2], index, phase=objective.phases[0], generator=step, passed=0.5).total


def activation_moments(give: Given) -> priors.ActivationMoments:
    """Of N rows."""
    return priors.ActivationMoments.none(CLASSES, M, give.device).add(give.normal(N, M), give.labels)


def half(give: Given) -> Tensor:
    """Which pixels of two images of 3x4 are removed: six of each, drawn at random."""
    ranks = analysis.salience_ranks(analysis.random_maps(0, torch.arange(2).to(give.device), 3, 4))
    return analysis.removal_mask(ranks, 0.5, "most")


def spectrum(give: Given, convention: str = "power") -> analysis.SpectrumMoments:
    """Of 20 maps of a channel."""
    own = analysis.SPECTRUM_CONVENTIONS[convention]
    return analysis.SpectrumMoments.none((9, 8), own, give.device).add(give.normal(20, 1, 9, 8))


def decomposed(give: Given) -> tuple[Tensor, ...]:
    """Parts of the sum that a network of the images' type is at two of them."""
    dtype = give.dtype if give.dtype in (torch.float32, torch.float64) else torch.float32
    found = analysis.decompose(give.network(convolutional(4, dtype)), give.images, give.labels[:2])
    maps = [term.map for term in found.terms if term.map is not None]
    return found.output, found.jacobian, *maps, *found.by_layer().values()


def salient(give: Given) -> Tensor:
    """Maps of two images, by a network of their type."""
    dtype = give.dtype if give.dtype in (torch.float32, torch.float64) else torch.float32
    found = analysis.decompose(give.network(convolutional(4, dtype)), give.images, give.labels[:2])
    return analysis.full_jacobian_saliency(found)


def looked_into(give: Given) -> tuple[nn.Module, Tensor]:
    """A network of the type of two images, and them."""
    dtype = give.dtype if give.dtype in (torch.float32, torch.float64) else torch.float32
    return give.network(convolutional(4, dtype)), give.images


def rescaled(give: Given, revise: Callable) -> nn.Module:
    """A network of the type of two images, with a layer revised."""
    network, images = looked_into(give)
    return revise(network, analysis.neighbouring_layers(network, images)[0], images)


def stretched(give: Given) -> tuple[Tensor, ...]:
    """What two parts of a network of the images' type add."""
    dtype = give.dtype if give.dtype in (torch.float32, torch.float64) else torch.float32
    found = analysis.stretches(give.network(convolutional(4, dtype)), give.images, ["1"], give.labels[:2])
    return found.input, found.added, found.after, found.shares


def vmf(give: Given) -> priors.VonMisesFisher:
    """Two of them."""
    return priors.VonMisesFisher(give.like(torch.eye(M)[:2]), give.like(torch.tensor([5.0, 50.0])))


def cauchy(give: Given) -> priors.SphericalCauchy:
    """Two of them."""
    return priors.SphericalCauchy(vmf(give).loc, vmf(give).concentration)


CALLS: dict[str, Callable[[Given], Any]] = {
    "penultimate": lambda give: priors.penultimate(*looked_into(give)),
    "ClassifierPrior": lambda give: (lambda made: (made.loc, made.bias, made.concentration))(
        priors.ClassifierPrior.from_weight(give.normal(CLASSES, M), 5.0, give.normal(CLASSES))
    ),
    "ClassifierPrior mle": lambda give: give.prior("mle", activations=give.normal(N, M), labels=give.labels),
    "ClassifierPrior norms": lambda give: give.prior("norms", activations=give.normal(N, M)),
    "ClassifierPrior in a gauge": lambda give: (lambda made: (made.loc, made.concentration, made.norm))(
        give.prior("fitted", space="whitened", directions="fitted", activations=give.normal(N, M), labels=give.labels)
    ),
    "ClassifierPrior.activations": lambda give: give.prior(
        space="centred", directions="means", activations=give.normal(N, M), labels=give.labels
    ).activations([0, 2], source()),
    "ActivationMoments": activation_moments,
    "DirectionMoments": lambda give: priors.DirectionMoments.none(CLASSES, M, give.device).add(
        give.normal(N, M), give.labels
    ),
    "fit_space": lambda give: priors.fit_space("whitened", activation_moments(give), "abc").bring(
        give.normal(N, M).double()
    ),
    "ClassifierPrior.log_prob": lambda give: give.prior().log_prob(give.normal(N, M)),
    "ClassifierPrior.posterior": lambda give: give.prior().posterior(give.normal(N, M)),
    "VonMisesFisher": lambda give: (vmf(give).log_prob(vmf(give).loc), vmf(give).entropy()),
    "VonMisesFisher.sample": lambda give: vmf(give).sample((3,), source()),
    "VonMisesFisher kl": lambda give: torch.distributions.kl_divergence(vmf(give), vmf(give)),
    "VonMisesFisher kl to uniform": lambda give: torch.distributions.kl_divergence(
        vmf(give), priors.HypersphericalUniform(M, device=give.device)
    ),
    "SphericalCauchy": lambda give: (cauchy(give).log_prob(vmf(give).loc), cauchy(give).entropy()),
    "SphericalCauchy.sample": lambda give: cauchy(give).sample((3,), source()),
    "SphericalCauchy kl": lambda give: torch.distributions.kl_divergence(cauchy(give), vmf(give)),
    "HypersphericalUniform": lambda give: priors.HypersphericalUniform(M).log_prob(vmf(give).loc),
    "cosine_fits": lambda give: priors.cosine_fits(give.prior(), give.normal(N, M), give.labels),
    "kolmogorov_smirnov": lambda give: priors.kolmogorov_smirnov(give.part(N), M, 5.0),
    "solve_concentration": lambda give: priors.solve_concentration(give.part(4), M),
    "solve_concentration by a deficit": lambda give: priors.solve_concentration(give.part(4), M, deficit=0.25),
    "solve_concentration of a number by deficits": lambda give: priors.solve_concentration(
        0.75, M, deficit=give.part(4)
    ),
    "normalised_accuracy": lambda give: analysis.normalised_accuracy(
        give.normal(N, M), give.labels, give.normal(CLASSES, M, seed=1), give.normal(CLASSES)
    ),
    "calibration": lambda give: analysis.calibration(give.log_probabilities(), give.labels),
    "fit_anomaly_scores": lambda give: (lambda made: (made.norms, made.gaussians))(
        analysis.fit_anomaly_scores(give.prior(), give.normal(N, M), give.labels)
    ),
    **{f"ANOMALY_SCORES {name}": partial(scored, score=score) for name, score in analysis.ANOMALY_SCORES.items()},
    "noise_bounds": lambda give: analysis.noise_bounds(give.normal(N, M), [0.1, 1.0]),
    "density_bound": lambda give: analysis.density_bound(
        give.normal(N, M), give.normal(9, M, seed=1), 0.1, generator=source()
    ),
    "binned": lambda give: analysis.binned(give.normal(N, M), 3),
    "binned_by_width": lambda give: analysis.binned_by_width(give.normal(N, M), 0.7),
    "bits_per_dim": lambda give: analysis.bits_per_dim(give.normal(N), (1, 2, 2)),
    "negative_cross_entropy": lambda give: analysis.negative_cross_entropy(give.normal(N), 10),
    "paired_difference": lambda give: analysis.paired_difference(give.normal(N), give.normal(N, seed=1)),
    "increases": lambda give: analysis.increases({"a": give.normal(N), "b": give.part(N)}),
    "neighbour_entropies": lambda give: analysis.neighbour_entropies(
        give.normal(N, M), variance=0.1, generator=source()
    ),
    "nearest": lambda give: nearest(give.normal(5, M), give.normal(N, M, seed=5), 2),
    "Nearest": near,
    "unit_distance": lambda give: unit_distance(give.normal(5, M), give.normal(5, M, seed=1)),
    "squared_error": lambda give: analysis.squared_error(give.images, give.part(2, 1, 4, 4)),
    "UpConvolution": lambda give: give.network(decoder((5,)))(give.normal(2, 5)),
    "UpConvolution of maps": lambda give: give.network(decoder((5, 4, 4)))(give.normal(2, 5, 4, 4)),
    "PixelCNN": lambda give: give.network(density()).log_prob(give.images),
    "PixelCNN.initialise": lambda give: give.network(density()).initialise(give.images),
    "PixelCNN of a context": lambda give: give.network(density((5,))).log_prob(
        Given(torch.float32, device=give.device).images, give.normal(2, 5)
    ),
    "PixelCNN of maps": lambda give: give.network(density((5, 2, 2))).log_prob(
        Given(torch.float32, device=give.device).images, give.normal(2, 5, 2, 2)
    ),
    "PixelCNN.sample": lambda give: give.network(density((5,))).sample(give.normal(2, 5), source()),
    "LogisticMixture": lambda give: analysis.LogisticMixture().log_prob(
        give.normal(2, 100, 2, 2), torch.zeros(2, 3, 2, 2).to(give.device)
    ),
    "LogisticMixture.sample": lambda give: analysis.LogisticMixture().sample(give.normal(2, 100), source()),
    "PixelSoftmax": lambda give: analysis.PixelSoftmax().log_prob(
        give.normal(2, 256, 2, 2), torch.zeros(2, 1, 2, 2).to(give.device)
    ),
    "PixelSoftmax.sample": lambda give: analysis.PixelSoftmax().sample(give.normal(2, 256), source()),
    "TwoTrackDecoder": lambda give: give.network(two_track((5,)))(give.normal(2, 5)),
    "TwoTrackDecoder of maps": lambda give: give.network(two_track((5, 4, 4)))(give.normal(2, 5, 4, 4)),
    "AutoEncoder": lambda give: give.network(rebuilding())(give.normal(2, 1, 8, 8)),
    "reconstruction_uncertainty": lambda give: uncertain(give),
    "folded_decoder": lambda give: analysis.folded_decoder(give.network(two_track((5,))), give.part(5)).first.weight,
    "information_bottleneck": lambda give: (
        analysis.information_bottleneck(
            lambda z: z @ torch.eye(5, CLASSES).to(z),
            give.normal(N, 5),
            give.labels,
            give.normal(5),
            give.part(5),
            steps=2,
        ).total
    ),
    "information_concentration": lambda give: analysis.information_concentration(
        give.normal(2, 1, 3, 4), (torch.arange(40) % 3 > 0).view(2, 4, 5).to(give.device)
    ),
    "salience_ranks": lambda give: analysis.salience_ranks(give.normal(2, 3, 4)),
    "filled": lambda give: analysis.filled(give.part(2, 3, 3, 4), half(give), 0.5),
    "imputed": lambda give: analysis.imputed(give.part(2, 3, 3, 4), half(give), give.normal(2, 3, 3, 4)),
    "sobel_maps": lambda give: analysis.sobel_maps(give.part(2, 3, 5, 4)),
    "blurred_maps": lambda give: analysis.blurred_maps(give.normal(2, 5, 4), 1.5),
    "mass_inside": lambda give: analysis.mass_inside(give.part(2, 3, 4), half(give)),
    "inside_share": lambda give: analysis.inside_share(give.part(N), give.part(N).flip(0)),
    "fractional_change": lambda give: analysis.fractional_change(give.normal(N, 1), give.normal(N, 2, seed=1)),
    "perturbation_curve": lambda give: analysis.perturbation_curve((0.1, 0.5), give.part(N, 2)),
    "score_difference": lambda give: analysis.score_difference(give.part(N, 2), give.normal(N, 2)),
    "SpectrumMoments": lambda give: (lambda made: (made.power, made.total, made.square))(spectrum(give)),
    **{
        f"SPECTRUM_CONVENTIONS {name}": lambda give, name=name: spectrum(give, name).total
        for name in analysis.SPECTRUM_CONVENTIONS
    },
    "radial_spectrum": lambda give: (lambda found: (found.value, found.standard_error))(
        analysis.radial_spectrum(spectrum(give))
    ),
    "regression_exponent": lambda give: (lambda found: (found.exponent, found.sampling_error))(
        analysis.regression_exponent(analysis.radial_spectrum(spectrum(give)))
    ),
    "whittle": lambda give: (lambda found: (found.exponent, found.fisher_error, found.sandwich_error))(
        analysis.whittle(spectrum(give))
    ),
    "radial_autocorrelation": lambda give: (lambda found: (found.value, found.length))(
        analysis.radial_autocorrelation(spectrum(give))
    ),
    "kernel_transform": lambda give: torch.view_as_real(analysis.kernel_transform(give.normal(2, 3, 3), (8, 7))),
    "kernel_spectrum": lambda give: analysis.kernel_spectrum(give.normal(2, 3, 3), give.part(4)),
    "spectrum_of_layers": lambda give: tuple(
        found.exponent for found in analysis.spectrum_of_layers([give.normal(2, 3, 3, 3)], (8, 7))
    ),
    "decompose": lambda give: decomposed(give),
    "full_jacobian_saliency": lambda give: salient(give),
    "pixel_sensitivity": lambda give: (lambda found: (found.value, found.spread, found.mean_log_error))(
        analysis.pixel_sensitivity(*looked_into(give), grid=2, probes=2)
    ),
    "linear_entropy": lambda give: (lambda found: (found.sigma, found.entropy, found.achieved))(
        analysis.linear_entropy(analysis.pixel_sensitivity(*looked_into(give), grid=2), cap=0.02)
    ),
    "feature_spread": lambda give: (lambda found: (found.value, found.error, found.mean))(
        analysis.feature_spread(*looked_into(give), samples=2)
    ),
    "discarded_information linear": lambda give: (lambda found: (found.entropy, found.achieved, found.noise))(
        analysis.discarded_information(*looked_into(give), grid=2, method="linear")
    ),
    "rescaled_network": lambda give: rescaled(give, analysis.rescaled_network),
    "halved_network": lambda give: rescaled(give, analysis.halved_network),
    "minimal_perturbation": lambda give: (lambda found: (found.norm, found.reached))(
        analysis.minimal_perturbation(*looked_into(give), torch.arange(2, device=give.device), steps=20)
    ),
    "judged_perturbation": lambda give: (lambda found: (found.norm, found.reached))(
        analysis.judged_perturbation(*looked_into(give), give.images.flip(0), torch.arange(2, device=give.device))
    ),
    "stretches": lambda give: stretched(give),
    "layer_agreement": lambda give: (lambda found: (found.correlation, found.lowest, found.highest))(
        analysis.layer_agreement([give.normal(N, 2)], [give.normal(N, 2, seed=1)])
    ),
    "discarded_information": lambda give: (lambda found: (found.entropy, found.achieved, found.mean))(
        analysis.discarded_information(*looked_into(give), grid=2, steps=2, samples=2, check=2)
    ),
    **{f"objective {term}": partial(distilled, term=term) for term in terms()},
}
"""By name (a public one, and what of it): what is called."""

REST = {
    "priors": "ClassPosterior ClassSummary Provenance Evidence strategy InputError CosineFit find_head Taps "
    "find_module tap Gauge Space",
    "analysis": "random_maps central_map removal_mask CurveDifference InsideShare Perturbation PerturbationCurve "
    "CapturedSampler PixelDistribution anomaly_score Calibration NormalisedAccuracy DensityBound "
    "NoiseBounds Binned ConditionalDensity NegativeCrossEntropy uniform_nats NeighbourEntropy ExponentBias "
    "exponent_bias SpectrumConvention spectrum_convention power_law_fields WhittleExponent RadialSpectrum "
    "RegressionExponent RadialAutocorrelation implied_autocorrelation KernelSpectrum LayerSpectrum DepthTrend "
    "depth_trend BiasTerm Bottleneck Decomposition LayerTerm Discarded FeatureSpread LinearEntropy PixelSensitivity "
    "ReconstructionUncertainty Stretches Agreement NeighbouringLayers neighbouring_layers",
    "distill": "needs_of weights_of derivative batch_statistics gather_with_gradients Given Loss Needs Setting Shared "
    "Term Trace Objective WeightedSum",
}
"""By package, its other public names: results, protocols, what only hands on, and what is called within the above."""
