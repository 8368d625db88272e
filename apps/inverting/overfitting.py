"""A second network that learns a few images by heart, beside one that was trained well (figure 5b)."""

from dataclasses import replace

from accelerate import Accelerator
from torch import nn

from apps.classifiers.settings import ClassifierTraining
from apps.classifiers.training import train_on, training_of
from apps.command.config import Where
from apps.data.training_images import train_and_test
from apps.models.named import data_there, is_run, open_run
from apps.runs.run import Run
from priors.errors import InputError
from priors.zoo import Classifier


def overfitting(model: str, network: Classifier, count: int, where: Where) -> ClassifierTraining:
    """How the second network is trained: as the first, but on `count` images, without dropout, augmentation or mixup.

    It takes as many updates, and its last weights are kept.

    Args:
        model: run of the first network.
        network: the first network itself.
        count: training images.
        where: of the second one, with the snapshots to make.

    Raises:
        InputError: the model is no run of penult train classifier, or has no more training images than that.
    """
    if not is_run(model):
        raise InputError(f"--overfit {count}: {model} is no run of penult train classifier, whose training is repeated")
    if count < network.classes:
        raise InputError(f"--overfit {count}: with {network.classes} classes, {network.classes} or more were expected")
    run = open_run(model)
    data_there(run, f"put it back, or leave --overfit {count} out")  # found now, not after the first inversion
    config, result = training_of(run), run.result()
    batch = config.optimisation.batch_size
    while batch > count:  # what as many processes can share
        batch = batch // 2
    epochs = result["steps"] * batch / count
    optimisation = replace(
        config.optimisation,
        batch_size=batch,
        epochs=epochs,
        # As often in updates: an epoch is a few of them.
        validate_every=config.optimisation.validate_every * epochs / result["epochs"],
        warmup=config.optimisation.warmup * epochs / result["epochs"],
        patience=None,
    )
    return replace(
        config,
        data=replace(config.data, validation=None),
        train_images=count,
        dropout=0.0 if any(isinstance(part, nn.Dropout) and part.p for part in network.modules()) else config.dropout,
        augment="none",
        mixup=None,
        optimisation=optimisation,
        where=where,
    )


def overfit(config: ClassifierTraining, accelerator: Accelerator, model: str) -> Run:
    """Train the network that `overfitting` plans, or resume it; its format is that of the first one's run, `model`."""
    data, where = config.data, config.where
    images, test = train_and_test(data, where.data_root, config.augment)
    run = Run(where.runs / where.name, open_run(model).format)
    told = f"penult train classifier --arch {config.arch} --train-images {config.train_images}"
    train_on(config, run, accelerator, images, test, provenance={"data": data.data, "made by": told})
    return run
