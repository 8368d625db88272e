"""Distil a teacher, or a teacher's prior, into a student: terms such as ce+ckd or ce+hinton+attention.

penult ls terms says what there is; with terms, --help lists their options as well. A term that needs a prior (ckd)
reads it off --prior, a file of penult prior or a MODEL, or else off the teacher, which it never runs.

The defaults are the protocol of Tian, Krishnan and Isola (2020) on CIFAR-100: 240 epochs of SGD at .05, divided by 10
after 150, 180 and 210 of them, batches of 64, weight decay 5e-4. The same command again resumes it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from apps.command.config import Data, Foreign, Optimisation, Where, identity

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.augment import Augmentation
    from apps.data.image_set import ImageSet
    from apps.data.shift import Shift
    from apps.distilling.distillation import Distillation, Followed
    from apps.distilling.teacher_logits import TeacherLogits
    from apps.runs.run import Run
    from distill.term import Needs, Term
    from priors.classifier_prior import ClassifierPrior

CONCENTRATION = 80.0
"""Of each class of a teacher's prior where nothing else is said (section 4.1.1 of the paper of class-wise KD)."""


PRETRAINING = 30.0
"""Epochs of a term's own phase, as Tian et al. (2020) have it."""


def _protocol() -> Optimisation:
    return Optimisation(
        epochs=240.0,
        batch_size=64,
        optimizer="momentum",
        lr=0.05,
        weight_decay=5e-4,
        schedule="step",
        milestones=(0.625, 0.75, 0.875),
        decay=0.1,
    )


