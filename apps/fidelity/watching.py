"""Looking on while a generator is trained: a grid of its classes, and its scores by a classifier or by Inception."""

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator

from apps.data.image_set import ImageSet
from apps.fidelity import protocols
from apps.fidelity.cache import cached_features
from apps.fidelity.extractor import Extractor
from apps.fidelity.scores import fitting, scores
from apps.figures import grid
from apps.models.drawing import draw_all
from apps.models.generator import Generator
from apps.training.session import on_main
from apps.training.shares import shared
from apps.training.task import Criterion

_ROWS, _COLUMNS = 10, 8
"""Of a grid: the first classes, and images of each."""

LAST = "last weights: "
"""What the scores of weights that are not averaged begin with."""


class Watch:
    """Called at each validation with the averaged generator, the one in training, the step and the loop's sweep.

    Args:
        images: the training images, which are what is compared with.
        extractor: by which network; None draws grids alone.
        count: images a side of the comparison.
        seed: of what is drawn, the same at every step.
        folder: of the grids.
        accelerator: of this process.
        cache: a folder that the real images' features are kept in.

    Attributes:
        criterion: a lower FID is better; None where nothing is scored.

    Raises:
        InputError: too few images to score, or images that the extractor does not take.
    """

    def __init__(
        self,
        images: ImageSet,
        extractor: Extractor | None,
        count: int,
        seed: int,
        folder: Path,
        accelerator: Accelerator,
        cache: Path | None,
    ):
        self._images, self._extractor, self._seed = images, extractor, seed
        self._folder, self._accelerator, self._cache = folder, accelerator, cache
        self._reals = None
        self.criterion = None
        if extractor is not None:
            self._protocol = protocols.single(count)
            fitting(images, images, self._protocol, extractor, images.name)
            self.criterion = Criterion(extractor.label("FID"), larger=False)

    def __call__(self, kept: Generator, training: Generator, step: int, sweep: Callable) -> dict[str, float]:
        """Draw and score; the same on every process."""
        self._grid(kept, step)
        if self._extractor is None:
            return {}
        metrics = self._scores(kept, sweep)
        if training is not kept:
            mode = training.training
            training.eval()
            metrics |= {LAST + name: value for name, value in self._scores(training, sweep).items()}
            training.train(mode)
        return metrics

    def _grid(self, model: Generator, step: int) -> None:
        names = model.class_names[:_ROWS]
        # Images share a stream by 64, so a class is drawn whole.
        drawn = shared(len(names), lambda labels: {"images": draw_all(model, labels, _COLUMNS, self._seed)})

        def write() -> None:
            self._folder.mkdir(exist_ok=True)
            grid(self._folder / f"step-{step:07d}.png", [drawn["images"]], [""], names)

        on_main(self._accelerator, write)

    def _scores(self, model: Generator, sweep: Callable) -> dict[str, float]:
        if self._reals is None:
            self._reals = cached_features(self._images, self._extractor, sweep, self._cache)
        found = scores(model, self._reals, self._protocol, self._extractor, self._seed, sweep)
        names = [self._extractor.label("FID"), self._extractor.label("IS")]
        return {name: found.named[name].value for name in names if name in found.named}  # no IS of very few images
