"""The program of `penult evaluate --classify-by`: GAN-test and GAN-train accuracy, printed and kept."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from apps.command.console import say, table
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sizes import sizes_for
from apps.fidelity.gan_accuracy import Accuracy, accuracy, check, gan_test
from apps.fidelity.gan_training import Training, gan_train, training_like
from apps.fidelity.settings import GanScoring
from apps.models import named
from apps.models.generator import Generator
from apps.runs.evaluations import claim_evaluations, first_images, keep_evaluation
from apps.training.session import start, sweeping
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier


@dataclass(frozen=True)
class Trial:
    """What a generator is tried by.

    Attributes:
        config: what was told.
        model: the generator.
        folder: its run's.
        network: the classifier.
        everything: all real test images.
        test: those that the accuracies are of.
        training: of the classifier of GAN-train, where that is asked for.
        made: what each entry is made by.
    """

    config: GanScoring
    model: Generator
    folder: Path
    network: Classifier
    everything: ImageSet
    test: ImageSet
    training: Training | None
    made: dict[str, Any]


def evaluate(config: GanScoring) -> None:
    """GAN-test and GAN-train accuracy; everything that can be wrong is found before the work.

    Raises:
        InputError: no conditional generator, no classifier, or they do not go together.
    """
    trial = _trial(config)
    accelerator = _start(trial)
    trial.model.to(accelerator.device), trial.network.to(accelerator.device)
    on_reals = accuracy(trial.network, trial.test, sweeping(accelerator, progress=True))
    found = {"GAN-test": _tested(trial, on_reals, accelerator)}
    if trial.training:
        say(
            f"GAN-test accuracy {found['GAN-test'].value:.2%}; the classifier of GAN-train is kept in "
            f"{trial.training.folder}"
        )
        found["GAN-train"] = _trained(trial, on_reals, accelerator)
    if accelerator.is_main_process:
        show(trial.folder, config.classify_by, trial.test, on_reals, found, config.seed, trial.training)
        say(f"Written to {trial.folder / 'evaluation.json'}.")


def _trial(config: GanScoring) -> Trial:
    """What is tried, and by what, all of it checked."""
    by, root = config.classify_by, config.place.data_root
    run = named.own_run(config.model, "its scores and classifiers are kept")
    model = named.generator_run(config.model)
    folder, trained = run.folder, named.trained_on(run)
    try:
        network = named.classifier(by, config.foreign)
    except InputError as error:
        raise InputError(f"--classify-by: {error}") from None
    data = named.trained_data(run, config.data)
    sizes = sizes_for(trained, data, config.image_size, config.resize, config.classes)
    everything = sources.load(data, "test", root=root, **sizes)
    check(model, folder, network, by, everything)
    training = None
    if config.gan_train:
        train = sources.load(data, "train", root=root, **sizes)
        training = training_like(by, model, folder, train, config.seed, config.place)
    claim_evaluations(folder)  # what is damaged is found before the work
    test, first = first_images(everything, config.images)
    made = {"data": data, "data_digest": test.digest, **first, "classifier": by}
    made |= {"classifier_digest": digest_of(network.state_dict()), "seed": config.seed, "reals": len(test)}
    return Trial(config, model, folder, network, everything, test, training, made)


def _start(trial: Trial) -> Accelerator:
    """The process, with the precision that the classifier is trained in."""
    small = trial.network.architecture and trial.network.architecture.get("name") == "mlp"
    precision = trial.training.config.optimisation.precision if trial.training else "fp32"
    return start(trial.config.place.where(), precision=precision, work="small" if small else "large")


def _tested(trial: Trial, on_reals: Accuracy, accelerator: Accelerator) -> Accuracy:
    """GAN-test accuracy, kept."""
    parts = trial.folder / "gan-test.parts"  # a stopped drawing goes on from them
    sweep = sweeping(accelerator, progress=True)
    seed, name = trial.config.seed, trial.folder.name
    found = gan_test(trial.model, trial.network, trial.test, sweep, seed, name=name, store=parts)
    if accelerator.is_main_process:
        _keep(trial, found, "GAN-test", on_reals, drawn=len(trial.test))
        shutil.rmtree(parts, ignore_errors=True)
    return found


def _trained(trial: Trial, on_reals: Accuracy, accelerator: Accelerator) -> Accuracy:
    """GAN-train accuracy, kept."""
    training, name = trial.training, trial.folder.name
    found = gan_train(training, trial.model, trial.everything, trial.test, accelerator, name=name)
    if accelerator.is_main_process:
        trained_in = str(training.folder.relative_to(trial.folder))
        _keep(trial, found, "GAN-train", on_reals, drawn=sum(training.counts), trained_in=trained_in)
    return found


def _keep(trial: Trial, found: Accuracy, name: str, on_reals: Accuracy, **more: Any) -> None:
    """Add an accuracy to the run's evaluations, with the classifier's own beside it."""
    scores = found.named(f"{name} accuracy") | {"accuracy of the classifier": on_reals.value}
    keep_evaluation(trial.folder, trial.made | more | {"scores": scores})


def show(
    run: Path,
    by: str,
    test: ImageSet,
    on_reals: Accuracy,
    found: Mapping[str, Accuracy],
    seed: int,
    training: Training | None,
) -> None:
    """A table of the accuracies by class, with the classifier's own on real images beside them.

    Args:
        run: the generator's folder.
        by: the classifier.
        test: real images.
        on_reals: of the classifier.
        found: by what it is called.
        seed: of the draws.
        training: of GAN-train's classifier, where there is one.
    """
    columns = {"classifier": on_reals, **found}
    lines = [
        (name, *(f"{one.by_class[name]:.2%}" if name in one.by_class else "-" for one in columns.values()))
        for name in on_reals.by_class
    ]
    lines.append(("all", *(f"{one.value:.2%}" for one in columns.values())))
    said = [
        f"classifier: {by}, trained on real images, on {len(test):,} real test images of {test.name}",
        f"GAN-test: the same on {found['GAN-test'].images:,} generated ones",
    ]
    if training:
        count = sum(training.counts)
        said.append(
            f"GAN-train: one like it trained on {count:,} generated images, {training.folder}, on the real ones"
        )
    table(
        f"{run.name}: accuracy by class, seed {seed}",
        ("class", *columns),
        lines,
        "; ".join(said) + "; as many generated images of each class as there are real ones",
    )
