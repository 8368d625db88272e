"""Verbs and options that there are not, and what was meant by them."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from priors.errors import InputError, unknown

VERB_SYNONYMS = {
    "analyze": "analyse",
    "anomaly": "analyse anomaly",
    "calibrate": "analyse anomaly",
    "circle": "analyse circle",
    "classifier": "train classifier",
    "classify": "train classifier",
    "display": "report",
    "distil": "distill",
    "distillation": "distill",
    "draw": "sample",
    "eval": "evaluate",
    "example": "demo",
    "fid": "evaluate",
    "fit": "train",
    "gan": "train sngan",
    "gauge": "analyse gauges",
    "gauges": "analyse gauges",
    "generate": "sample",
    "html": "report",
    "hvae": "train hvae",
    "invert": "analyse invert",
    "learn": "train",
    "list": "ls",
    "normalised": "analyse normalised",
    "normalized": "analyse normalised",
    "ood": "analyse anomaly",
    "plot": "report",
    "publish": "export",
    "push": "export",
    "quickstart": "demo",
    "recipe": "table",
    "reproduce": "table",
    "save": "export",
    "score": "evaluate",
    "sngan": "train sngan",
    "start": "demo",
    "test": "evaluate",
    "tutorial": "demo",
    "upload": "export",
    "vae": "train hvae",
    "validate": "evaluate",
}
"""Verbs by the words that others use for them."""

FLAG_SYNONYMS = {
    "b": "batch-size",
    "c": "concentration",
    "d": "data",
    "e": "epochs",
    "f": "overwrite",
    "j": "threads",
    "l": "labels lr",
    "o": "out",
    "s": "seed",
    "t": "threads",
    "alpha": "lr",
    "amp": "precision",
    "architecture": "arch student",
    "backbone": "arch student",
    "batch": "batch-size",
    "bf16": "precision",
    "bs": "batch-size",
    "checkpoint-interval": "checkpoint-every",
    "class": "labels",
    "classes": "labels",
    "clip-grad": "clip",
    "count": "n images",
    "cpu": "device",
    "cuda": "device",
    "data-dir": "data-root",
    "data-path": "data-root",
    "dataset": "data",
    "dataset-root": "data-root",
    "destination": "out",
    "dimension": "latent-dim",
    "early-stopping": "patience",
    "encoder": "hidden",
    "exp-name": "name",
    "experiment": "name",
    "force": "overwrite",
    "fp16": "precision",
    "gpu": "device",
    "grad-clip": "clip",
    "gradient-accumulation-steps": "accumulate",
    "gradient-clip": "clip",
    "hidden-dim": "hidden",
    "hidden-size": "hidden",
    "iterations": "steps epochs",
    "iters": "steps epochs",
    "jobs": "threads",
    "kappa": "concentration",
    "l2": "weight-decay",
    "layer": "taps head",
    "learning-rate": "lr",
    "license": "licence",
    "log-dir": "runs",
    "log-interval": "log-every",
    "max-epochs": "epochs",
    "max-grad-norm": "clip",
    "max-steps": "steps epochs",
    "mixed-precision": "precision",
    "model": "arch student",
    "n-epochs": "epochs",
    "n-images": "n images",
    "n-samples": "n samples",
    "net": "arch student",
    "network": "arch student",
    "normalize-mean": "mean",
    "normalize-std": "std",
    "num-epochs": "epochs",
    "num-images": "n images",
    "num-samples": "n samples",
    "num-steps": "steps epochs",
    "num-threads": "threads",
    "num-workers": "threads",
    "nz": "latent-dim",
    "opt": "optimizer",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "output": "out",
    "output-dir": "out runs",
    "random-seed": "seed",
    "regularize": "regularise",
    "regularizer": "regularise",
    "resolution": "image-size",
    "results": "out runs",
    "root": "data-root",
    "run-name": "name",
    "save": "out",
    "save-dir": "out runs",
    "save-every": "checkpoint-every",
    "scheduler": "schedule",
    "size": "image-size",
    "split-size": "validation",
    "train-size": "train-images",
    "val-size": "validation",
    "valid": "validation",
    "verbose": "log-every",
    "warmup-epochs": "warmup",
    "wd": "weight-decay",
    "width": "penultimate",
    "workers": "threads",
    "z-dim": "latent-dim",
}
"""Flags by the words that others use for them; of several the first that a verb has is meant."""

_INSTEAD = {
    "resume": "a training goes on by the same command again",
    "continue": "a training goes on by the same command again",
    "restart": "a training that is to begin anew needs another --name",
    "pretrained": "weights are named with the network, as torchvision:NAME:WEIGHTS or timm:NAME:TAG",
    "quiet": "progress goes to standard error: 2>/dev/null hides it",
}
"""What has no flag here, and how it is done."""


def nearest_verb(words: Sequence[str], verbs: Sequence[str]) -> InputError:
    """The error for words that begin no verb, with the one that was meant, as far as that can be told.

    Args:
        words: of the command line.
        verbs: all there are, some of two words.
    """
    first, rest = words[0], words[1] if len(words) > 1 else ""
    group = [verb for verb in verbs if verb.startswith(f"{first} ")]
    if group:
        synonym = VERB_SYNONYMS.get(rest)
        if synonym not in group:
            return unknown("verb", f"{first} {rest}", group, "see penult --help")
        return _meant(f"{first} {rest}", synonym)
    heads = {verb.partition(" ")[0] for verb in verbs}
    tails = {verb.partition(" ")[2]: verb for verb in verbs if " " in verb}
    near = get_close_matches(first, [*sorted(heads), *VERB_SYNONYMS, *tails], n=1, cutoff=0.6)
    if not near:
        return unknown("verb", first, verbs, "see penult --help")
    meant = VERB_SYNONYMS.get(near[0]) or tails.get(near[0]) or near[0]
    both = f"{meant} {VERB_SYNONYMS.get(rest, rest).partition(' ')[2] or rest}"
    return _meant(f"{first} {rest}", both) if both in verbs else _meant(first, meant)


def _meant(given: str, verb: str) -> InputError:
    return InputError(f"unknown verb {given!r}: did you mean {verb!r}? See penult --help")


def unknown_option(name: str, verb: str, known: Collection[str]) -> InputError:
    """The error for an option that a verb has not.

    Args:
        name: as it was typed, with its dashes.
        verb: whose option it should be.
        known: all spellings of the options that the verb has, with their dashes.
    """
    bare, see = name.lstrip("-"), f"see penult {verb} --help"
    if bare in _INSTEAD:
        return InputError(f"unknown option {name} of penult {verb}: {_INSTEAD[bare]}; {see}")
    names = [spelling[2:] for spelling in known]
    term = bare.partition(".")[0]
    if term != bare and verb == "distill" and not any(one.startswith(f"{term}.") for one in names):
        from distill.terms import terms  # not before: it imports torch, which this verb alone has done by now

        if term in terms():
            return InputError(f"unknown option {name} of penult {verb}: {term} is not among the terms; {see}")
    near = [bare] if bare in names else [one for one in FLAG_SYNONYMS.get(bare, "").split() if one in names]
    near = near or [one for one in names if one.endswith(f".{bare}")]
    near = near or get_close_matches(bare, names, n=1, cutoff=0.6)
    if not near:  # a synonym that is misspelt itself
        synonym = get_close_matches(bare, FLAG_SYNONYMS, n=1, cutoff=0.8)
        near = [one for word in synonym for one in FLAG_SYNONYMS[word].split() if one in names]
    guess = f": did you mean --{near[0]}?" if near else ";"
    return InputError(f"unknown option {name} of penult {verb}{guess} {see[0].upper() if near else see[0]}{see[1:]}")
