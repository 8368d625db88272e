"""Score a run on test images: accuracy of a classifier, likelihoods of a generator.

Prints a table and adds to the run's evaluation.json.
"""

import shutil
from dataclasses import asdict, dataclass, field

import tyro

from apps.config import Data, Foreign, Place


@dataclass(frozen=True)
class Config:
    """Score a run."""

    model: tyro.conf.Positional[str]
    """A run's folder; or, with --data, any MODEL that classifies."""
    data: str | None = None
    """Data set; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    samples: int = 500
    """Importance samples an image, of a generator."""
    images: int | None = None
    """Score the first this many test images only; unset: all."""
    seed: int = 0
    """Seed of binarisation and samples."""
    batch_size: int = 100
    """Images at a time; part of what the seed means."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Score and write."""
    from apps import datasets, models
    from apps.console import say
    from apps.evaluations import read_evaluations
    from apps.session import start
    from priors.errors import InputError
    from priors.storage import write_json

    for flag, value in (
        ("--samples", config.samples),
        ("--batch-size", config.batch_size),
        ("--images", config.images),
        ("--image-size", config.image_size),
    ):
        if value is not None and value < 1:
            raise InputError(f"{flag} {value}: expected 1 or more")
    run = models.open_run(config.model) if models.is_run(config.model) else None
    kind = models.kind_of(run) if run else "classifier"
    trained = models.trained_on(run) if run else Data("")
    data = config.data or trained.data
    if not data:
        raise InputError(f"which images to score {config.model} on: give --data")
    earlier = read_evaluations(run.folder) if run else []
    accelerator = start(config.place.where(), work="small" if kind == "hvae" else "large")
    size = config.image_size or trained.size_for(data)
    images = datasets.load(data, "test", root=config.place.data_root, image_size=size)
    first = {}
    if config.images is not None and config.images < len(images):
        images, first = images.subset(range(config.images)), {"first": config.images}
    score = _generator if kind == "hvae" else _classifier
    entry = {"data": data, "data_digest": images.digest, **first, **score(config, run, images, accelerator)}
    if run is not None and accelerator.is_main_process:
        kept = [old for old in earlier if _protocol(old) != _protocol(entry)]
        write_json(run.folder / "evaluation.json", [*kept, entry])
        say(
            f"Written to {run.folder / 'evaluation.json'}."
            + (f" Next: penult sample {run.folder}" if kind == "hvae" else "")
        )
        shutil.rmtree(run.folder / "evaluation.parts", ignore_errors=True)


def _generator(config: Config, run, images, accelerator) -> dict:
    from apps.console import table
    from apps.data import ordered
    from apps.figures import reconstructions
    from apps.likelihood import likelihood, reconstruct
    from apps.models import check_classes, generator_run
    from apps.session import sweeping

    model = generator_run(run.folder).to(accelerator.device)
    if model.conditional:
        check_classes(model.class_names, str(run.folder), images)
    parts = run.folder / "evaluation.parts"  # a stopped evaluation goes on from them
    scored = likelihood(
        model, images, sweeping(accelerator, progress=True), config.samples, config.seed, config.batch_size, parts
    )
    if accelerator.is_main_process:
        table(
            f"{run.folder.name}: {model.title}, sphere in R^{model.dim}, {scored.images:,} test images, "
            f"K = {scored.samples}",
            ("quantity", "nats", "standard error"),
            [(name, f"{mean.value:.2f}", f"{mean.error:.2f}") for name, mean in rows(scored)],
            f"encoder {'q(z|x, i)' if model.encoder_label else 'q(z|x)'}; means over binarised images",
        )
        some = next(ordered(images, min(10, len(images)), device=accelerator.device, numbers=[0]))
        rebuilt = reconstruct(model, some.images, some.labels)
        reconstructions(run.folder / "reconstructions.png", some.images.cpu(), rebuilt.cpu())
    protocol = {
        "images": scored.images,
        "samples": scored.samples,
        "seed": scored.seed,
        "batch_size": config.batch_size,
    }
    return protocol | {"scores": {name: asdict(mean) for name, mean in rows(scored)}}


def rows(scored) -> list:
    """The quantities of a likelihood by the names they are printed under."""
    named = [
        ("ELBO", scored.elbo),
        ("ELBO with log p(i)", scored.elbo_joint),
        ("reconstruction", scored.reconstruction),
        ("KL", scored.divergence),
        ("log p(x|i)", scored.given_label),
        ("log p(x,i)", scored.joint),
        ("log p(x)", scored.marginal),
    ]
    return [(name, mean) for name, mean in named if mean is not None]


def _classifier(config: Config, run, images, accelerator) -> dict:
    from apps.classification import scores
    from apps.console import table
    from apps.models import check_classes, classifier
    from apps.session import sweeping

    network = classifier(config.model, config.foreign).to(accelerator.device)
    check_classes(network.class_names, config.model, images)
    scored = scores(network, sweeping(accelerator, progress=True), images)
    labels = images.labels.cpu()
    entry = {
        "images": len(images),
        "scores": {
            "accuracy": float(scored["accuracy"].mean()),
            "cross-entropy": float(scored["cross-entropy"].mean()),
            "accuracy by class": {
                name: float(scored["accuracy"][labels == label].mean())
                for label, name in enumerate(images.class_names)
                if bool((labels == label).any())
            },
        },
    }
    if accelerator.is_main_process:
        by_class = entry["scores"]["accuracy by class"]
        table(
            f"{config.model} on {images.name}: {len(images):,} test images",
            ("class", "accuracy"),
            [
                *((name, f"{value:.2%}") for name, value in by_class.items()),
                ("all", f"{entry['scores']['accuracy']:.2%}"),
            ],
            f"cross-entropy {entry['scores']['cross-entropy']:.4f} nats",
        )
    return entry


def follows(entry: dict, config: Config) -> bool:
    """Whether an evaluation was made by the protocol of `config`, which names its data."""
    scored = (
        entry.get("samples", config.samples),
        entry.get("seed", config.seed),
        entry.get("batch_size", config.batch_size),
    )
    same = entry.get("data") == config.data and entry.get("first") == config.images
    return same and scored == (config.samples, config.seed, config.batch_size)


def _protocol(entry: dict) -> dict:
    """What an evaluation was made by: two by the same protocol replace one another."""
    return {name: value for name, value in entry.items() if name != "scores"}
