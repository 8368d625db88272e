"""Not the paper's: what a classifier's prior is worth where encoder and decoder are stronger than the paper's."""

from dataclasses import replace

from apps.recipes.penultimate.likelihoods import HVAE, HVAE_L, SIXTY, likelihoods

_PLAIN = {"hvae": HVAE, "hvae-l": HVAE_L}
_CONVOLUTIONAL = {f"{row}-conv": replace(model, flags="--networks conv") for row, model in _PLAIN.items()}

TABLES = {
    "4-conv": likelihoods(
        SIXTY,
        "Table 4 by convolutional networks: generative modelling of MNIST in nats; nothing of it is published",
        _PLAIN | _CONVOLUTIONAL,
        columns=("20",),
        seeds=2,
        against={"hvae-l": "hvae", "hvae-conv": "hvae", "hvae-l-conv": "hvae-conv"},
        note=(
            "-conv: encoder and decoder are convolutional, as train hvae --networks conv has them. Differences of log "
            "p(x), image by image, are from the same model with fully connected networks for hvae-conv, and from the "
            "one without a classifier's prior for hvae-l and hvae-l-conv."
        ),
    ),
}
