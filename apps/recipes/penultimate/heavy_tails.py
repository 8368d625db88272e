"""Not the paper's: the posterior of arXiv 2506.21278, a spherical Cauchy distribution, beside the one of table 4."""

from apps.recipes.penultimate.likelihoods import HVAE, HVAE_L, SIXTY, Model, likelihoods

_CAUCHY = "--posterior spherical-cauchy"
_MODELS = {
    "hvae": HVAE,
    "hvae-cauchy": Model("hvae", flags=_CAUCHY),
    "hvae-l": HVAE_L,
    "hvae-l-cauchy": Model("hvae-l", classifier=True, concentration=True, flags=_CAUCHY),
}

TABLES = {
    "4-cauchy": likelihoods(
        SIXTY,
        "Table 4 by spherical Cauchy posteriors: generative modelling of MNIST in nats; nothing of it is published",
        _MODELS,
        ("10", "20"),
        seeds=2,
        against={"hvae-cauchy": "hvae", "hvae-l-cauchy": "hvae-l"},
        note=(
            "-cauchy has a spherical Cauchy posterior by rho = sigmoid(.), as its authors' code, the others a von "
            "Mises-Fisher one by kappa = 1 + softplus(.); the priors are the same."
        ),
    ),
}
