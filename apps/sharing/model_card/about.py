"""What a model is and where its limits are, in sentences."""

from typing import Any

from apps.command.console import counted
from apps.sharing.model_card.markdown import text
from priors.zoo.catalogue import catalogue

_HVAE = {
    "hvae": "It is unconditional: z is uniform on the sphere.",
    "hvae-c": "The decoder is given the class beside z, which is uniform on the sphere.",
    "hvae-l": (
        "It draws images of a class: z of class i is von Mises-Fisher around the i-th column of a classifier's final "
        "layer. That prior is stored with the weights, so the classifier is not needed."
    ),
    "hvae-m": (
        "It draws images of a class: z of class i is von Mises-Fisher around a direction of its own, a prior of which "
        "the directions, the concentrations or both were learnt with the model."
    ),
}
_POSTERIORS = {"vmf": "von Mises-Fisher", "spherical-cauchy": "spherical Cauchy"}
"""What sentences call them, by what `--posterior` does."""
_LATENTS = {
    "gaussian": "independent standard normal numbers",
    "uniform-sphere": "uniform on a sphere",
    "vmf": (
        "von Mises-Fisher around the class's column of a classifier's final layer, on a sphere; that prior is stored "
        "with the weights, so the classifier is not needed"
    ),
}


def about(kind: str, model: Any, described: dict[str, Any]) -> str:
    """What the model is.

    Args:
        kind: "classifier", "hvae", "sngan" or another generator's.
        model: loaded.
        described: its `model.json`.
    """
    pixels = " x ".join(map(str, model.image_shape or ("any",)))
    classes = len(model.class_names)
    if kind == "classifier":
        own = described.get("wrapped") or {}
        name = (described.get("architecture") or {}).get("name") or own.get("kind", "network")
        entry = next((entry for entry in catalogue() if entry.name == name and entry.paper), None)
        source = f" ({entry.paper})" if entry else ""
        return (
            f"A classifier of images ({pixels}, in [0, 1]; it normalises them itself) into {classes} classes: "
            f"`{name}`{source} with {counted(model.head.in_features, 'penultimate unit')}. Its final "
            "layer is a generative model of its normalised penultimate activations as well, one von Mises-Fisher "
            "distribution a class around the layer's weights."
        )
    if kind == "hvae":
        variant = described.get("variant")
        return (
            f"{model.title}, a variational autoencoder of images ({pixels}) whose latent z is a point of the unit "
            f"sphere in R^{model.dim}, with an encoder {'q(z|x, i)' if model.encoder_label else 'q(z|x)'} that gives "
            f"{_POSTERIORS[model.posterior]} distributions, {model.networks.title} networks and a Bernoulli decoder. "
            f"{_HVAE.get(str(variant), '')}"
        )
    what = "a class-conditional" if model.conditional else "an unconditional"
    latent = _LATENTS.get(str(described.get("latent")))
    of = f" of {counted(classes, 'class')}" if model.conditional else ""
    return f"{model.title}, {what} generator of images ({pixels}){of}." + (f" Its latents are {latent}." * bool(latent))


def limitations(kind: str, config: dict[str, Any], scored: bool, chosen: bool) -> list[str]:
    """What the model cannot do, and what its scores do not say; Markdown, a limit each.

    Args:
        kind: as for `about`.
        config: settings of its training.
        scored: whether it was evaluated, or tested after its training.
        chosen: whether the weights were chosen by a validation.
    """
    seed = config.get("seed")
    lines = [f"It was trained on {text(config.get('data'))} alone; nothing is claimed for other images."]
    if kind == "classifier":
        lines.append(
            "It gives every image one of its classes, also one that shows none of them, and nothing was done to make "
            "its probabilities calibrated."
        )
    elif kind == "hvae":
        lines.append(
            "Its images are means of independent pixels, so they are smooth and miss fine texture. It was trained on "
            "images that were binarised at random: the likelihoods are of binary images, and not comparable with "
            "those of grey levels or of another binarisation."
        )
        lines.append("A log-likelihood by importance sampling is too low in expectation, the less so the larger K.")
    else:
        lines.append("A score by features holds only beside scores of the same protocol and the same extractor.")
    if kind != "classifier":
        lines.append("Whether it repeats images of its training set was not examined.")
    if not scored:
        lines.append("It has not been scored after its training.")
    if chosen:
        lines.append("The weights were chosen by the validations, whose scores flatter them.")
    if seed is not None:
        lines.append(f"One training, with seed {seed}: how much the scores vary from seed to seed is not in them.")
    lines.append("Fairness, robustness and fitness for any decision about people were not examined.")
    return lines
