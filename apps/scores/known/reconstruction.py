"""Errors of an auto-encoder's reconstructions of test images."""

from typing import TYPE_CHECKING, Any

from apps.command.console import counted
from apps.command.scoring import Scoring
from apps.scores.kind import Entry
from apps.scores.on_test_images import OnTestImages

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.image_set import ImageSet
    from apps.runs.run import Run


class Reconstruction(OnTestImages):
    """How far what an auto-encoder makes of images is from them."""

    holds = "auto-encoder"
    following = "penult analyse discard"

    def score(self, config: Scoring, run: "Run", images: "ImageSet", accelerator: "Accelerator") -> dict[str, Any]:
        """Rebuild, print a table, and draw some."""
        from apps.autoencoders.errors import errors, rebuilt
        from apps.models.named import layered, results_in, trained_on
        from apps.models.other_images import check_shape, say_if_other
        from apps.training.session import sweeping

        model, source = layered(config.model, config.foreign).to(accelerator.device), str(run.folder)
        check_shape(model.image_shape, source, images)
        say_if_other(source, trained_on(run).data, images)
        sweep = sweeping(accelerator, progress=True)
        found = {
            name: {"value": float(each.mean()), "error": float(each.std() / len(each) ** 0.5)}
            for name, each in errors(model, sweep, images).items()
        }
        shown = rebuilt(model, sweep, images)
        if accelerator.is_main_process:
            _show(run, images, found)
            if (folder := results_in(config.model)) is None:
                return {"images": len(images), "scores": found}
            from apps.figures import reconstructions  # the plotting library is slow to load

            reconstructions(folder / "reconstructions.png", *shown)
        return {"images": len(images), "scores": found}

    def made(self, entry: Entry) -> bool:
        """By the score's name."""
        return "mean squared error" in entry["scores"]

    def note(self, entry: Entry, convention: str) -> str:
        """What they are of."""
        return "means over images with their standard errors; of pixel values from 0 to 1, PSNR in dB"


def _show(run: "Run", images: "ImageSet", scores: dict[str, Any]) -> None:
    from apps.command.console import table

    table(
        f"{run.folder.name} on {images.name}: {counted(len(images), 'test image')}",
        ("quantity", "mean", "standard error"),
        [(name, f"{mean['value']:.5g}", f"{mean['error']:.2g}") for name, mean in scores.items()],
        "over images; of pixel values from 0 to 1, PSNR in dB",
    )


KIND = Reconstruction()
