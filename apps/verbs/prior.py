"""Read the von Mises-Fisher prior off a classifier's final layer: a table of its classes, and a file to keep it in."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from apps.config import Foreign, Place


@dataclass(frozen=True)
class Config:
    """Read off a prior."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    concentration: tuple[str, ...] = ()
    """A number, one a class, or norms (||w_i|| times the activations' mean norm on --data); unset: 20, or as saved."""
    data: str | None = None
    """Data set that a strategy measures activations on; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    out: Path | None = None
    """File to write the prior to, ending in .safetensors; --classifier of penult train hvae takes it."""
    overwrite: bool = False
    """Whether --out may replace a file."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Print the table, and write the file where one is asked for."""
    from apps.console import say, table
    from apps.models import classifier_prior
    from apps.outputs import check_file
    from apps.session import start

    if config.out is not None:
        check_file(config.out, (".safetensors",), config.overwrite)
    accelerator = start(config.place.where())
    prior = classifier_prior(
        config.model,
        config.concentration,
        config.foreign,
        data=config.data,
        image_size=config.image_size,
        root=config.place.data_root,
        accelerator=accelerator,
    )
    if not accelerator.is_main_process:
        return
    table(
        f"{config.model}: {prior.classes} classes on the unit sphere of R^{prior.dim}",
        ("class", "|w|", "concentration", "mean resultant length", "nearest class", "cosine"),
        [
            (
                row.name,
                f"{row.norm:.3f}",
                f"{row.concentration:.4g}",
                f"{row.mean_resultant_length:.3f}",
                row.nearest,
                f"{row.cosine:.3f}",
            )
            for row in prior.class_table()
        ],
        "|w|: norm of the final layer's weight; cosine: between the mean directions",
    )
    if config.out is not None:
        prior.save(config.out)
        say(f"The prior is in {config.out}. Next: penult train hvae --variant hvae-l --classifier {config.out} --help")
