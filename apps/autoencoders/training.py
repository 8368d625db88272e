"""Training an auto-encoder on a data set."""

from typing import Any

import torch

from analysis.discarding.auto_encoder import AutoEncoder
from apps.autoencoders.auto_encoding import AutoEncoding
from apps.autoencoders.errors import errors, rebuilt
from apps.autoencoders.settings import AutoEncoderTraining
from apps.command.config import Own, identity, older_values
from apps.command.options import check_values
from apps.command.own_code import allowing
from apps.data.augmenting import augmentation_by
from apps.data.image_set import ImageSet, channel_statistics, split_validation
from apps.data.sources.catalogue import augmenting
from apps.data.training_images import train_and_test
from apps.models.trainable import is_own, trainable
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.memory import within_memory
from apps.training.session import start, sweeping
from apps.training.train import data_label, slug, train
from priors.errors import InputError


def train_autoencoder(config: AutoEncoderTraining) -> dict[str, Any]:
    """Train, or resume, or say that it is done and what to type next; returns the result.

    Raises:
        InputError: settings that do not go together, or an architecture that no encoder can be made of.
    """
    check_values(config)
    optimisation, where, data = config.optimisation, config.where, config.data
    if optimisation.patience is not None and not data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    accelerator = start(where, precision=optimisation.precision)
    images, test = train_and_test(data, where.data_root, config.augment)
    run, held_out = Run(where.runs / (where.name or _name(config))), None
    if data.validation:
        images, held_out = split_validation(images, data.validation, optimisation.seed)
    model = _built(config, images)

    def score(task: AutoEncoding) -> dict[str, Any]:
        trained, sweep = task.networks["model"], sweeping(accelerator)
        found = {f"test/{name}": float(values.mean()) for name, values in errors(trained, sweep, test).items()}
        originals, made = rebuilt(trained, sweep, test)
        if accelerator.is_main_process:
            from apps.figures import reconstructions  # the plotting library is slow to load

            reconstructions(run.folder / "reconstructions.png", originals, made)
        return found | {"test/images": len(test)}

    return train(
        verb="train autoencoder",
        run=run,
        identity=identity(config) | {"data_digest": images.digest},
        older=older_values(config),
        accelerator=accelerator,
        images=images,
        build=lambda: AutoEncoding(model, optimisation.seed, held_out or test, held_out is not None),
        score=score,
        optimisation=optimisation,
        where=where,
        following=f"penult analyse discard {run.quoted}{allowing(data.data)}",
        augmentation=augmentation_by(augmenting(config.augment, data.data), images, config.crop_fill),
    )


def _name(config: AutoEncoderTraining) -> str:
    """Of a run that is given none: what was told that usually is not."""
    code = "" if config.code == "maps" else f"-{config.code}"
    label = data_label(config.data.data, config.data.classes)
    return slug(f"{label}-{config.arch}-autoencoder{code}-seed{config.optimisation.seed}")


@within_memory()
def _built(config: AutoEncoderTraining, images: ImageSet) -> AutoEncoder:
    """The auto-encoder before its training: the encoder starts as a classifier of the same seed does."""
    if is_own(config.arch):
        raise InputError(
            f"--arch {config.arch}: which layers of a network of your own come before its final one is not known, and "
            "an encoder is made of these; give a network by its name"
        )
    torch.manual_seed(derive(config.optimisation.seed, "weights"))
    # The head that comes with the classes is not used, and drawn after all else.
    network = trainable(config.arch, ("0", "1"), images.image_shape, Own(), lambda: channel_statistics(images))
    return AutoEncoder.of(network, code=config.code, width=config.decoder_width)
