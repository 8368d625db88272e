"""Accuracy and cross-entropy of a classifier on test images."""

from typing import TYPE_CHECKING, Any

from apps.command.scoring import Scoring
from apps.scores.kind import Entry
from apps.scores.on_test_images import OnTestImages

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.image_set import ImageSet
    from apps.runs.run import Run


class Accuracy(OnTestImages):
    """How often a classifier finds the class of an image."""

    holds = "classifier"

    def score(
        self, config: Scoring, run: "Run | None", images: "ImageSet", accelerator: "Accelerator"
    ) -> dict[str, Any]:
        """Classify, and print a table by class."""
        from apps.command.console import say
        from apps.models.accuracy import by_class, logits_of_probabilities, means, scores
        from apps.models.named import check_classes, classifier, results_in
        from apps.runs.by_image import keep_by_image
        from apps.training.session import sweeping

        network = classifier(config.model, config.foreign).to(accelerator.device)
        check_classes(network.class_names, config.model, images, network.provenance.get("data"), network.image_shape)
        if logits_of_probabilities(network, images.image_shape) and accelerator.is_main_process:
            say(f"{config.model} gives probabilities, not logits: the cross-entropy is of their logarithms.")
        scored = scores(network, sweeping(accelerator, progress=True), images)
        found = means(scored) | {"accuracy by class": by_class(scored["accuracy"], images)}
        if accelerator.is_main_process:
            _show(config.model, images, found)
            if (folder := results_in(config.model)) is not None and config.images is None:
                keep_by_image(folder, {"accuracy": scored["accuracy"]}, images.digest, replace=False)
        return {"images": len(images), "scores": found}

    def made(self, entry: Entry) -> bool:
        """By the score's name."""
        return "accuracy" in entry["scores"]

    def note(self, entry: Entry, convention: str) -> str:
        """The unit of the cross-entropy."""
        return "cross-entropy in nats"


def _show(model: str, images: "ImageSet", scores: dict[str, Any]) -> None:
    from apps.command.console import counted, table

    rows = [(name, f"{value:.2%}") for name, value in scores["accuracy by class"].items()]
    top = f"; top-5 accuracy {scores['top-5 accuracy']:.2%}" if "top-5 accuracy" in scores else ""
    table(
        f"{model} on {images.name}: {counted(len(images), 'test image')}",
        ("class", "accuracy"),
        [*rows, ("all", f"{scores['accuracy']:.2%}")],
        f"cross-entropy {scores['cross-entropy']:.4f} nats" + top,
    )


KIND = Accuracy()
