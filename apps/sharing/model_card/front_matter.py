"""What the Hub reads of a model card: the YAML at its top.

The fields are those of the Hub's model card specification (huggingface/hub-docs, modelcard.md).
"""

from collections.abc import Sequence
from typing import Any

import yaml

from apps.command.console import counted

DATASETS = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "svhn": "ufldl-stanford/svhn",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
}
"""Data sets that the Hub knows, by our names."""
_TAGS = {
    "classifier": ("penultimate-activations",),
    "hvae": ("variational-autoencoder", "hyperspherical-vae"),
    "sngan": ("gan", "sngan"),
}


def front_matter(
    name: str,
    model: str,
    conditional: bool,
    vmf: bool,
    data: str,
    licence: str | None,
    evaluations: Sequence[dict[str, Any]],
    result: dict[str, Any],
) -> str:
    """The YAML of a card, without the lines around it.

    Args:
        name: the model's.
        model: "classifier", "hvae", "sngan" or another generator's.
        conditional: whether it is a generator that draws images of a class.
        vmf: whether von Mises-Fisher distributions are part of it.
        data: what it was trained on.
        licence: of the weights, by the Hub's identifier, or None.
        evaluations: the run's.
        result: of its training.
    """
    classifies = model == "classifier"
    tags = ["penult", "pytorch", "safetensors", *_TAGS.get(model, (model,))]
    tags += ["class-conditional"] * conditional + ["von-mises-fisher"] * vmf
    fields = {
        "license": licence,
        "library_name": "penult",
        "pipeline_tag": "image-classification" if classifies else "unconditional-image-generation",
        "tags": tags,
        "datasets": [DATASETS[data]] if data in DATASETS else None,
    }
    results = accuracies(data, evaluations, result) if classifies else []
    if results:
        fields |= {"metrics": ["accuracy"], "model-index": [{"name": name, "results": results}]}
    given = {field: value for field, value in fields.items() if value is not None}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100)


def accuracies(data: str, evaluations: Sequence[dict[str, Any]], result: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a model index: accuracies on whole test sets that the Hub knows, scores that it has a name for.

    Likelihoods have none, and a Fréchet distance without its protocol beside it would be taken for another one.
    """
    found = {}
    if "test/accuracy" in result:
        found[data] = result["test/accuracy"], result.get("test/images")
    for entry in evaluations:
        if "accuracy" in entry["scores"] and not entry.get("first"):
            found[entry.get("data")] = entry["scores"]["accuracy"], entry.get("images")
    return [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"name": known, "type": DATASETS[known], "split": "test"},
            "metrics": [
                {
                    "type": "accuracy",
                    "value": value,
                    "name": f"Accuracy on {counted(images, 'test image')}"
                    if isinstance(images, int)
                    else "Test accuracy",
                }
            ],
        }
        for known, (value, images) in found.items()
        if known in DATASETS
    ]
