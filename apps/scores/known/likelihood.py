"""Likelihoods of test images under an HVAE, by importance samples, and the parts of their bound."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.command.console import counted
from apps.command.scoring import Scoring
from apps.scores.kind import Command, Entry
from apps.scores.on_test_images import OnTestImages

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.image_set import ImageSet
    from apps.generators.hyperspherical_vae import HypersphericalVAE
    from apps.generators.likelihood import Likelihood
    from apps.runs.by_image import ByImage
    from apps.runs.run import Run


class Likelihoods(OnTestImages):
    """How likely test images are."""

    holds = "hvae"
    work = "small"
    following = "penult sample"

    def score(self, config: Scoring, run: "Run", images: "ImageSet", accelerator: "Accelerator") -> dict[str, Any]:
        """Draw the samples, print a table, and draw reconstructions."""
        from apps.generators.likelihood import likelihood
        from apps.models.named import check_classes, generator_run, results_in, trained_on
        from apps.models.other_images import check_shape, say_if_other
        from apps.runs.by_image import keep_by_image
        from apps.training.session import sweeping

        model = generator_run(run.folder).to(accelerator.device)
        source, made_of = str(run.folder), trained_on(run).data
        if model.conditional:
            check_classes(model.class_names, source, images, made_of, model.image_shape)
        else:
            check_shape(model.image_shape, source, images)
            say_if_other(source, made_of, images)
        folder = results_in(config.model)
        parts = folder and folder / "evaluation.parts"  # a stopped evaluation goes on from them
        sweep = sweeping(accelerator, progress=True)
        scored = likelihood(model, images, sweep, config.samples, config.seed, config.batch_size, parts)
        if accelerator.is_main_process:
            _show(run, model, scored)
            if folder is not None:
                _draw(folder, model, images, accelerator)
            if folder is not None and config.images is None:
                asked = f"{images.digest}, {scored.samples} samples, seed {scored.seed}, {config.batch_size} at a time"
                keep_by_image(folder, scored.by_image, asked)
        return {
            "images": scored.images,
            "samples": scored.samples,
            "seed": scored.seed,
            "batch_size": config.batch_size,
            "scores": {name: asdict(mean) for name, mean in scored.named.items()},
        }

    def by_image(self, command: Command, scores: Mapping[str, Any]) -> "ByImage | None":
        """In nats: the bound and the likelihoods."""
        from apps.runs.by_image import ByImage, by_image

        kept = by_image(command.folder)
        if kept is None:
            return None
        same = {name: values for name, values in kept.scores.items() if _agrees(values, scores.get(name))}
        return ByImage(same, kept.digest) if same else None

    def made(self, entry: Entry) -> bool:
        """By the importance samples."""
        return "samples" in entry

    def follows(self, entry: Entry, config: Scoring) -> bool:
        """By the images, the number of samples and what they hang on."""
        asked = {name: getattr(config, name) for name in ("samples", "seed", "batch_size")}
        return super().follows(entry, config) and all(entry.get(name, value) == value for name, value in asked.items())

    def said(self, entry: Entry, data: str) -> str:
        """How many images, and samples of each."""
        samples = (
            f", K = {counted(str(entry['samples']), 'importance sample')}, seed {entry.get('seed')}"
            if entry["samples"]
            else ""
        )
        return super().said(entry, data) + samples

    def note(self, entry: Entry, convention: str) -> str:
        """The unit, and what likelihoods are of."""
        return f"means in nats an image with their standard errors; {convention}"


def _agrees(values: Any, score: Any) -> bool:
    """Whether the mean of what is kept of each image is the score: it is of the last evaluation alone."""
    value = score.get("value") if isinstance(score, dict) else None
    return isinstance(value, float) and abs(float(values.double().mean()) - value) < 1e-4


def _show(run: "Run", model: "HypersphericalVAE", scored: "Likelihood") -> None:
    from apps.command.console import table

    table(
        f"{run.folder.name}: {model.title}, sphere in R^{model.dim}, {counted(scored.images, 'test image')}, "
        f"K = {scored.samples}",
        ("quantity", "nats", "standard error"),
        [(name, f"{mean.value:.2f}", f"{mean.error:.2f}") for name, mean in scored.named.items()],
        f"encoder {'q(z|x, i)' if model.encoder_label else 'q(z|x)'}; means over binarised images",
    )


def _draw(folder: Path, model: "HypersphericalVAE", images: "ImageSet", accelerator: "Accelerator") -> None:
    """What the model makes of some images."""
    from apps.data.batches import ordered
    from apps.figures import reconstructions
    from apps.generators.likelihood import reconstruct

    some = next(ordered(images, min(10, len(images)), device=accelerator.device, numbers=[0]))
    rebuilt = reconstruct(model, some.images, some.labels)
    reconstructions(folder / "reconstructions.png", some.images.cpu(), rebuilt.cpu())


KIND = Likelihoods()
