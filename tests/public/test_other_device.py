"""Every public function, and the generators, with all that they are given on a GPU, which is the fake one."""

from dataclasses import fields, is_dataclass
from functools import cache

import pytest
import torch
from device_log import MIXED, TO_HOST, WAIT
from fake_cuda import Away, Fake
from public_calls import CALLS, Given, activation_moments, cauchy, decoder, density, spectrum, vmf
from small_generators import GENERATORS, sngan
from torch import Tensor, nn

import analysis
import priors
from analysis.inversion.cross_entropy import Nearest
from apps.generators.latents import Gaussian
from apps.generators.sngan import Discriminator
from apps.generators.sngan_presets import architecture
from priors import InputError, zoo
from priors.reading.taps import tap
from priors.vmf import cosine
from priors.vmf.sphere import slerp

OTHER = "cuda"


@pytest.fixture
def fake(fake, monkeypatch):
    """The device, for which nothing was kept before."""
    for name in ("_table", "_gauss_rule"):
        monkeypatch.setattr(cosine, name, cache(getattr(cosine, name).__wrapped__))
    return fake


def leaves(found) -> list:
    """The tensors of a result on the CPU, and its numbers."""
    if isinstance(found, nn.Module):
        found = tuple(found.state_dict().values())
    if is_dataclass(found):
        found = tuple(getattr(found, one.name) for one in fields(found))
    if isinstance(found, tuple | list):
        return [leaf for part in found for leaf in leaves(part)]
    return [found.held.detach() if isinstance(found, Away) else found]


def same(call, fake: Fake) -> None:
    """Make sure that a call gives on the other device what it gives on the CPU."""
    torch.manual_seed(0)
    with torch.no_grad():  # a graph of modules that move would keep them where they are
        expected = leaves(call("cpu"))
    torch.manual_seed(0)
    with fake, torch.no_grad():
        found = leaves(call(OTHER))
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other.detach(), equal_nan=True, rtol=1e-4, atol=1e-4)
        else:
            assert one == (pytest.approx(other, rel=1e-4) if isinstance(other, float) else other)


SLOW = ("objective ckd", "cosine_fits")
"""What takes a second, and whose parts are called by other names."""
EACH = [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in CALLS]


@pytest.mark.parametrize("name", EACH)
def test_nothing_mixes_devices(fake, name):
    same(lambda device: CALLS[name](Given(torch.float32, device=device)), fake)


def scored(give, name):
    """An anomaly score of a batch of activations."""
    fitted = analysis.fit_anomaly_scores(give.prior(), torch.randn(40, 6).to(give.device), give.labels)
    return lambda: analysis.ANOMALY_SCORES[name](fitted, give.normal(9, 6), give.normal(9, 3))


def gauged(give, called):
    """What a prior in a gauge gives for a batch of activations."""
    prior = give.prior("mle", space="whitened", directions="fitted", activations=give.normal(40, 6), labels=give.labels)
    return lambda: called(prior, give.normal(9, 6))


def of(made, call):
    """What something that is made once gives for a batch."""
    return lambda: call(made)


def added(moments, *more):
    """Moments with a batch more."""
    return lambda: moments.add(*more)


def divergences(give):
    """Between von Mises-Fisher distributions, and from one to the uniform one."""
    one, other = vmf(give), priors.HypersphericalUniform(6, device=give.device)
    return lambda: [torch.distributions.kl_divergence(one, to) for to in (one, other)]


def cauchy_divergences(give):
    """Between spherical Cauchy distributions, and from one to the uniform and a von Mises-Fisher one."""
    one, others = cauchy(give), (cauchy(give), vmf(give), priors.HypersphericalUniform(6, device=give.device))
    return lambda: [torch.distributions.kl_divergence(one, to) for to in others]


def tapped(give):
    """What two layers of a classifier give for a batch."""
    network = zoo.build("convnet-half", classes=3, image_shape=(1, 8, 8)).eval().to(give.device)

    def call():
        with tap(network, ["body.conv1", "head:input"]) as taps:
            network(give.normal(4, 1, 8, 8))
        return taps

    return call


def great_circle(give):
    """Between two pairs of directions."""
    ends = torch.eye(6)[:2].to(give.device)
    return lambda: slerp(ends, ends.flip(0), give.part(4))


