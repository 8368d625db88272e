"""The verbs and how they are called. Nothing heavy is imported before a verb runs, so that help is instant."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from functools import cache
from importlib import import_module
from itertools import takewhile
from types import ModuleType
from typing import Any

from apps.command import ending
from apps.command.answer import Answering, answering
from apps.command.console import printable
from apps.command.errors import Diverged, Interrupted, Planned, Unmet
from apps.command.given import running
from apps.command.launch import is_first
from apps.command.own_code import allow_named
from apps.command.places import holding
from apps.command.shortage import shortage
from apps.command.streams import ready
from priors.errors import InputError

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("apps.verbs.demo", "the whole path on a small data set, in a minute; or a tour of five papers"),
    "train classifier": ("apps.verbs.train_classifier", "train a classifier from the zoo"),
    "train autoencoder": (
        "apps.verbs.train_autoencoder",
        "train a classifier's layers and a decoder to rebuild images",
    ),
    "train hvae": ("apps.verbs.train_hvae", "train an HVAE, HVAE-C, HVAE-L or HVAE-M"),
    "train sngan": ("apps.verbs.train_sngan", "train an SNGAN on Gaussian, uniform or vMF latents"),
    "distill": ("apps.verbs.distill", "train a student on a teacher, on its prior, or on both"),
    "prune": ("apps.verbs.prune", "take the smallest weights out of a classifier, and train what is left"),
    "prior": ("apps.verbs.prior", "read the vMF prior off a classifier's final layer"),
    "sample": ("apps.verbs.sample", "draw images from a trained generator"),
    "evaluate": ("apps.verbs.evaluate", "score a run on the test images"),
    "analyse normalised": ("apps.verbs.analyse_normalised", "accuracy with activations and weights normalised"),
    "analyse circle": ("apps.verbs.analyse_circle", "draw a classifier of two penultimate units through its training"),
    "analyse gauges": ("apps.verbs.analyse_gauges", "follow the gauge of a classifier's prior through its training"),
    "analyse anomaly": ("apps.verbs.analyse_anomaly", "out-of-distribution scores and calibration of a classifier"),
    "analyse invert": ("apps.verbs.analyse_invert", "see what a classifier's layers keep of an image, by densities"),
    "analyse spectrum": ("apps.verbs.analyse_spectrum", "power spectra of images and of a network's maps"),
    "analyse saliency": ("apps.verbs.analyse_saliency", "where in an image a class is seen, by several methods"),
    "analyse perturb": ("apps.verbs.analyse_perturb", "what is lost as pixels go in the order of saliency maps"),
    "analyse layers": ("apps.verbs.analyse_layers", "one sheet of a network's layers: what each lens says of them"),
    "analyse discard": ("apps.verbs.analyse_discard", "what layers discard of an image, in nats, by three measures"),
    "analyse coherency": ("apps.verbs.analyse_coherency", "whether what layers discard hangs on the scale of weights"),
    "analyse robustness": ("apps.verbs.analyse_robustness", "how far images are from a classifier's wrong classes"),
    "export": ("apps.verbs.export", "write a run as a folder to hand on, with a model card; push it to the Hub"),
    "report": ("apps.verbs.report", "write one page on a run, or several side by side"),
    "table": ("apps.verbs.table", "reproduce a table of a paper, ours beside the published"),
    "show": ("apps.verbs.show", "print the command that made a run, its state and its settings"),
    "completion": ("apps.verbs.completion", "print what a shell needs to complete penult's command lines"),
    "ls": ("apps.verbs.ls", "list runs, classifiers, datasets, terms or tables"),
}

ANSWERS = {"prior", "evaluate", "table", "ls", "show", *(verb for verb in VERBS if verb.startswith("analyse "))}
"""Verbs that give a document of what they found, where they are asked for it by --json."""
ALONE = {"sample", "export", "report", "ls", "show", "completion"}
"""Verbs that one process does: of several the others have nothing to do."""

_THE_USERS_TO_MEND = {
    getattr(errno, name)
    for name in (
        "ENOSPC EDQUOT EROFS EACCES EPERM EFBIG ENOTDIR EISDIR EEXIST ENAMETOOLONG EIO ELOOP EMFILE ENFILE ENXIO "
        "EBUSY ESTALE ENOTEMPTY EXDEV ETXTBSY"
    ).split()
    if hasattr(errno, name)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0: done; 1: failed; 2: bad input; 130: interrupted; 141: the reader of what is printed is gone, as a shell says of
    other programs.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with ready(), holding():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    """The exit status of one command line, with what is wrong in one line."""
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        return _say("interrupted; the same command starts again from its last checkpoint, where it had one", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if ending.is_lost(error):
            return _say(ending.said_of_lost(), 1, lost=True)
        # Before all else: readers of what users bring take any error for a damaged file.
        if short := shortage(error, lambda: flags_of(arguments)):
            return _say(short, 1, every=True)
        return _ended(error, arguments)


def _ended(error: Exception, arguments: list[str]) -> int:
    """The exit status where an error ended a command; what is a bug is raised again."""
    if isinstance(error, InputError):
        return _say(f"{error}{_origins(arguments, str(error))}", 2)
    if isinstance(error, Planned):
        return 0
    if isinstance(error, OSError):
        # ENOENT of a named file: it was there when it was looked at, or its folder cannot be made, as in /proc.
        if error.errno in _THE_USERS_TO_MEND or (error.errno == errno.ENOENT and error.filename):
            place = f"{error.filename}: " if error.filename else ""
            return _say(f"{place}{error.strerror}; mend that and give the same command again", 1)
    if isinstance(error, Interrupted):
        return _say(f"{error}; to go on: penult {shlex.join(arguments)}", 130)
    if isinstance(error, Diverged | Unmet):
        return _say(error, 1)
    ending.note()
    raise error


def _say(message: object, status: int, every: bool = False, lost: bool = False) -> int:
    """One line on standard error; of several processes from the one that is to say it.

    Args:
        message: the line.
        status: to give back.
        every: whether each process says it for itself.
        lost: whether all that is known is that another process is gone.
    """
    if ending.speaks(lost) or every:
        line = f"{'' if lost else ending.name()}{message}"
        print(f"penult: {printable(' '.join(line.split()))}", file=sys.stderr, flush=True)
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from apps.command.version import own_version

        print(f"penult {own_version()}")
        return 0
    group = [verb for verb in VERBS if verb.startswith(f"{arguments[0]} ")]
    if group and (len(arguments) < 2 or arguments[1] in ("-h", "--help")):
        print(overview(group))
        if len(arguments) > 1:
            return 0
        names = [verb.partition(" ")[2] for verb in group]
        return _say(f"a word is missing after {arguments[0]}: give {', '.join(names[:-1])} or {names[-1]}", 2)
    name, words = verb_of(arguments)
    allow_named(words)
    try:
        words = completed(name, words)
        module, config = configured(name, words)
    except SystemExit as stop:  # after help, or a message of the parser's own
        return int(stop.code or 0)
    if name in ALONE and not is_first():
        return 0
    asked = name in ANSWERS and "--json" in takewhile(lambda word: word != "--", words)
    with running([*name.split(), *words]), answering(name, words, asked) as answer:
        status = module.main(config) or 0
        answer.wanted = not status
    return status


def verb_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The verb that a command line begins with, and the words after it.

    Raises:
        InputError: there is no such verb (the nearest is offered).
    """
    group = [verb for verb in VERBS if verb.startswith(f"{arguments[0]} ")]
    count = 2 if group else 1
    name = " ".join(arguments[:count])
    if name not in VERBS:
        from apps.command.spelling import nearest_verb  # not before: it imports the parser

        raise nearest_verb(arguments, list(VERBS))
    return name, list(arguments[count:])