@dataclass(frozen=True)
class Config:
    """Distil."""

    terms: tyro.conf.Positional[str]
    """What is minimised: terms joined by +, such as ce+hinton."""
    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    teacher: str | None = None
    """The teacher: a MODEL, see penult --help."""
    prior: str | None = None
    """Whose prior ckd takes: a file of penult prior --out, or a MODEL; unset: the teacher's."""
    concentration: tuple[str, ...] = ()
    """Of the prior: a number, one a class, or a strategy such as mle; unset: 80, or a saved prior's own."""
    student: str = "wrn-16-2"
    """Architecture of the student: a name of `penult ls classifiers`."""
    penultimate: int | None = None
    """Width of the student's penultimate layer; unset: the architecture's own."""
    student_taps: tuple[str, ...] = ()
    """Names of the student's modules whose outputs are compared; unset: its stages."""
    teacher_taps: tuple[str, ...] = ()
    """Names of the teacher's, one for each of the student's."""
    teacher_norms: Literal["running", "batch"] = "running"
    """Statistics of the teacher's batch norm: those it was trained to, or each batch's own."""
    cache_logits: Path | None = None
    """Folder to keep the teacher's logits of each view of each image in, as float16, for later epochs and runs."""
    pretraining: float = PRETRAINING
    """Epochs of each term that has a phase of its own (ab, ft), before the others."""
    augment: Literal["auto", "none", "flip", "crop", "crop+flip"] = "auto"
    """Random crops with 4 pixels of padding, and flips; auto: what is usual for the data set."""
    crop_fill: Literal["black", "mean"] = "black"
    """What a crop's padding holds."""
    shift: str | None = None
    """Domain of the student's images: photometric:0.4 (strength), downsample:0.5 (rate) or downsample:0.5:small."""
    seeds: int = 1
    """Students to train, with seeds --seed, --seed + 1, ...: each is a run, NAME-seedN, and their spread is printed."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def configuration(words: Sequence[str]) -> type[Config]:
    """The configuration with the options of the terms that a command line begins with.

    Raises:
        InputError: an unknown term, one given twice, or options before the terms.
    """
    if not words or words[0] in ("-h", "--help"):
        return Config
    from distill.terms import parse, terms
    from priors.errors import InputError

    if words[0].startswith("-"):
        raise InputError(f"{words[0]} before the terms, which say what options there are: penult distill ce+hinton ...")

    kinds = {name: terms()[name] for name in parse(words[0])}
    options = [(name.replace("-", "_"), kind, field(default_factory=kind)) for name, kind in kinds.items()]
    return make_dataclass("Config", options, bases=(Config,), frozen=True)


def main(config: Config, guide: bool = True) -> None:
    """Distil, or resume, or say that it is done and, with `guide`, what to type next; of several seeds their spread."""
    from priors.errors import InputError

    if config.seeds < 1:
        raise InputError(f"--seeds {config.seeds}: expected 1 or more")
    if config.seeds == 1:
        _distil(config, guide)
        return
    name, first, results = config.where.name, config.optimisation.seed, {}
    for seed in range(first, first + config.seeds):
        where = replace(config.where, name=None if name is None else f"{name}-seed{seed}")
        results[seed] = _distil(
            replace(config, optimisation=replace(config.optimisation, seed=seed), where=where), False
        )
    if os.environ.get("RANK", "0") == "0":
        _say_spread(config.terms, results)


def _distil(config: Config, guide: bool) -> dict[str, Any]:
    """One student; what it came to."""
    import torch

    from apps.data import sources
    from apps.data.augment import augmentation_for
    from apps.data.image_set import channel_statistics, split_validation
    from apps.data.shift import parse_shift, shifted_set
    from apps.data.sources.catalogue import augmenting
    from apps.distilling.distillation import Distillation, followed, needs_of
    from apps.models.named import check_classes, classifier
    from apps.runs.run import Run
    from apps.seeds import derive, generator
    from apps.training.memory import check_memory, training_bytes
    from apps.training.session import gather_with_gradients, local_processes, start
    from apps.training.train import data_label, slug, train
    from distill.term import Setting
    from distill.terms import parse
    from priors import zoo
    from priors.storage import digest_of

    where, optimisation, data = config.where, config.optimisation, config.data
    terms = {name: getattr(config, name.replace("-", "_")) for name in parse(config.terms)}
    needs = needs_of(terms)
    shift = None if config.shift is None else parse_shift(config.shift)
    _check(config, terms, needs, shift)
    accelerator = start(where, precision=optimisation.precision)
    images, test = (
        sources.load(data.data, split, root=where.data_root, image_size=data.image_size) for split in ("train", "test")
    )
    scored = {"test": test}
    if data.validation:
        images, scored[""] = split_validation(images, data.validation, optimisation.seed)
    shape = images.image_shape
    if shift is not None:
        shape = shift.image_shape(shape)
        clean = {} if shift.small else scored  # which a student of smaller images cannot take
        scored = {f"{name} shifted".strip(): shifted_set(some, shift) for name, some in scored.items()} | clean
    teacher = prior = None
    if needs.teacher:
        network = classifier(config.teacher, config.foreign)
        check_classes(network.class_names, config.teacher, images)
        teacher = followed(network, shape, needs, config.teacher_taps, "teacher")
    if needs.prior:
        prior = _prior(config, accelerator)
        check_classes(prior.class_names, config.prior or config.teacher, images)
    mean, std = channel_statistics(images)
    torch.manual_seed(derive(optimisation.seed, "weights"))
    wanted = {
        "classes": images.class_names, "image_shape": shape, "penultimate": config.penultimate, "mean": mean, "std": std
    }  # fmt: skip
    run = Run(
        where.runs
        / (where.name or slug(f"{data_label(data.data)}-{config.student}-{config.terms}-seed{optimisation.seed}"))
    )
    if not run.finished:
        with torch.device("meta"):
            bare = zoo.build(config.student, **wanted)
        held = optimisation.batch_size // (optimisation.accumulate * accelerator.num_processes)
        needed = training_bytes(bare, shape, held, optimisation.optimizer, optimisation.precision)
        said = f"--student {config.student} with --batch-size {optimisation.batch_size}"
        check_memory(said, needed, accelerator.device, local_processes())
    network = zoo.build(config.student, **wanted)
    network.provenance = {"data": data.data, "made by": f"penult distill {config.terms} --student {config.student}"}
    student = followed(network, shape, needs, config.student_taps, "student")
    augment = augmenting(config.augment, data.data)
    augmentation = augmentation_for(
        images, flip="flip" in augment, padding=4 if "crop" in augment else 0, fill=config.crop_fill
    )
    given = {
        "data_digest": images.digest,
        "teacher_digest": None if teacher is None else digest_of(teacher.network.state_dict()),
        "prior_digest": None if prior is None else digest_of(prior.state_dict()),
    }
    if config.foreign.taps or config.foreign.head:  # what else decides the taps is stored, or part of the networks
        given["taps"] = [*_seen(student), *_seen(teacher)]
    before = _phases(terms) * config.pretraining
    length = optimisation.epochs + before

    def made() -> Distillation:
        setting = Setting(
            student.shapes,
            None if teacher is None else teacher.shapes,
            images.labels.cpu(),
            prior,
            generator("cpu", optimisation.seed, "terms"),
            accelerator.gather,
            gather_with_gradients,
        )
        return Distillation(
            student,
            teacher,
            terms,
            setting,
            optimisation.seed,
            scored,
            pretraining=config.pretraining / length if before else 0.0,
            teacher_norms=config.teacher_norms,
            batch_size=optimisation.batch_size,
            teacher_logits=None
            if config.cache_logits is None
            else _cache(config, given, images, augmentation, accelerator),
        )

    task = None if run.finished else made()  # shapes that do not fit are refused before there is a folder
    if prior is not None and task is not None and accelerator.is_main_process:
        _say_soft_labels(task, prior)
    return train(
        verb="distill",
        run=run,
        identity={key: value for key, value in identity(_without_terms(config)).items() if key != "seeds"}
        | {f"{name}.{key}": value for name, term in terms.items() for key, value in asdict(term).items()}
        | given
        | {"cache_logits": config.cache_logits is not None},
        accelerator=accelerator,
        images=images,
        build=lambda: task,
        score=lambda task: _scores(run, task, accelerator, len(test)),
        optimisation=replace(optimisation, epochs=length),
        where=where,
        following=f"penult evaluate {run.folder}" if guide else None,
        augmentation=augmentation,
        shift=shift,
    )


def _say_spread(terms: str, results: Mapping[int, dict[str, Any]]) -> None:
    """The test scores of each seed, their means and standard deviations."""
    from statistics import mean, stdev

    from apps.command.console import table

    first = next(iter(results.values()))
    names = [name for name in ("shifted accuracy", "accuracy", "best accuracy") if f"test/{name}" in first]
    columns = {name: [100 * result[f"test/{name}"] for result in results.values()] for name in names}
    rows = [(seed, *(f"{values[row]:.2f}" for values in columns.values())) for row, seed in enumerate(results)]
    rows.append(("mean", *(f"{mean(values):.2f} +- {stdev(values):.2f}" for values in columns.values())))
    table(
        f"{terms}: test accuracy in %",
        ("seed", *names),
        rows,
        "of the last weights; best: after any validation; +-: sd",
    )


def _phases(terms: "Mapping[str, Term]") -> int:
    """How many terms have a phase of their own."""
    return sum(bool(term.pretrains) for term in terms.values())


def _seen(network: "Followed | None") -> tuple[str, ...]:
    """The taps of a network that terms look at."""
    return () if network is None else (*network.stages, *([network.penultimate] if network.penultimate else []))


def _say_soft_labels(task: "Distillation", prior: "ClassifierPrior") -> None:
    """How sure the targets of ckd are, since that hangs on the concentration and the dimension."""
    from apps.command.console import say

    kappa = prior.concentration
    many = f"{kappa.min():.4g}" if kappa.min() == kappa.max() else f"{kappa.min():.4g} to {kappa.max():.4g}"
    own = task.soft_labels.diagonal()
    say(
        f"Soft labels by a concentration of {many} in {prior.dim} dimensions: {own.mean():.3f} on the class itself on "
        f"average ({own.min():.3f} to {own.max():.3f})."
    )


def _check(config: Config, terms: "Mapping[str, Term]", needs: "Needs", shift: "Shift | None") -> None:
    """Refuse what is missing, and what is given for nothing."""
    from priors.errors import InputError

    if all(term.needs.stages or term.needs.penultimate for term in terms.values()):
        raise InputError(f"nothing in {config.terms} trains the student's final layer: add ce, hinton or ckd")
    coupled = [name for name, term in terms.items() if term.couples]
    if coupled and config.optimisation.accumulate > 1:
        raise InputError(
            f"--accumulate {config.optimisation.accumulate}: {coupled[0]} compares the images of a batch with one "
            "another, and parts would be other batches; leave it out, or take a smaller --batch-size"
        )
    if needs.teacher and config.teacher is None:
        raise InputError(f"{config.terms} looks at a teacher: give --teacher MODEL")
    if needs.prior and config.teacher is None and config.prior is None:
        raise InputError(
            f"{config.terms} needs a prior: give --prior FILE, as penult prior MODEL --concentration "
            f"{CONCENTRATION:g} --out FILE.safetensors writes one, or --teacher MODEL"
        )
    used = needs.teacher or (needs.prior and config.prior is None)
    for flag, value, wanted, why in (
        ("--teacher", config.teacher, used, "looks at no teacher"),
        ("--prior", config.prior, needs.prior, "takes no prior"),
        ("--concentration", " ".join(config.concentration), needs.prior, "takes no prior"),
        ("--teacher-norms", config.teacher_norms.replace("running", ""), needs.teacher, "runs no teacher"),
        ("--student-taps", " ".join(config.student_taps), needs.stages, "compares no feature maps"),
        ("--teacher-taps", " ".join(config.teacher_taps), needs.stages, "compares no feature maps"),
    ):
        if value and not wanted:
            raise InputError(f"{flag} {value}: {config.terms} {why}; leave it out")
    if config.cache_logits is not None:
        for wrong, why in (
            (not needs.teacher, f"{config.terms} looks at no teacher"),
            (needs.penultimate or needs.stages, f"{config.terms} looks at more of the teacher, which runs anyway"),
            (shift is not None and shift.drawn, f"--shift {config.shift} gives an image more views than could be kept"),
            (config.teacher_norms == "batch", "--teacher-norms batch makes an image's logits depend on its batch"),
        ):
            if wrong:
                raise InputError(f"--cache-logits {config.cache_logits}: {why}; leave it out")
    if not 0 < config.pretraining < float("inf"):
        raise InputError(f"--pretraining {config.pretraining}: expected a number of epochs above 0")
    if config.pretraining != PRETRAINING and not _phases(terms):
        raise InputError(f"--pretraining {config.pretraining}: no term of {config.terms} has a phase; leave it out")
    if config.optimisation.patience is not None and not config.data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")


def _prior(config: Config, accelerator: "Accelerator") -> "ClassifierPrior":
    from apps.models.classifier_priors import classifier_prior, is_saved

    model = config.prior or config.teacher
    words = config.concentration or (() if is_saved(model) else (str(CONCENTRATION),))
    return classifier_prior(model, words, config.foreign, root=config.where.data_root, accelerator=accelerator)


def _cache(
    config: Config,
    given: dict,
    images: "ImageSet",
    augmentation: "Augmentation | None",
    accelerator: "Accelerator",
) -> "TeacherLogits":
    from apps.command.console import say
    from apps.distilling.teacher_logits import TeacherLogits
    from apps.training.session import on_main

    key = {"teacher": given["teacher_digest"], "data": given["data_digest"], "precision": config.optimisation.precision}
    # A module of one's own may compute something else with the same weights.
    key |= {"shift": config.shift, "module": config.teacher if config.teacher.startswith("import:") else None}
    views = 1
    if augmentation is not None:
        key |= asdict(augmentation)
        views = augmentation.views
    made = partial(TeacherLogits, config.cache_logits, key, len(images), views, len(images.class_names))
    on_main(accelerator, made)  # the file, by one process; then all open it
    logits = made()
    say(
        f"The teacher's logits of {len(images):,} images in {views} views are kept in {logits.path} "
        f"({logits.size / 1e9:.2g} GB, {logits.filled():.1%} filled in)."
    )
    return logits


def _without_terms(config: Config) -> Config:
    return Config(**{part.name: getattr(config, part.name) for part in fields(Config)})


def _scores(run: "Run", task: "Distillation", accelerator: "Accelerator", images: int) -> dict[str, Any]:
    """Final scores of the weights that are kept, and the best test accuracy on the way, which some papers report."""
    from apps.training.session import sweeping

    found = task.validate(task.networks["model"], sweeping(accelerator), 0)
    result = {f"test/{name.removeprefix('test ')}": value for name, value in found.items() if name.startswith("test ")}
    first = next(name for name in found if name.startswith("test ") and name.endswith("accuracy"))
    seen = [entry[f"validation/{first}"] for entry in run.metrics() if f"validation/{first}" in entry]
    return result | {"test/best accuracy": max([*seen, found[first]]), "test/images": images}
