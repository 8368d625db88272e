"""The program of `penult evaluate --protocol`: generated images compared with real ones, printed and kept."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from apps.command.console import say
from apps.data.image_set import ImageSet
from apps.data.sizes import sizes_for
from apps.fidelity import inception, protocols
from apps.fidelity.cache import cache_folder
from apps.fidelity.extractor import Extractor
from apps.fidelity.protocols import Protocol
from apps.fidelity.registered import extractor_by_name
from apps.fidelity.scores import Fidelity, few_images, fitting, scores
from apps.fidelity.settings import FidelityScoring
from apps.fidelity.sources import given_images
from apps.fidelity.table import show
from apps.models import named
from apps.models.generator import Generator
from apps.models.named import generator_run, open_run, trained_data, trained_on
from apps.pretrained_models.finding import place_of
from apps.runs.evaluations import claim_evaluations, keep_evaluation
from apps.runs.run import Run
from apps.training.session import start, sweeping
from priors.errors import InputError


@dataclass(frozen=True)
class Pair:
    """What is compared with what.

    Attributes:
        source: a generator, or images.
        name: what they are called.
        reals: real images.
        against: what those are called on the command line.
        folder: of the generator's run, for its scores; None where images were given, or it comes with penult.
    """

    source: Generator | ImageSet
    name: str
    reals: ImageSet
    against: str
    folder: Path | None


def evaluate(config: FidelityScoring) -> None:
    """Score generated images; everything that can be wrong is found before the work.

    Raises:
        InputError: no such model, images or protocol, or they do not go together.
    """
    protocol = _protocol(config)
    accelerator = start(config.place.where())
    pair = _pair(config, accelerator.device)
    extractor = _extractor(config, pair, protocol)
    remark = few_images(fitting(pair.source, pair.reals, protocol, extractor, pair.name), extractor)
    if remark:
        say(f"{remark}.")
    parts = pair.folder / "fidelity.parts" if pair.folder else None
    scored = scores(
        pair.source,
        pair.reals,
        protocol,
        extractor,
        config.seed,
        sweeping(accelerator, progress=True),
        name=pair.name,
        cache=cache_folder(config.place.data_root),
        store=parts,
    )
    if accelerator.is_main_process:
        show(pair.name, scored, protocol)
        _keep(pair, scored, parts)


def _protocol(config: FidelityScoring) -> Protocol:
    """The protocol, where nothing contradicts it."""
    protocol = protocols.named(config.protocol)
    for flag, value, instead in (
        ("--data", config.data, "--against names the real images"),
        ("--images", config.images, "the protocol says how many"),
    ):
        if value is not None:
            raise InputError(f"{flag} {value} with --protocol {protocol.name}: {instead}; leave it out")
    if config.extractor and config.inception_weights:
        raise InputError("--extractor and --inception-weights: scores are by one network, leave one out")
    return protocol


def _pair(config: FidelityScoring, device: torch.device) -> Pair:
    """What is compared: the images of a run's generator, or given ones, with real ones."""
    run = Run(config.model) if (place_of(config.model) / "config.json").is_file() else None
    root, sizes = config.place.data_root, {"image_size": config.image_size, "resize": config.resize}
    sizes |= {"classes": config.classes}
    if run:
        source, name = generator_run(config.model).to(device), run.folder.name
        against = trained_data(run, config.against, "--against")
        sizes = sizes_for(trained_on(run), against, **sizes)
    else:
        if os.sep in config.model and not Path(config.model).exists():
            open_run(config.model)  # says which runs there are
        if config.against is None:
            raise InputError(f"which real images to score {config.model} against: give --against")
        source = given_images(config.model, config.split, root=root, **sizes)
        name, against = config.model, config.against
    reals = given_images(against, config.split, root=root, **sizes)
    folder = named.results_in(config.model) if run else None
    if folder:
        claim_evaluations(folder)  # what is damaged is found before the work
    return Pair(source, name, reals, against, folder)


def _extractor(config: FidelityScoring, pair: Pair, protocol: Protocol) -> Extractor:
    """The network whose features are compared."""
    if config.extractor:
        return extractor_by_name(config.extractor, config.foreign)
    # What the images are is looked at before weights are downloaded.
    fitting(pair.source, pair.reals, protocol, inception.DECLARED, pair.name)
    return inception.inception_extractor(config.inception_weights)


def _keep(pair: Pair, scored: Fidelity, parts: Path | None) -> None:
    """Add the scores to the run's, where there is one, and remove what a stopped scoring would go on from."""
    keep_evaluation(pair.folder, scored.entry() | {"data": pair.against})
    if pair.folder is None:
        return
    say(f"Written to {pair.folder / 'evaluation.json'}.")
    shutil.rmtree(parts, ignore_errors=True)
