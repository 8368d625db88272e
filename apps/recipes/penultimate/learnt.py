"""Not the paper's: what a classifier's prior is worth beside one that is learnt with the model (HVAE-M)."""

from apps.recipes.penultimate.likelihoods import HVAE, HVAE_L, SIXTY, Model, likelihoods
from apps.recipes.table import all_against

_MODELS = {
    "hvae": HVAE,
    "hvae-l": HVAE_L,
    "hvae-m": Model("hvae-m"),
    "hvae-m-concentrations": Model("hvae-m", classifier=True, concentration=True, flags="--learn concentrations"),
    "hvae-m-directions": Model("hvae-m", concentration=True, flags="--learn directions"),
}

TABLES = {
    "4-learnt": likelihoods(
        SIXTY,
        "Table 4 by a learnt prior: generative modelling of MNIST in nats; nothing of it is published",
        _MODELS,
        ("10", "20"),
        seeds=2,
        against=all_against(tuple(_MODELS), "hvae-l"),
        note=(
            "hvae-m learns the directions and concentrations of its prior with the model, from random directions and "
            "20; hvae-m-concentrations has the classifier's directions, hvae-m-directions the concentration 20. "
            "Differences of log p(x) are from hvae-l, image by image."
        ),
    )
}
