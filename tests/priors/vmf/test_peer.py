"""Beside hyperspherical-vae (s-vae-pytorch), where importable: the same numbers where its own are finite.

It is on no package index; put a clone's folder on PYTHONPATH. `python tests/bench/bench_peer.py` measures where the
two part.
"""

import pytest
import torch

from priors import HypersphericalUniform, VonMisesFisher

peer = pytest.importorskip("hyperspherical_vae.distributions", reason="hyperspherical-vae is not installed")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def both(m, concentration, count=64):
    torch.manual_seed(0)
    loc = torch.nn.functional.normalize(torch.randn(count, m), dim=-1)
    return VonMisesFisher(loc, concentration), peer.VonMisesFisher(loc, torch.full((count, 1), concentration))


@pytest.mark.parametrize(("m", "concentration"), [(3, 5.0), (5, 2.0), (11, 20.0), (21, 20.0), (21, 80.0), (41, 100.0)])
def test_log_prob_agrees(m, concentration):
    ours, theirs = both(m, concentration)
    x = torch.nn.functional.normalize(ours.loc + 0.3 * torch.randn_like(ours.loc), dim=-1)
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize(("m", "concentration"), [(3, 5.0), (5, 2.0), (11, 20.0), (21, 20.0), (21, 80.0), (41, 100.0)])
def test_divergence_from_uniform_agrees_with_the_ambient_dimension_renamed(m, concentration):
    ours, theirs = both(m, concentration)
    expected = torch.distributions.kl_divergence(theirs, peer.HypersphericalUniform(m - 1))
    assert torch.allclose(
        torch.distributions.kl_divergence(ours, HypersphericalUniform(m)), expected, rtol=1e-4, atol=2e-4
    )
