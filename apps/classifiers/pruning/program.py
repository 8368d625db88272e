"""The program of `penult prune`: choose the weights that stay, train them again, and say what is left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.classifiers.pruning.masks import Masks, held, kept_by_threshold, kept_share, prunable, zero
from apps.classifiers.pruning.settings import VERB, Pruning, Retraining
from apps.classifiers.stages import called
from apps.classifiers.training import portions, train_network, training_of
from apps.command.console import counted, paragraph, say, table
from apps.command.options import check_values
from apps.command.own_code import allowing
from apps.data.training_images import train_and_test
from apps.models import named
from apps.runs.run import Run
from apps.training.session import start
from apps.training.train import slug
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier

_SPLIT = "split_seed"
"""Key of the seed by which images are held out and left out: that of the first training, whose images these are."""


def prune(config: Pruning) -> dict[str, Any]:
    """Prune and train, or resume, or say that it is done; returns the result.

    What is trained is as it was in the run: images, augmentation, targets and regularisers.

    Raises:
        InputError: no such run, one of something else, a share that cannot be, or as for
            `apps.training.train.train`.
    """
    check_values(config)
    if not named.is_run(config.model):
        raise InputError(f"{config.model} is no run: what is pruned is trained as it was before; give a run's folder")
    network, source = named.classifier(config.model), named.open_run(config.model)
    # How long it was trained does not matter, and a pruned one may not have been at all.
    before = training_of(source, ("train classifier", VERB), {"epochs": Retraining.epochs})
    if config.optimisation.patience is not None and not before.data.validation:
        raise InputError(f"--patience counts validations on held-out images, and {config.model} held none out")
    named.data_there(source, "put it back; what is left is trained on it")
    masks = _chosen(config, network, pruned=source.config()["verb"] == VERB)
    seed = source.config()["config"].get(_SPLIT, before.optimisation.seed)
    training = replace(before, optimisation=config.optimisation, where=config.where)
    told = _told(config, network) | {_SPLIT: seed}
    zero(network, masks)
    network.provenance = {
        "data": before.data.data,
        "made by": f"penult {VERB} {config.model} {_measure(config)}",
        "pruned from": config.model,
    }
    work = "small" if before.arch == "mlp" else "large"
    accelerator = start(config.where, precision=config.optimisation.precision, work=work)
    images, test = train_and_test(before.data, config.where.data_root, before.augment)
    images, held_out = portions(before, images, seed)
    run = Run(config.where.runs / (config.where.name or _name(config)))
    with held(network, masks):
        result = train_network(
            network,
            training,
            run,
            accelerator,
            images,
            held_out,
            test,
            verb=VERB,
            given=told | {"data_digest": images.digest},
            scored=_shares(masks),
            following=f"penult analyse discard {run.quoted} --taps logits{allowing(before.arch, before.data.data)}",
        )
    if accelerator.is_main_process:
        _print(run, config, masks)
    return result


def _measure(config: Pruning) -> str:
    """What decides which weights stay, as it is typed."""
    if config.threshold is not None:
        return f"--threshold {config.threshold:g}"
    return f"--keep {config.keep:g}" + ("" if config.keep_by == "global" else f" --keep-by {config.keep_by}")


def _name(config: Pruning) -> str:
    """Of a run that is given none."""
    measure = f"keep{config.keep:g}" if config.threshold is None else f"threshold{config.threshold:g}"
    words = [called(Path(config.model)), measure, "by-layer" if config.keep_by == "layer" else ""]
    seed = config.optimisation.seed
    return slug("-".join(filter(None, (*words, f"seed{seed}" if seed else ""))))


def _chosen(config: Pruning, network: Classifier, pruned: bool) -> Masks:
    """What is left of the network.

    Raises:
        InputError: the network was pruned before, and weights that it has lost would come back.
    """
    if config.threshold is not None:
        return kept_by_threshold(network, config.threshold)
    masks = kept_share(network, config.keep, config.keep_by == "layer")
    if pruned:
        layers = prunable(network)
        for name, mask in masks.kept.items():
            if back := int((layers[name].weight[mask] == 0).sum()):
                raise InputError(
                    f"{_measure(config)} would give {config.model} back {counted(back, 'weight')} of its {name} that "
                    "it has lost already: give a smaller share, or prune the run that it came from"
                )
    return masks


def _told(config: Pruning, network: Classifier) -> dict[str, Any]:
    """What decides the weights that a training begins with."""
    return {
        "model": config.model,
        "weights": digest_of(network.state_dict()),
        "keep": config.keep,
        "keep_by": config.keep_by,
        "threshold": config.threshold,
    }


def _shares(masks: Masks) -> dict[str, Any]:
    """What the result says of what is left."""
    return {
        "parameters": masks.parameters,
        "parameters left": masks.left,
        "share left": masks.left / masks.parameters,
        "left by layer": masks.left_by_layer,
    }


def _print(run: Run, config: Pruning, masks: Masks) -> None:
    """What is left, by layer."""
    rows = [
        (name, f"{mask.numel():,}", f"{int(mask.sum()):,}", f"{share:.2%}")
        for (name, mask), share in zip(masks.kept.items(), masks.left_by_layer.values(), strict=True)
    ]
    others = masks.parameters - sum(mask.numel() for mask in masks.kept.values())
    rows.append(("biases and the like", f"{others:,}", f"{others:,}", f"{1:.2%}"))
    rows.append(("in all", f"{masks.parameters:,}", f"{masks.left:,}", f"{masks.left / masks.parameters:.2%}"))
    table(
        f"what {run.folder.name} has left of {config.model}, by {_measure(config)}",
        ("layer", "parameters", "left", "part"),
        rows,
    )
    if empty := [name for name, mask in masks.kept.items() if not bool(mask.any())]:
        paragraph(f"Nothing is left of {', '.join(empty)}.")
    say()
