"""Training a classifier of the zoo on a data set, or on images that are there already."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from apps.classifiers.classification import Classification
from apps.classifiers.regularisation import Regularisation
from apps.classifiers.regularisers import parse_regularisers
from apps.classifiers.settings import ClassifierTraining
from apps.command.config import Data, Optimisation, Own, identity, older_values, restored
from apps.command.options import check_values
from apps.command.own_code import allowing, code_of, require
from apps.data.augmenting import augmentation_by
from apps.data.image_set import ImageSet, balanced_subset, channel_statistics, require_classes, split_validation
from apps.data.mixing import mixing_for
from apps.data.sources.catalogue import augmenting
from apps.data.training_images import train_and_test
from apps.models.accuracy import means, scores
from apps.models.starting import begun, frozen
from apps.models.trainable import is_own, trainable
from apps.models.tuning import Tuning
from apps.runs.by_image import keep_by_image
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.batch_norm import synchronised
from apps.training.memory import within_memory
from apps.training.session import on_main, start, sweeping
from apps.training.train import data_label, slug, train
from priors.errors import InputError
from priors.zoo import Classifier
from priors.zoo.registry import options_of


def train_classifier(config: ClassifierTraining, guide: bool = True) -> dict[str, Any]:
    """Train, or resume, or say that it is done, and with `guide` what to type next; returns the result.

    Raises:
        InputError: settings that do not go together, or as for `train_on`.
    """
    check_values(config)
    if config.optimisation.patience is not None and not config.data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    where, name = config.where, config.data.data
    work = "small" if config.arch == "mlp" else "large"
    accelerator = start(where, precision=config.optimisation.precision, work=work)
    images, test = train_and_test(config.data, where.data_root, config.augment)
    run = Run(where.runs / (where.name or _name(config)))
    code = allowing(config.arch, name)
    return train_on(
        config,
        run,
        accelerator,
        images,
        test,
        provenance={"data": name, "made by": f"penult train classifier --arch {config.arch}"},
        following=f"penult prior {run.quoted} --concentration 20{code}" if guide else None,
    )


def _name(config: ClassifierTraining) -> str:
    """Of a run that is given none: what was told that usually is not."""
    told = {
        "": config.penultimate,
        "dropout": config.dropout,
        "images": config.train_images,
        "narrow-": config.narrow,
        "filters": config.narrow_filters,
        "kernel": config.narrow_kernel,
    }
    words = [f"{word}{value}" for word, value in told.items() if value is not None]
    variant = "".join(f"-{word}" for word in (*words, *config.regularise, *config.tuning.words))
    return slug(
        f"{data_label(config.data.data, config.data.classes)}-{config.arch}{variant}-seed{config.optimisation.seed}"
    )


def train_on(
    config: ClassifierTraining,
    run: Run,
    accelerator: Accelerator,
    images: ImageSet,
    test: ImageSet,
    *,
    provenance: dict[str, str],
    verb: str = "train classifier",
    given: Mapping[str, Any] | None = None,
    following: str | None = None,
) -> dict[str, Any]:
    """Train, or resume, on images that are there already; returns the result.

    Args:
        config: what to train, and how.
        run: its folder.
        accelerator: of this process.
        images: to train on; some are held out, or left out, where `config` says so.
        test: what it is scored on.
        provenance: where the weights come from, in words.
        verb: what made the run.
        given: what the run's configuration says of the images; None: their digest.
        following: the command to type next.

    Raises:
        InputError: as for `apps.training.train.train`, or the architecture does not take such images.
    """
    images, held_out = portions(config, images, config.optimisation.seed)
    classifier = _built(config, images, run)
    initial = begun(classifier, config.tuning, f"--arch {config.arch}", speaks=not run.finished)
    told = {"data_digest": images.digest} if given is None else dict(given)
    classifier.provenance = provenance | classifier.provenance
    if initial is not None:
        classifier.provenance |= {"initial weights": initial.source}
        told |= {"init_digest": initial.digest}
    return train_network(
        classifier,
        config,
        run,
        accelerator,
        images,
        held_out,
        test,
        verb=verb,
        given=told,
        following=following,
        new=() if initial is None else initial.new,
    )


def portions(config: ClassifierTraining, images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """The images that are trained on, and those that are held out; None where none are.

    Args:
        config: how many of each are asked for.
        images: whole.
        seed: by which they are drawn.

    Raises:
        InputError: there are fewer.
    """
    held_out = None
    if config.data.validation:
        images, held_out = split_validation(images, config.data.validation, seed)
    if config.train_images is not None:
        images = balanced_subset(images, config.train_images, seed)
    return images, held_out


def train_network(
    classifier: Classifier,
    config: ClassifierTraining,
    run: Run,
    accelerator: Accelerator,
    images: ImageSet,
    held_out: ImageSet | None,
    test: ImageSet,
    *,
    verb: str,
    given: Mapping[str, Any] | None = None,
    scored: Mapping[str, Any] | None = None,
    following: str | None = None,
    new: Collection[str] = (),
) -> dict[str, Any]:
    """Train, or resume, a classifier as it stands; returns the result.

    Args:
        classifier: that is trained; it knows where its weights come from.
        config: how.
        run: its folder.
        accelerator: of this process.
        images: to train on, all of them.
        held_out: to choose the best weights by; None: the last are kept.
        test: what it is scored on.
        verb: what made the run.
        given: what the run's configuration says beside `config`; None: the digest of the images.
        scored: what the result says beside scores.
        following: the command to type next.
        new: names of weights that nothing has trained, which are not frozen.

    Raises:
        InputError: as for `apps.training.train.train`, a layer that cannot be regularised, or a part that cannot be
            frozen.
    """
    optimisation, augment = config.optimisation, augmenting(config.augment, config.data.data)
    if config.sync_batchnorm:
        classifier = synchronised(classifier, f"--arch {config.arch}", accelerator.device)
    shape, called = images.image_shape, f"--arch {config.arch}"
    still = frozen(classifier, config.tuning, shape, called, not run.finished, new)
    regularisation = None
    if config.regularise:  # also of a finished run: what is wrong is said the same way
        chosen = parse_regularisers(config.regularise)
        how = config.jacobian_norms, config.jacobian_over
        regularisation = Regularisation(classifier, chosen, images.image_shape, *how)

    def score(task) -> dict[str, Any]:
        rows = scores(task.networks["model"], sweeping(accelerator), test)
        on_main(accelerator, lambda: keep_by_image(run.folder, {"accuracy": rows["accuracy"]}, test.digest))
        found = means(rows)
        return {f"test/{name}": value for name, value in found.items()} | {"test/images": len(test), **(scored or {})}

    return train(
        verb=verb,
        run=run,
        identity=identity(config) | ({"data_digest": images.digest} if given is None else dict(given)),
        older=older_values(config),
        accelerator=accelerator,
        images=images,
        build=lambda: Classification(
            classifier,
            optimisation.seed,
            held_out or test,
            held_out is not None,
            config.label_smoothing,
            mixing_for(config.augment, config.mixup, optimisation.seed),
            regularisation,
            still,
            config.tuning.head_scale(optimisation.lr),
        ),
        score=score,
        optimisation=optimisation,
        where=config.where,
        following=following,
        augmentation=augmentation_by(augment, images, config.crop_fill),
    )


@within_memory()
def _built(config: ClassifierTraining, images: ImageSet, run: Run) -> Classifier:
    """The network before its training: its weights hang on the seed alone, its normalisation on the images."""
    _check_options(config)
    require_classes(images)
    torch.manual_seed(derive(config.optimisation.seed, "weights"))
    said = {name: getattr(config, name) for name in ("narrow_filters", "narrow_kernel", "dropout")}
    return trainable(
        config.arch,
        images.class_names,
        images.image_shape,
        config.own,
        lambda: channel_statistics(images),
        bare=run.finished,
        penultimate=config.penultimate,
        head_bias=config.head_bias,
        zero_bias=None if run.format >= 2 else False,
        narrow=config.narrow,
        **{name: value for name, value in said.items() if value is not None},
    )


def _check_options(config: ClassifierTraining) -> None:
    """Refuse a flag that the architecture has nothing for."""
    if is_own(config.arch):
        flags = {
            "--penultimate": config.penultimate,
            "--no-head-bias": "" if not config.head_bias else None,
            "--dropout": config.dropout,
            "--narrow": config.narrow,
        }
        given = [f"{flag} {value}".strip() for flag, value in flags.items() if value is not None]
        if given:
            raise InputError(f"{given[0]} with {config.arch}: your own code says what its layers are; leave it out")
        return
    if config.dropout is not None and "dropout" not in options_of(config.arch):
        raise InputError(f"--dropout {config.dropout:g}: {config.arch} has no dropout; leave --dropout out")


def training_of(
    run: Run, verbs: Sequence[str] = ("train classifier",), instead: Mapping[str, Any] | None = None
) -> ClassifierTraining:
    """What the training of a classifier's run was told; what is not stored is as `restored` has it.

    Args:
        run: its folder.
        verbs: that may have made it.
        instead: values in the place of stored ones.

    Raises:
        InputError: another verb made it, its configuration is damaged, or the command line does not name the code of
            the user's own that it was made with.
    """
    stored = run.config()
    if stored["verb"] not in verbs:
        expected = " or ".join(f"penult {verb}" for verb in verbs)
        raise InputError(f"{run.folder} was made by penult {stored['verb']}, expected a run of {expected}")
    flat = stored["config"] | dict(instead or {})
    sections = {"data": Data, "own": Own, "tuning": Tuning, "optimisation": Optimisation}
    try:
        parts = {name: restored(section, flat) for name, section in sections.items()}
        training = restored(ClassifierTraining, flat, **parts)
    except (InputError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise InputError(f"{run.folder}/config.json is no configuration of a classifier ({said})") from None
    if is_own(training.arch):
        require(code_of(training.arch), str(run.folder))
    return training
