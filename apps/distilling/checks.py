"""What a distillation is refused for before anything is read: what is missing, and what is given for nothing."""

from collections.abc import Iterator, Mapping

from apps.command.config import Optimisation
from apps.data.augment_words import RESIZED_CROP, augment_words
from apps.data.shift import Shift
from apps.distilling.settings import CONCENTRATION, PRETRAINING, Config
from apps.models.tuning import Tuning
from distill.combination import not_mixable
from distill.term import Needs, Term
from distill.weighted_sum import Objective
from priors.errors import InputError


def check(config: Config, terms: Mapping[str, Term], needs: Needs, shift: Shift | None) -> None:
    """Refuse what is missing, and what is given for nothing.

    Args:
        config: what was asked for.
        terms: by name.
        needs: of all of them.
        shift: of the student's images.

    Raises:
        InputError: the flag, what is wrong with it and what to do.
    """
    mixed = augment_words(config.augment).mixes
    for name, term in terms.items() if mixed else ():
        if why := not_mixable(name, term):
            raise InputError(
                f"--augment {config.augment}: {name} {why}, and mixed images are of two; leave one of them out"
            )
    _check_what_is_missing(config, terms, needs)
    for flag, value, wanted, why in _flags_that_hang_on_terms(config, needs):
        if value and not wanted:
            raise InputError(f"{flag} {value}: {config.terms} {why}; leave it out")
    for wrong, why in _against_cached_logits(config, needs, shift) if config.cache_logits is not None else ():
        if wrong:
            raise InputError(f"--cache-logits {config.cache_logits}: {why}; leave it out")
    if config.pretraining != PRETRAINING and not any(term.pretrains for term in terms.values()):
        raise InputError(f"--pretraining {config.pretraining}: no term of {config.terms} has a phase; leave it out")
    if config.sync_batchnorm and needs.derivatives:
        raise InputError(
            f"--sync-batchnorm: {config.terms} derives the student's outputs and trains by that, which batch norm over "
            "several processes does not allow; leave it out, or take derivatives by running statistics, as "
            "--jacobian.norms running does, where a term has that"
        )
    if config.optimisation.patience is not None and not config.data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")


def check_trainable(objective: Objective, tuning: Tuning) -> None:
    """Refuse a phase that trains nothing but what is frozen.

    Raises:
        InputError: there is one.
    """
    for phase in objective.phases:
        if not any(one.requires_grad for one in objective.trainable(phase)):
            raise InputError(
                f"--freeze {tuning.freeze}: {phase} has a phase of its own, in which the student is trained by its "
                "feature maps, and all that gives them is frozen; leave one of them out"
            )


def check_part(objective: Objective, optimisation: Optimisation, processes: int) -> None:
    """Refuse batches of which a term cannot make statistics, as one image.

    Raises:
        InputError: the flag, and what the term needs.
    """
    parts = processes * optimisation.accumulate
    for phase in objective.phases:
        try:
            objective.check_batch(optimisation.batch_size // parts, phase)
        except InputError as error:
            shared = f" in {parts} parts" if parts > 1 else ""
            raise InputError(f"--batch-size {optimisation.batch_size}{shared}: {error}") from error


def _check_what_is_missing(config: Config, terms: Mapping[str, Term], needs: Needs) -> None:
    if all(term.needs.stages or term.needs.penultimate for term in terms.values()):
        raise InputError(f"nothing in {config.terms} trains the student's final layer: add ce, hinton or ckd")
    coupled = [name for name, term in terms.items() if term.couples]
    if coupled and config.optimisation.accumulate > 1:
        raise InputError(
            f"--accumulate {config.optimisation.accumulate}: {coupled[0]} compares the images of a batch with one "
            "another, and parts would be other batches; leave it out, or take a smaller --batch-size"
        )
    if needs.teacher_at_all and config.teacher is None:
        raise InputError(f"{config.terms} looks at a teacher: give --teacher MODEL")
    if config.jacobian_angle and config.teacher is None:
        raise InputError("--jacobian-angle compares the student with a teacher: give --teacher MODEL")
    if needs.prior and config.teacher is None and config.prior is None:
        raise InputError(
            f"{config.terms} needs a prior: give --prior FILE, as penult prior MODEL --concentration "
            f"{CONCENTRATION:g} --out FILE.safetensors writes one, or --teacher MODEL"
        )


def _flags_that_hang_on_terms(config: Config, needs: Needs) -> Iterator[tuple[str, object, bool, str]]:
    """Each flag, its value, whether the terms use it, and what to say where they do not."""
    used = needs.teacher_at_all or config.jacobian_angle or (needs.prior and config.prior is None)
    yield "--teacher", config.teacher, used, "looks at no teacher"
    yield "--prior", config.prior, needs.prior, "takes no prior"
    yield "--concentration", " ".join(config.concentration), needs.prior, "takes no prior"
    yield config.gauge.given().partition(" ")[0], config.gauge.given(), needs.prior, "takes no prior"
    yield "--teacher-norms", config.teacher_norms.replace("running", ""), needs.teacher, "runs no teacher"
    yield "--student-taps", " ".join(config.student_taps), needs.stages, "compares no feature maps"
    yield "--teacher-taps", " ".join(config.teacher_taps), needs.stages, "compares no feature maps"


def _against_cached_logits(config: Config, needs: Needs, shift: Shift | None) -> Iterator[tuple[bool, str]]:
    """Each reason not to keep a teacher's logits: whether it holds, and the reason."""
    yield config.where.plan, "--plan writes nothing"
    yield not needs.teacher, f"{config.terms} runs no teacher while the student is trained"
    yield needs.more_than_logits, f"{config.terms} looks at more of the teacher, which runs anyway"
    yield (
        shift is not None and shift.drawn,
        f"--shift {config.shift} gives an image more views than could be kept",
    )
    said = augment_words(config.augment)
    endless = RESIZED_CROP in config.augment or said.policy is not None
    yield endless, f"--augment {config.augment} gives an image more views than could be kept"
    yield bool(said.mixes), f"--augment {config.augment} mixes images with others, each time anew"
    yield config.teacher_norms == "batch", "--teacher-norms batch makes an image's logits depend on its batch"