def configured(name: str, words: list[str]) -> tuple[ModuleType, Any]:
    """A verb's module, and the configuration that the words after it mean, without what the command line itself reads.

    Raises:
        InputError: a value cannot be; one line says which.
        SystemExit: the words ask for help, or the parser does not understand them; it has printed what there is to say.
    """
    from apps.command.flags import parse

    module, words = import_module(VERBS[name][0]), completed(name, words)
    own = _kind(module, words)
    found = parse(_with_shared(own, name), name, module.__doc__, words)
    return module, own(**{part.name: getattr(found, part.name) for part in fields(own)})


def completed(name: str, words: Sequence[str]) -> list[str]:
    """The words after a verb, and in the place of --like and --config what they stand for.

    Raises:
        InputError: no such run or file, or settings that the verb has not or that cannot be.
    """
    module = import_module(VERBS[name][0])
    sources, rest = _elsewhere(module, name, words)
    if not sources:
        return rest
    from apps.command.settings import completed as with_settings

    return with_settings(name, module.Config, getattr(module, "configuration", None), rest, sources)


def _elsewhere(module: ModuleType, name: str, words: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Where else settings come from (see `apps.command.settings.Source`), and the words that do not say so."""
    if not hasattr(module, "like") or not any(word.startswith(("--like", "--config")) for word in words):
        return [], list(words)
    from apps.command.settings import file_of_settings, split

    elsewhere, rest = split(words)
    sources = [file_of_settings(elsewhere["config"])] if "config" in elsewhere else []
    if "like" in elsewhere:
        sources.append(module.like(elsewhere["like"], name))
    return sources, rest


def _origins(arguments: Sequence[str], message: str) -> str:
    """Which settings that a message speaks of are another run's or a file's, and not the command line's."""
    try:
        name, words = verb_of(arguments)
        module = import_module(VERBS[name][0])
        sources, rest = _elsewhere(module, name, words)
        if not sources:
            return ""
        from apps.command.settings import origins

        return origins(name, _kind(module, completed(name, words)), rest, sources, message)
    except InputError:  # that is what the message is about
        return ""


def kind_of(name: str, words: Sequence[str]) -> type:
    """All that a verb can be told, with the words after it.

    Args:
        name: of the verb.
        words: after it; only those count that say which options there are.
    """
    return _with_shared(_kind(import_module(VERBS[name][0]), words), name)


def options_after(arguments: Sequence[str]) -> tuple[type, list[Any]]:
    """What the verb that a command line begins with is told, and the options that it has for that.

    Raises:
        InputError: no such verb, or words that it has no options for.
    """
    from apps.command.options import options_of  # not before: it imports the parser

    name, words = verb_of(arguments)
    kind = _kind(import_module(VERBS[name][0]), words)
    return kind, list(options_of(kind))


def flags_of(arguments: Sequence[str]) -> list[str]:
    """The flags of the verb that a command line begins with."""
    from apps.command.options import options_of  # not before: it imports the parser

    name, words = verb_of(arguments)
    return [option.flag for option in options_of(kind_of(name, words))]


def _kind(module: ModuleType, words: Sequence[str]) -> type:
    """What a verb is told; one whose options depend on its first word says which there are."""
    return module.configuration(words) if hasattr(module, "configuration") else module.Config


@cache
def _with_shared(kind: type, verb: str) -> type:
    """What a verb is told, and the flags that several verbs share and the command line reads."""
    shared = [Answering] if verb in ANSWERS else []
    if hasattr(import_module(VERBS[verb][0]), "like"):
        from apps.command.settings import Settings

        shared.append(Settings)
    return make_dataclass("Config", (), bases=(*shared, kind), frozen=True) if shared else kind


def overview(verbs: Sequence[str] = tuple(VERBS)) -> str:
    """What `penult --help` prints."""
    width = max(map(len, verbs)) + 2
    heads = {verb.partition(" ")[0] for verb in verbs}
    group = f"{heads.pop()} " if len(heads) == 1 else ""
    lines = [
        f"usage: penult {group}VERB [OPTIONS]",
        "",
        "A generative model is hidden in every classifier; this suite puts it to work.",
        "",
    ]
    lines += [f"  {verb:<{width}}{VERBS[verb][1]}" for verb in verbs]
    lines += [
        "",
        f"penult {group}VERB --help explains a verb; the same command again resumes what was stopped.",
        "",
        "A MODEL is a run's folder, pretrained:NAME (penult ls pretrained), torchvision:NAME[:WEIGHTS],",
        "timm:NAME[:TAG], or your own module by import:package.module:factory[,weights=FILE.safetensors].",
    ]
    return "\n".join(lines)
