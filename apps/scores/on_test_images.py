"""Evaluations of a run on test images that are its own kind's where no flag asks for another: likelihood, accuracy."""

import shutil
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from apps.command.config import Data
from apps.command.scoring import Scoring
from apps.scores.kind import Entry, Evaluation, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerate import Accelerator

    from apps.data.image_set import ImageSet
    from apps.runs.run import Run


class OnTestImages(Evaluation):
    """An evaluation of what a run holds, on test images."""

    work: ClassVar[Literal["small", "large"]] = "large"
    """How much there is to compute, see `apps.training.session.start`."""
    following: ClassVar[str] = ""
    """The verb to go on with, where there is one."""

    @abstractmethod
    def score(
        self, config: Scoring, run: "Run | None", images: "ImageSet", accelerator: "Accelerator"
    ) -> dict[str, Any]:
        """Score and print; what the entry says beside its images.

        Raises:
            InputError: the images do not suit what is scored.
        """

    def evaluate(self, config: Scoring) -> None:
        """Load the images, score, and keep what came out where there is a run."""
        from apps.command.console import say
        from apps.data import sources
        from apps.data.sizes import sizes_for
        from apps.models import named
        from apps.runs.evaluations import claim_evaluations, first_images, keep_evaluation
        from apps.training.session import start
        from priors.errors import InputError

        run = named.open_run(config.model) if named.is_run(config.model) else None
        trained = named.trained_on(run) if run else Data("")
        if run is None and not config.data:
            raise InputError(f"which images to score {config.model} on: give --data")
        data = config.data or named.trained_data(run, None)
        folder = named.results_in(config.model)
        if folder:
            claim_evaluations(folder)  # what is damaged is found before the work
        accelerator = start(config.place.where(), work=self.work)
        sizes = sizes_for(trained, data, config.image_size, config.resize, config.classes)
        known = _known(config, trained, data) if config.classes is not None else False
        everything = sources.load(data, "test", root=config.place.data_root, known=known, **sizes)
        images, first = first_images(everything, config.images)
        found = self.score(config, run, images, accelerator)
        if not accelerator.is_main_process:
            return
        resized = {} if config.resize is None else {"resize": config.resize}
        resized |= {} if config.classes is None else {"classes": config.classes}
        entry = {"data": data, "data_digest": images.digest, **first, **resized, **found}
        keep_evaluation(folder, entry)
        if folder is not None:
            following = f" Next: {self.following} {run.quoted}" if self.following else ""
            say(f"Written to {folder / 'evaluation.json'}.{following}")
            shutil.rmtree(folder / "evaluation.parts", ignore_errors=True)

    def follows(self, entry: Entry, config: Scoring) -> bool:
        """By the images."""
        made = tuple(entry.get(name) for name in ("data", "first", "resize", "classes"))
        return made == (config.data, config.images, config.resize, config.classes)

    def standing(self, entry: Entry) -> tuple[int, int, bool]:
        """The most images go first, then the most samples."""
        return count(entry.get("images")), count(entry.get("samples")), False


def _known(config: Scoring, trained: Data, data: str) -> "Sequence[str] | bool":
    """Whether images of some classes keep the labels of the whole set: a run's of it, or the classes of a network."""
    from apps.models import named

    if trained.data == data:
        return trained.classes is None
    return () if named.is_run(config.model) else named.classifier(config.model, config.foreign).class_names
