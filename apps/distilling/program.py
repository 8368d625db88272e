"""The program of penult distill: what is read, what is built, and the training of one student or of several."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from apps.command.console import counted, say
from apps.command.launch import is_first, local_processes
from apps.command.options import check_values
from apps.command.own_code import allowing
from apps.data.augment_words import RESIZED_CROP
from apps.data.augmenting import Augmenting, augmentation_by
from apps.data.image_set import ImageSet, balanced_subset, channel_statistics, require_classes, split_validation
from apps.data.mixing import mixing_for
from apps.data.shift import Shift, parse_shift, shifted_set
from apps.data.sources.catalogue import augmenting
from apps.data.training_images import train_and_test
from apps.distilling.checks import check, check_part, check_trainable
from apps.distilling.device_logits import DeviceLogits
from apps.distilling.distillation import Distillation
from apps.distilling.jacobian_angle import JacobianAngle, some_of
from apps.distilling.outcome import say_layers, say_pretraining, say_soft_labels, say_spread, scores
from apps.distilling.settings import CONCENTRATION, Config, older, told
from apps.distilling.teacher_logits import TeacherLogits
from apps.models.classifier_priors import classifier_prior, is_prior, say_uniform
from apps.models.freezing import freeze
from apps.models.initial import Initial
from apps.models.mean_activations import mean_activations
from apps.models.named import check_classes, classifier
from apps.models.soft_labels import mean_soft_labels
from apps.models.starting import begun, frozen
from apps.models.trainable import is_own, trainable
from apps.runs.run import Run
from apps.seeds import derive, generator
from apps.training.batch_norm import synchronised
from apps.training.memory import check_memory, training_bytes, within_memory
from apps.training.session import agreed, start
from apps.training.train import data_label, slug, train
from distill.combination import comparing, needs_of
from distill.followed import Followed, followed
from distill.jacobians import Jacobians
from distill.objectives import setting_for
from distill.term import Needs, Term
from distill.terms import parse
from distill.weighted_sum import Objective
from priors import ClassifierPrior
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier
from priors.zoo.registry import trained_weights


def distil(config: Config, guide: bool = True) -> None:
    """Distil, or resume, or say that it is done; of several seeds say their spread.

    Args:
        config: what `apps.distilling.settings.configuration` makes of a command line.
        guide: whether to say what to type next.

    Raises:
        InputError: what the terms need is missing, or what was given does not fit.
    """
    check_values(config)
    if config.seeds == 1:
        _one_student(config, guide)
        return
    name, first, results = config.where.name, config.optimisation.seed, {}
    for seed in range(first, first + config.seeds):
        where = replace(config.where, name=None if name is None else f"{name}-seed{seed}")
        optimisation = replace(config.optimisation, seed=seed)
        results[seed] = _one_student(replace(config, optimisation=optimisation, where=where), False)
    if is_first():
        say_spread(config.terms, results)


@dataclass(frozen=True)
class _Pictures:
    """The images of a distillation.

    Attributes:
        train: to train on, before they are shifted.
        test: as they are, however the student's are shifted.
        scored: what is scored at each validation, by what it is called (see `Distillation`).
        shape: (channels, height, width) of what both networks are shown.
        shift: the student's domain; None: that of `train`.
        augmentation: of `train`; None for none.
    """

    train: ImageSet
    test: ImageSet
    scored: Mapping[str, ImageSet]
    shape: tuple[int, int, int]
    shift: Shift | None
    augmentation: Augmenting | None


def _one_student(config: Config, guide: bool) -> dict[str, Any]:
    """Train one student; what it came to."""
    terms = _terms(config)
    needs = needs_of(terms)
    shift = None if config.shift is None else parse_shift(config.shift)
    check(config, terms, needs, shift)
    accelerator = start(config.where, precision=config.optimisation.precision)
    pictures = _pictures(config, shift)
    teacher = _teacher(config, needs, pictures) if needs.teacher_at_all or config.jacobian_angle else None
    prior = _prior(config, pictures, accelerator) if needs.prior else None
    run = Run(config.where.runs / (config.where.name or _name(config)))
    student, initial, still = _student(config, needs, pictures, run, accelerator)
    given = _digests(config, pictures, student, teacher, prior)
    if initial is not None:
        given["init_digest"] = initial.digest
    before = sum(bool(term.pretrains) for term in terms.values()) * config.pretraining
    length = config.optimisation.epochs + before
    task = None
    # What `distill.objective` does, in steps: of a finished run nothing is built, shapes that do not fit are refused
    # before there is a folder, and the digests are of the networks as they are read.
    if config.where.plan or not run.finished:
        drawn = generator("cpu", config.optimisation.seed, "terms")
        network = None if teacher is None else teacher.network
        # A plan needs their shapes alone: no pass over all images.
        averaged = balanced_subset(pictures.train, pictures.train.classes) if config.where.plan else pictures.train
        means = partial(mean_soft_labels, network, averaged, accelerator=accelerator)
        centres = partial(mean_activations, network, averaged, accelerator=accelerator)
        setting = setting_for(student, teacher, pictures.train.labels, prior, drawn, means, centres)
        setting = replace(setting, keyed_draws=run.format < 2)
        objective = Objective(terms, student, teacher, setting, config.teacher_norms)
        check_trainable(objective, config.tuning)
        check_part(objective, config.optimisation, accelerator.num_processes)
        task = _task(config, objective, pictures, given, length, accelerator, still)
    if task is not None and accelerator.is_main_process:
        if not config.where.plan:
            say_soft_labels(task, prior)
        say_layers(task)
        say_pretraining(task, config.pretraining)
    return train(
        verb="distill",
        run=run,
        identity=told(config) | given | {"cache_logits": config.cache_logits is not None},
        older=older(config),
        accelerator=accelerator,
        images=pictures.train,
        build=lambda: task,
        score=lambda task: scores(run, task, accelerator, pictures.test),
        optimisation=replace(config.optimisation, epochs=length),
        where=config.where,
        following=f"penult evaluate {run.quoted}{allowing(config.student, config.data.data)}" if guide else None,
        augmentation=pictures.augmentation,
        shift=shift,
    )


def _terms(config: Config) -> dict[str, Term]:
    """The terms by name, with their options."""
    return {name: getattr(config, name.replace("-", "_")) for name in parse(config.terms)}


def _pictures(config: Config, shift: Shift | None) -> _Pictures:
    """Read the images, hold some out where that was asked for, and say what is scored."""
    data = config.data
    images, test = train_and_test(data, config.where.data_root, config.augment)
    scored = {"test": test}
    if data.validation:
        images, scored[""] = split_validation(images, data.validation, config.optimisation.seed)
    if config.train_images is not None:
        images = balanced_subset(images, config.train_images, config.optimisation.seed)
    shape = images.image_shape
    if shift is not None:
        shape = shift.image_shape(shape)
        clean = {} if shift.small else scored  # which a student of smaller images cannot take
        scored = {f"{name} shifted".strip(): shifted_set(some, shift) for name, some in scored.items()} | clean
    augmentation = augmentation_by(augmenting(config.augment, data.data), images, config.crop_fill)
    if shift is not None and RESIZED_CROP in config.augment and not images.in_memory:
        raise InputError(
            f"--shift {config.shift} with --augment {config.augment}: parts are cut out of a folder's pictures as they "
            "are decoded, and the shift comes before that; leave one of them out"
        )
    return _Pictures(images, test, scored, shape, shift, augmentation)


def _teacher(config: Config, needs: Needs, pictures: _Pictures) -> Followed:
    network = classifier(config.teacher, config.foreign)
    check_classes(network.class_names, config.teacher, pictures.train, network.provenance.get("data"))
    found = followed(
        network, pictures.shape, needs, "teacher", config.teacher_taps, comparing=comparing(_terms(config))
    )
    if found.shapes.outputs == "log-probabilities":
        say(f"{config.teacher} gives log-probabilities; taken for logits they have the same soft labels.")
    return found


def _prior(config: Config, pictures: _Pictures, accelerator: Accelerator) -> ClassifierPrior:
    model = config.prior or config.teacher
    own = is_prior(model) or config.gauge.directions == "fitted"  # it has concentrations of its own
    words = config.concentration or (() if own else (str(CONCENTRATION),))
    place = {"gauge": config.gauge, "root": config.where.data_root, "accelerator": accelerator}
    prior = classifier_prior(model, words, config.foreign, **place)
    # Where it is the teacher's, that one has said what it was trained on.
    made_of = None if model == config.teacher else prior.provenance.dataset
    check_classes(prior.class_names, model, pictures.train, made_of)
    say_uniform(prior, model)
    return prior


def _name(config: Config) -> str:
    """The name of a run that was given none."""
    words = [] if config.train_images is None else [f"images{config.train_images}"]
    variant = "".join(f"-{word}" for word in (*words, *config.tuning.words))
    label = data_label(config.data.data, config.data.classes)
    return slug(f"{label}-{config.student}-{config.terms}{variant}-seed{config.optimisation.seed}")


@within_memory()
def _student(
    config: Config, needs: Needs, pictures: _Pictures, run: Run, accelerator: Accelerator
) -> tuple[Followed, Initial | None, tuple[nn.Module, ...]]:
    """The student, what it starts from, and what of it stays in evaluation mode.

    A training that cannot fit into memory is refused before it is built.
    """
    require_classes(pictures.train)
    optimisation, tuning = config.optimisation, config.tuning
    called, shape, speaks = f"--student {config.student}", pictures.shape, not run.finished
    if is_own(config.student) and config.penultimate is not None:
        raise InputError(
            f"--penultimate {config.penultimate} with {config.student}: your own code says what its layers are; leave "
            "it out"
        )
    statistics = channel_statistics(pictures.train)
    torch.manual_seed(derive(optimisation.seed, "weights"))
    build = partial(
        trainable,
        config.student,
        pictures.train.class_names,
        shape,
        config.own,
        lambda: statistics,
        flag="--student-",
        bare=run.finished,
        penultimate=config.penultimate,
        zero_bias=None if run.format >= 2 else False,
    )
    # Weights that are read lie nowhere else than in memory, and code of the user's own builds as it likes: both are
    # held to what is free before the first step.
    if not run.finished and not is_own(config.student) and trained_weights(config.student, {}) is None:
        with torch.device("meta"):
            bare = build()
        if tuning.freeze is not None:
            freeze(bare, tuning.freeze, shape, called=called)
        held = optimisation.batch_size // (optimisation.accumulate * accelerator.num_processes)
        needed = training_bytes(bare, shape, held, optimisation.optimizer, optimisation.precision)
        said = f"{called} with --batch-size {optimisation.batch_size}"
        # What is free differs from one process to the next.
        agreed(accelerator, lambda: check_memory(said, needed, accelerator.device, local_processes()))
    network = build()
    initial = begun(network, tuning, called, speaks)
    if config.sync_batchnorm:
        network = synchronised(network, called, accelerator.device)
    network.provenance |= {
        "data": config.data.data,
        "made by": f"penult distill {config.terms} {called}",
    } | ({} if initial is None else {"initial weights": initial.source})
    still = frozen(network, tuning, shape, called, speaks, () if initial is None else initial.new)
    taps = () if is_own(config.student) else config.student_taps  # of one's own they are its stages
    return followed(network, shape, needs, "student", taps, comparing=comparing(_terms(config))), initial, still


def _task(
    config: Config,
    objective: Objective,
    pictures: _Pictures,
    given: Mapping[str, Any],
    length: float,
    accelerator: Accelerator,
    still: tuple[nn.Module, ...],
) -> Distillation:
    """The task of the loop, which has `length` epochs in all."""
    return Distillation(
        objective,
        config.optimisation.seed,
        pictures.scored,
        pretraining=config.pretraining / length if len(objective.phases) > 1 else 0.0,
        batch_size=config.optimisation.batch_size,
        teacher_logits=None
        if config.cache_logits is None
        else _kept_logits(config, given, pictures, objective.teacher.network, accelerator),
        angle=_angle(config, objective, pictures),
        still=still,
        head_scale=config.tuning.head_scale(config.optimisation.lr),
        mixing=mixing_for(config.augment, None, config.optimisation.seed),
    )


def _angle(config: Config, objective: Objective, pictures: _Pictures) -> JacobianAngle | None:
    """What measures the angle of Jacobians, where it was asked for or a term trains by them."""
    asked = config.jacobian_angle or any(
        isinstance(request, Jacobians) and request.image
        for term in objective.terms.values()
        for request in term.needs.shared
    )
    if not asked:
        return None
    images = some_of(pictures.train)
    return JacobianAngle(
        objective.teacher.network, images if pictures.shift is None else shifted_set(images, pictures.shift)
    )


def _digests(
    config: Config,
    pictures: _Pictures,
    student: Followed,
    teacher: Followed | None,
    prior: ClassifierPrior | None,
) -> dict[str, Any]:
    """What the numbers hang on beside the configuration: images, teacher and prior."""
    given: dict[str, Any] = {
        "data_digest": pictures.train.digest,
        "teacher_digest": None if teacher is None else digest_of(teacher.network.state_dict()),
        "prior_digest": None if prior is None else digest_of(prior.state_dict()),
    }
    if config.foreign.taps or config.foreign.head:  # what else decides the taps is stored, or part of the networks
        given["taps"] = [*_seen(student), *_seen(teacher)]
    return given


def _seen(network: Followed | None) -> tuple[str, ...]:
    """The taps of a network that terms look at."""
    return () if network is None else (*network.stages, *([network.penultimate] if network.penultimate else []))


def _kept_logits(
    config: Config, given: Mapping[str, Any], pictures: _Pictures, teacher: Classifier, accelerator: Accelerator
) -> TeacherLogits | DeviceLogits:
    """The teacher's logits as --cache-logits keeps them, with a line on where they are."""
    key = {"teacher": given["teacher_digest"], "data": given["data_digest"], "precision": config.optimisation.precision}
    # A module of one's own may compute something else with the same weights.
    module = config.teacher if is_own(config.teacher) else getattr(teacher, "code", None)
    key |= {"shift": config.shift, "module": module}
    views, images = 1, pictures.train
    if pictures.augmentation is not None:
        key |= asdict(pictures.augmentation)
        views = pictures.augmentation.views
    made = partial(TeacherLogits, config.cache_logits, key, len(images), views, len(images.class_names))
    # The file is of one machine, as what maps it into memory is; the first process there makes it, then all open it.
    agreed(accelerator, made if accelerator.is_local_main_process else lambda: None)
    logits = made()
    held = DeviceLogits(logits, accelerator.device) if accelerator.device.type == "cuda" else None
    where = "" if held is None or not held.held else ", held on the GPU as they come up"
    say(
        f"The teacher's logits of {counted(len(images), 'image')} in {counted(views, 'view')} are kept in "
        f"{logits.path} ({logits.size / 1e9:.2g} GB, {logits.filled():.1%} filled in){where}."
    )
    return held or logits
