"""Tensors of every type, given to every public function: right, or refused in one line; and nothing else."""

from dataclasses import fields, is_dataclass

import pytest
import torch
from public_calls import CALLS, REST, Given, convolutional, decoder, density, distilled, source
from torch import Tensor, nn

import analysis
import distill
import priors
from distill.terms import terms
from priors import InputError

SHORT = (torch.float16, torch.bfloat16)
IMAGES_IN_FULL = (
    *("PixelCNN", "PixelCNN.initialise", "decompose", "full_jacobian_saliency"),
    *("pixel_sensitivity", "linear_entropy", "feature_spread", "reconstruction_uncertainty", "stretches"),
    *("minimal_perturbation", "judged_perturbation"),
    *("discarded_information", "discarded_information linear", "rescaled_network", "halved_network"),
)
DIRECTIONS = ("VonMisesFisher", "SphericalCauchy", "HypersphericalUniform")


pytestmark = pytest.mark.usefixtures("as_a_user")


def refuses(name: str, dtype: torch.dtype) -> bool:
    """Whether a function refuses a type: whole numbers all do, and half precision where it has too few digits."""
    return dtype not in (torch.float32, torch.float64) and (
        dtype not in SHORT or name in IMAGES_IN_FULL or name.split()[0].split(".")[0] in DIRECTIONS
    )


def leaves(found) -> list:
    """The tensors and numbers of a result."""
    if isinstance(found, nn.Module):
        return leaves(tuple(found.state_dict().values()))
    if is_dataclass(found):
        found = tuple(getattr(found, one.name) for one in fields(found))
    if isinstance(found, tuple | list):
        return [leaf for part in found for leaf in leaves(part)]
    return [found]


def test_every_public_name_is_called_or_has_nothing_to_compute():
    called = {name.split()[0].split(".")[0] for name in CALLS}
    for package in (priors, analysis, distill):
        rest = set(REST[package.__name__].split())
        assert rest <= set(package.__all__) and set(package.__all__) - rest <= called, package.__name__
        assert not rest & called


@pytest.mark.parametrize("name", CALLS)
def test_a_type_gives_what_its_values_give_in_single_precision_or_one_line(name):
    for dtype in (torch.float64, *SHORT, torch.uint8, torch.int64):
        if name.startswith("objective") and dtype not in (torch.bfloat16, torch.uint8):
            continue  # images alone are of this type
        if refuses(name, dtype):
            with pytest.raises(InputError, match="float") as error:
                CALLS[name](Given(dtype, torch.uint8 if dtype == torch.int64 else dtype))
            assert "\n" not in str(error.value)
        else:
            check_same(name, dtype)


def check_same(name: str, dtype: torch.dtype) -> None:
    """Make sure that a function gives what it gives in single precision, of the values that the type holds."""
    # The numbers of half precision, which single precision holds; of double precision those of single.
    shown = dtype if dtype in SHORT else torch.float32
    torch.manual_seed(0)
    found = leaves(CALLS[name](Given(dtype, shown)))
    torch.manual_seed(0)
    expected = leaves(CALLS[name](Given(torch.float32, shown)))
    assert len(found) == len(expected)
    close = 1e-2 if name == "calibration" else 2e-5  # whose numbers are rounded
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            assert not one.is_floating_point() or one.dtype in (torch.float32, torch.float64)
            if name in ("VonMisesFisher.sample", "SphericalCauchy.sample"):  # double precision draws others
                assert one.dtype == dtype
                continue
            torch.testing.assert_close(one, other, check_dtype=False, rtol=close, atol=close, equal_nan=True)
        elif isinstance(one, float):
            assert one == pytest.approx(other, rel=close, abs=close)
        else:
            assert one == other


@pytest.mark.parametrize("labels", [torch.uint8, torch.int32, torch.int64, torch.float32, torch.bool], ids=str)
def test_labels_are_whole_numbers_of_any_type(labels):
    give = Given(torch.float32)
    own = give.labels.to(labels)
    calls = (
        lambda own: analysis.normalised_accuracy(give.normal(40, 6), own, give.normal(3, 6)),
        lambda own: analysis.calibration(give.log_probabilities(), own).ece,
        lambda own: analysis.fit_anomaly_scores(give.prior(), give.normal(40, 6), own).norms.mean.tolist(),
        lambda own: priors.cosine_fits(give.prior(), give.normal(40, 6), own),
    )
    for call in calls:
        if labels in (torch.float32, torch.bool):
            with pytest.raises(InputError, match="class numbers were expected"):
                call(own)
        else:
            assert call(own) == call(give.labels)


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_densities_and_decoders_of_half_precision_are_refused(dtype):
    images, context = Given(torch.float32).images, torch.ones(2, 5)
    calls = (
        lambda: density((5,)).to(dtype)(images, context),
        lambda: density((5,)).to(dtype).log_prob(images, context),
        lambda: density((5,)).to(dtype).sample(context, source()),
        lambda: decoder((5,)).to(dtype)(context),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"weights of this .* float32 or float64 was expected"):
            call()
    assert density().double().log_prob(images).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):  # which keeps the weights
        assert density().log_prob(images).dtype == torch.float32


@pytest.mark.parametrize("name", terms())
def test_networks_of_any_type_are_shown_images_in_it(name):
    give = Given(torch.float32)
    expected = distilled(give, name)
    for student, teacher, loose in (
        (torch.float32, torch.float64, 1e-4),
        (torch.float64, torch.float16, 0.01),
        (torch.bfloat16, torch.float32, 0.1),
    ):
        found = distilled(give, name, student, teacher)
        # Single precision, or that of networks in double where the loss is of their slopes.
        assert found.dtype in (torch.float32, *((torch.float64,) if "jacobian" in name else ()))
        torch.testing.assert_close(found.float(), expected, rtol=loose, atol=loose)
        found.backward()


class Mixed(nn.Module):
    """A body in single precision under a head in double."""

    def __init__(self):
        super().__init__()
        self.body, self.head = convolutional(5)[:-1], convolutional(5)[-1].double()

    def forward(self, images):
        return self.head(self.body(images).double())


def test_a_network_of_two_types_is_shown_images_in_its_first():
    give = Given(torch.float64, torch.float32)
    found = distill.objective("hinton", student=convolutional(4), teacher=Mixed(), image_shape=(1, 4, 4))
    plain = distill.objective("hinton", student=convolutional(4), teacher=convolutional(5), image_shape=(1, 4, 4))
    torch.testing.assert_close(*(one(give.images, give.labels[:2]).total for one in (found, plain)))