BATCHWISE = {
    "log_prob": lambda give: gauged(give, lambda prior, batch: prior.log_prob(batch)),
    "posterior": lambda give: gauged(give, lambda prior, batch: prior.posterior(batch)),
    "sample": lambda give: gauged(give, lambda prior, _: prior.sample(give.labels)),
    "activations": lambda give: gauged(give, lambda prior, _: prior.activations(give.labels)),
    "distributions": lambda give: gauged(give, lambda prior, _: prior.distributions(give.labels).rsample((2,))),
    "vMF densities": lambda give: of(vmf(give), lambda one: (one.log_prob(one.loc), one.entropy(), one.mean)),
    "vMF divergences": divergences,
    "vMF draws": lambda give: of(vmf(give), lambda one: (one.rsample((3,)), one.sample((3,)))),
    "spherical Cauchy": lambda give: of(
        cauchy(give), lambda one: (one.log_prob(one.loc), one.entropy(), one.variance, one.rsample((3,)))
    ),
    "spherical Cauchy divergences": cauchy_divergences,
    "slerp": great_circle,
    "taps": tapped,
    "activation moments": lambda give: added(activation_moments(give), give.normal(40, 6), give.labels),
    "direction moments": lambda give: added(
        priors.DirectionMoments.none(3, 6, give.device), give.normal(40, 6), give.labels
    ),
    **{
        f"spectra, {name}": lambda give, name=name: added(spectrum(give, name), give.normal(20, 1, 9, 8))
        for name in analysis.SPECTRUM_CONVENTIONS
    },
    "nearest": lambda give: of(Nearest(give.normal(5, 6), 2), lambda found: found.add(give.normal(40, 6))),
    "bits per dimension": lambda give: lambda: analysis.bits_per_dim(give.normal(40), (1, 2, 2)),
    "decoders": lambda give: of(give.network(decoder((5,))), lambda made: made(give.normal(2, 5))),
    "density draws": lambda give: of(give.network(density((5,))), lambda made: made.sample(give.normal(2, 5))),
    **{f"anomaly, {name}": lambda give, name=name: scored(give, name) for name in analysis.ANOMALY_SCORES},
}
"""What is called for batch after batch, by name; others answer with numbers, or look at what they are given."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", BATCHWISE)
def test_what_is_called_for_every_batch_waits_for_none(fake, name, precision):
    with fake as log, torch.no_grad(), torch.autocast(OTHER, torch.bfloat16, enabled=precision == "bfloat16"):
        call = BATCHWISE[name](Given(torch.float32, device=OTHER))
        call()
        log.clear()
        call()
        assert log.kinds(MIXED, WAIT, TO_HOST) == [], "its batch alone is brought to the device"


def test_no_step_of_a_search_for_noise_is_waited_for(fake):
    """However many steps, probes and noisy images there are, and of whatever grid."""
    waits = []
    with fake as log:
        images = torch.rand(2, 1, 8, 8).to(OTHER)
        network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()).to(OTHER).eval()
        for more in (1, 2, 3):
            log.clear()
            options = {"steps": more, "samples": more, "check": 2 * more, "probes": more}
            analysis.discarded_information(network, images, grid=3, **options)
            waits.append(log.kinds(MIXED, WAIT, TO_HOST))
    assert waits[0] and waits[1] == waits[2] == waits[0], waits  # what is checked at the start is


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_draws_there_for_labels_and_by_a_source_on_the_cpu(fake, name):
    torch.manual_seed(1)
    model = GENERATORS[name]().eval()
    images, labels = torch.rand(2, 1, 2, 2).round(), torch.tensor([0, 2])

    def drawn(device):
        there, source = model.to(device), torch.Generator().manual_seed(0)
        found = [there.generate(labels, source), there.generate(["cat", "emu"], source)]
        if name.startswith("hvae"):
            own = images.to(device), labels.to(device)
            found += [there(*own, source), there.evidence(*own, 3, source)]
        return found

    same(drawn, fake)


def test_networks_run_there(fake):
    torch.manual_seed(1)
    critic = Discriminator(architecture("mimicry", (1, 8, 8), 4, 2), 3).eval()
    networks = [zoo.build(name, classes=3, image_shape=(1, 32, 32)).eval() for name in ("mlp", "convnet-half")]
    same(lambda device: critic.to(device)(torch.ones(2, 1, 8, 8).to(device), torch.tensor([0, 2]).to(device)), fake)
    for network in networks:
        same(lambda device, network=network: network.to(device)(torch.ones(2, 1, 32, 32).to(device)), fake)


def test_labels_out_of_range_are_said_where_they_can_be_looked_at():
    with pytest.raises(InputError, match="label 3 is out of range"):
        sngan(Gaussian(5)).generate(torch.tensor([3]))
