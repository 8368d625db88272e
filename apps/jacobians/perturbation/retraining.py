"""ROAR: the most salient pixels go from training and test images alike, and networks are trained anew on these.

Hooker et al. 2019, "A Benchmark for Interpretability Methods in Deep Neural Networks". A network that was trained on
images without these pixels is used to their absence: what it cannot do is for want of what they said.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from analysis.jacobians.perturbation import pixel_count, salience_ranks
from apps.classifiers.settings import ClassifierTraining
from apps.classifiers.training import train_on, training_of
from apps.command.config import identity, older_values
from apps.command.console import counted, say
from apps.data.batches import Batch
from apps.data.image_set import ImageSet, balanced_subset, channel_statistics
from apps.data.sweep import fewer_if_large, sweep
from apps.data.training_images import train_and_test
from apps.jacobians.drawing import BLURRED, CONTROLS, WHOLE, Drawing, hangs_on_nothing
from apps.jacobians.perturbation.settings import Perturbing
from apps.jacobians.settings import MethodChoices
from apps.models.named import data_there, is_run, open_run
from apps.runs.evaluations import first_images
from apps.runs.run import Run
from apps.training.session import on_main
from apps.training.train import slug
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier

VERB = "analyse perturb"
_CHUNK = 4096


@dataclass(frozen=True)
class Repeated:
    """A training that is repeated.

    Attributes:
        config: of the run.
        format: number of the run's, which the new ones get.
        images: to train on, whole.
        test: to test on, whole.
        name: what the new runs' names begin with.
    """

    config: ClassifierTraining
    format: int
    images: ImageSet
    test: ImageSet
    name: str


def repeated(config: Perturbing) -> Repeated:
    """The training of the MODEL, to be repeated.

    Where the run was trained on some of the images (`--train-images`), all networks are trained on the same ones.

    Raises:
        InputError: the model is no run of penult train classifier, its images are not there any more, or they stay in
            files.
    """
    if not is_run(config.model):
        raise InputError(
            f"--benchmark roar: {config.model} is no run of penult train classifier, whose training is repeated"
        )
    run = open_run(config.model)
    data_there(run, "put it back; --benchmark roar trains on it again")
    training = training_of(run)
    images, test = train_and_test(training.data, config.place.data_root, training.augment)
    for one in (images, test):
        if not one.in_memory:
            raise InputError(
                f"--benchmark roar: the images of {one.name} ({one.split}) stay in files; smaller ones "
                "(--image-size of the training) would be held in memory"
            )
    if training.train_images is not None and not training.data.validation:
        images = balanced_subset(images, training.train_images, training.optimisation.seed)
        training = replace(training, train_images=None)
    name = config.name or f"{Path(config.model).resolve().name}-roar"
    return Repeated(training, run.format, images, first_images(test, config.images)[0], name)


def retrain(
    config: Perturbing, again: Repeated, network: Classifier, drawing: Drawing, accelerator: Accelerator
) -> dict[str, Tensor]:
    """Train all networks that are not trained yet; their accuracies on test images without the same pixels.

    Returns:
        By map, and by `WHOLE`: accuracy in [0, 1] of each seed at each fraction, (seeds, fractions); of whole images
        the same at all.

    Raises:
        InputError: maps that are not finite, or a run of another configuration under one of the names.
    """
    cells = len(drawing.names) * len(config.parts) + 1
    if accelerator.is_main_process:
        maps, parts = counted(len(drawing.names), "map"), counted(len(config.parts), "fraction")
        say(f"{counted(cells * config.seeds, 'training')}: {maps} at {parts}, and whole images, by each seed.")
    digest = digest_of(network.state_dict())
    trainer = _Trainer(config, again, digest, drawing, accelerator)
    trainer.check([(WHOLE, 0.0), *((name, part) for name in drawing.names for part in config.parts)])
    network = network.to(accelerator.device)
    whole = [trainer.accuracy(seed, WHOLE, 0.0) for seed in range(config.seeds)]
    found = {}
    for one in drawing.apart():
        pixels = _Pixels(config, again, network, one, digest, accelerator)
        for name in one.names:
            rows = [
                [trainer.accuracy(seed, name, part, pixels) for part in config.parts] for seed in range(config.seeds)
            ]
            found[name] = torch.tensor(rows, dtype=torch.float64)
        pixels.done()
    on_main(accelerator, lambda: _leave(config.place.runs / f"{again.name}-maps"))
    return {WHOLE: torch.tensor(whole, dtype=torch.float64)[:, None].expand(-1, len(config.parts)), **found}


def _leave(folder: Path) -> None:
    """Remove a folder where there is nothing left in it."""
    with suppress(OSError):
        folder.rmdir()


class _Trainer:
    """Trains one network, or reads what came of it.

    Args:
        config: of the command.
        again: what is repeated.
        digest: of the network whose maps say which pixels go.
        drawing: its maps.
        accelerator: of this process.
    """

    def __init__(self, config: Perturbing, again: Repeated, digest: str, drawing: Drawing, accelerator: Accelerator):
        self._command, self._again, self._digest, self._drawing = config, again, digest, drawing
        self._accelerator = accelerator

    def check(self, cells: Sequence[tuple[str, float]]) -> None:
        """Look for runs of these maps and fractions that are something else, before anything is trained.

        Raises:
            InputError: there is one.
        """
        for name, part in cells:
            for seed in range(self._command.seeds):
                training = self._training(seed, name, part)
                told = identity(training) | self._given(name, part)
                self._run(training).check(VERB, told, older_values(training))

    def accuracy(self, seed: int, name: str, part: float, pixels: "_Pixels | None" = None) -> float:
        """Of a network on test images, both without these pixels; it is trained, or its training goes on.

        Args:
            seed: added to the run's own.
            name: of the map, or `WHOLE`.
            part: of the pixels that go.
            pixels: gives images without them; None for whole ones.
        """
        training = self._training(seed, name, part)
        run, again = self._run(training), self._again
        images, test = again.images, again.test
        if pixels is not None and not run.finished:
            images, test = pixels.without(name, part)
        gone = "" if pixels is None else f" without the {100 * part:g} % {self._command.order} salient pixels by {name}"
        result = train_on(
            training,
            run,
            self._accelerator,
            images,
            test,
            provenance={"data": f"{again.config.data.data}{gone}", "made by": "penult analyse perturb"},
            verb=VERB,
            given=self._given(name, part),
        )
        return float(result["test/accuracy"])

    def _training(self, seed: int, name: str, part: float) -> ClassifierTraining:
        own = self._again.config.optimisation
        gone = "whole" if name == WHOLE else f"{name}-{self._command.order}{100 * part:g}"
        called = slug(f"{self._again.name}-{gone}-seed{own.seed + seed}")
        where = self._command.place.where(called)
        return replace(self._again.config, optimisation=replace(own, seed=own.seed + seed), where=where)

    def _run(self, training: ClassifierTraining) -> Run:
        return Run(training.where.runs / training.where.name, self._again.format)

    def _given(self, name: str, part: float) -> dict[str, Any]:
        """What decides the images of a run."""
        given = {"data_digest": self._again.images.digest, "tested_digest": self._again.test.digest}
        if name == WHOLE:
            return given
        known = {} if hangs_on_nothing(name) else {"maps_digest": self._digest, **self._drawing.told()}
        blurred = {"maps_blur": self._drawing.sigma} if name.endswith(BLURRED) else {}
        own = {"maps": name, "maps_seed": self._drawing.seed, **known, **blurred, **_choices(self._command, name)}
        return given | own | {"removed": part, "order": self._command.order, "fill": self._command.filled}


def _choices(config: Perturbing, name: str) -> dict[str, Any]:
    """What the method of a map leaves open, as far as it was not left as it is."""
    usual = asdict(MethodChoices())
    changed = {key: value for key, value in asdict(config.choices).items() if value != usual[key]}
    return {f"maps_{key}": value for key, value in changed.items()} if name not in CONTROLS else {}


class _Pixels:
    """Images without some of their pixels; maps are drawn when first needed, and kept in files until `done`.

    Args:
        config: of the command.
        again: what is repeated.
        network: on the device.
        drawing: one map, and that blurred.
        digest: of the network.
        accelerator: of this process.
    """

    def __init__(
        self,
        config: Perturbing,
        again: Repeated,
        network: Classifier,
        drawing: Drawing,
        digest: str,
        accelerator: Accelerator,
    ):
        self._config, self._again, self._network, self._drawing = config, again, network, drawing
        self._digest, self._accelerator = digest, accelerator
        self._ranks: dict[str, dict[str, Tensor]] = {}
        self._store = config.place.runs / f"{again.name}-maps" / slug(drawing.names[0])

    def without(self, name: str, part: float) -> tuple[ImageSet, ImageSet]:
        """The training and the test images without a part of their pixels, by the map of that name."""
        colour = channel_statistics(self._again.images)[0] if self._config.filled == "mean" else (0.0,)
        levels = (torch.tensor(colour) * 255).round().byte().view(-1, 1, 1)
        found = []
        for images in (self._again.images, self._again.test):
            ranks = self._ranks_of(images)[name]
            pixels = ranks[0].numel()
            count = pixel_count(part, *ranks.shape[1:])
            changed = images.images.clone()
            for rows, own in zip(changed.split(_CHUNK), ranks.split(_CHUNK), strict=True):
                gone = own < count if self._config.order == "least" else own >= pixels - count
                rows.copy_(torch.where(gone[:, None].to(rows.device), levels.to(rows.device), rows))
            found.append(replace(images, images=changed))
        return tuple(found)

    def _ranks_of(self, images: ImageSet) -> dict[str, Tensor]:
        """By map, the rank of each pixel of each image."""
        if images.split not in self._ranks:

            def of(batch: Batch) -> dict[str, Tensor]:
                with torch.no_grad():
                    target = self._network(batch.images).argmax(1)
                subject = self._drawing.subject(self._network, batch.images, target)
                maps = self._drawing.draw(subject, batch.index, images.split)
                return {name: salience_ranks(one).int() for name, one in maps}

            key = {"network": self._digest, "maps": self._drawing.names, **self._drawing.told()}
            self._ranks[images.split] = sweep(
                images,
                of,
                batch_size=fewer_if_large(images),
                accelerator=self._accelerator,
                description=f"{self._drawing.names[0]} of {images.name} ({images.split})",
                store=self._store / images.split,
                key=key | {"seed": self._drawing.seed, "sigma": self._drawing.sigma} | asdict(self._config.choices),
                gradients=True,
            )
        return self._ranks[images.split]

    def done(self) -> None:
        """Remove what is kept."""
        on_main(self._accelerator, lambda: shutil.rmtree(self._store, ignore_errors=True))
        self._ranks.clear()
