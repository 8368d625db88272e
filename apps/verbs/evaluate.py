"""Score a run on test images: accuracy of a classifier, likelihoods of a generator.

With --protocol, score generated images instead, a run's or given ones, by IS, FID, KID, precision and recall: through
torch-fidelity's Inception network, or a classifier with --extractor, after which the scores are then named. fid-5k is
the mean of ten FIDs of 5,000 images against 5,000, fid-5k-partial that of as many as there are images for, fid-50k is
50,000 against all reals, fid-all all against all.

With --classify-by, score how a classifier does on images of a conditional generator (GAN-test accuracy), and with
--gan-train how one does on real test images that was trained on generated ones alone (GAN-train accuracy): that one is
kept in the run's gan-train/, and the same command goes on with it.

Prints a table and adds to the run's evaluation.json.
"""

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from apps.command.config import Data, Foreign, Place


@dataclass(frozen=True)
class Config:
    """Score a run."""

    model: tyro.conf.Positional[str]
    """A run; with --data, any MODEL that classifies; with --protocol, also a folder of images, an .npz, a data set."""
    data: str | None = None
    """Data set; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    samples: int = 500
    """Importance samples an image, of a generator."""
    images: int | None = None
    """Score the first this many test images only; unset: all."""
    seed: int = 0
    """Seed of binarisation and samples; of generated images, of what is drawn and of the cut into chunks."""
    batch_size: int = 100
    """Images at a time; part of what the seed means."""
    protocol: str | None = None
    """Which of those numbers of images to score: fid-5k, fid-5k-partial, fid-50k or fid-all."""
    against: str | None = None
    """Real images to compare with: a data set, an .npz or a folder; unset: what the run was trained on."""
    split: Literal["train", "test"] = "train"
    """Which of the real images, with --protocol."""
    extractor: str | None = None
    """A classifier whose penultimate activations (logits for IS) are compared, instead of Inception's features."""
    inception_weights: Path | None = None
    """torch-fidelity's file of Inception weights; unset: its own, downloaded on first use."""
    classify_by: str | None = None
    """A classifier trained on real images, to be tried on generated ones: as many of each class as the test set has."""
    gan_train: bool = False
    """Whether to train one like it on generated images, too, as many of each class as the training set has."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Score and write."""
    from apps.command.console import say
    from apps.data import sources
    from apps.inverting.kinds import INVERSION
    from apps.models import named
    from apps.models.registry import CLASSIFIER, kind_of
    from apps.runs.evaluations import keep_evaluation, read_evaluations
    from apps.training.session import start
    from priors.errors import InputError

    for flag, value in (
        ("--samples", config.samples),
        ("--batch-size", config.batch_size),
        ("--images", config.images),
        ("--image-size", config.image_size),
    ):
        if value is not None and value < 1:
            raise InputError(f"{flag} {value}: expected 1 or more")
    if config.gan_train and config.classify_by is None:
        raise InputError("--gan-train trains a classifier like another one: name that by --classify-by RUN")
    if config.protocol is not None and config.classify_by is not None:
        raise InputError(f"--protocol {config.protocol} and --classify-by are two evaluations: leave one out")
    if config.protocol is not None:
        return _fidelity(config)
    for flag, value in (
        ("--against", config.against),
        ("--extractor", config.extractor),
        ("--inception-weights", config.inception_weights),
    ):
        if value is not None:
            raise InputError(f"{flag} {value} scores generated images: give --protocol, such as fid-5k")
    if config.classify_by is not None:
        return _gan_accuracy(config)
    run = named.open_run(config.model) if named.is_run(config.model) else None
    found = kind_of(run) if run else CLASSIFIER
    kind = found.name
    if found.family == INVERSION:
        raise InputError(f"{config.model} inverts a network: penult analyse invert scores it")
    trained = named.trained_on(run) if run else Data("")
    data = config.data or trained.data
    if not data:
        raise InputError(f"which images to score {config.model} on: give --data")
    if run:
        read_evaluations(run.folder)  # what is damaged is found before the work
    if kind not in ("classifier", "hvae"):
        raise InputError(f"{config.model} has no likelihood to score: give --protocol, such as fid-5k")
    accelerator = start(config.place.where(), work="small" if kind == "hvae" else "large")
    size = config.image_size or trained.size_for(data)
    images = sources.load(data, "test", root=config.place.data_root, image_size=size)
    first = {}
    if config.images is not None and config.images < len(images):
        images, first = images.subset(range(config.images)), {"first": config.images}
    score = _generator if kind == "hvae" else _classifier
    entry = {"data": data, "data_digest": images.digest, **first, **score(config, run, images, accelerator)}
    if run is not None and accelerator.is_main_process:
        keep_evaluation(run.folder, entry)
        say(
            f"Written to {run.folder / 'evaluation.json'}."
            + (f" Next: penult sample {run.folder}" if kind == "hvae" else "")
        )
        shutil.rmtree(run.folder / "evaluation.parts", ignore_errors=True)


def _generator(config: Config, run, images, accelerator) -> dict:
    from apps.command.console import table
    from apps.data.batches import ordered
    from apps.figures import reconstructions
    from apps.generators.likelihood import likelihood, reconstruct
    from apps.models.named import check_classes, generator_run
    from apps.training.session import sweeping

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


def _fidelity(config: Config) -> None:
    """Score generated images; everything that can be wrong is found before the work."""
    from apps.command.console import say
    from apps.fidelity import protocols
    from apps.fidelity.cache import cache_folder
    from apps.fidelity.extractor import classifier_extractor
    from apps.fidelity.scores import few_images, fitting, scores
    from apps.fidelity.sources import given_images
    from apps.fidelity.table import show
    from apps.models.named import generator_run, open_run, trained_on
    from apps.runs.evaluations import keep_evaluation, read_evaluations
    from apps.runs.run import Run
    from apps.training.session import start, sweeping
    from priors.errors import InputError

    protocol = protocols.named(config.protocol)
    for flag, value, instead in (
        ("--data", config.data, "--against names the real images"),
        ("--images", config.images, "the protocol says how many"),
    ):
        if value is not None:
            raise InputError(f"{flag} {value} with --protocol {protocol.name}: {instead}; leave it out")
    if config.extractor and config.inception_weights:
        raise InputError("--extractor and --inception-weights: scores are by one network, leave one out")
    run = Run(config.model) if (Path(config.model) / "config.json").is_file() else None
    accelerator = start(config.place.where())
    size = config.image_size
    if run:
        source, name = generator_run(run.folder).to(accelerator.device), run.folder.name
        trained = trained_on(run)
        against = config.against or trained.data
        size = size or trained.size_for(against)
    else:
        if os.sep in config.model and not Path(config.model).exists():
            open_run(config.model)  # says which runs there are
        if config.against is None:
            raise InputError(f"which real images to score {config.model} against: give --against")
        source = given_images(config.model, config.split, root=config.place.data_root, image_size=size)
        name, against = config.model, config.against
    reals = given_images(against, config.split, root=config.place.data_root, image_size=size)
    if run:
        read_evaluations(run.folder)
    cache = cache_folder(config.place.data_root)
    if config.extractor:
        extractor = classifier_extractor(config.extractor, config.foreign)
    else:
        from apps.fidelity import inception

        # What the images are is looked at before weights are downloaded.
        fitting(source, reals, protocol, inception.DECLARED, name)
        extractor = inception.inception_extractor(config.inception_weights)
    remark = few_images(fitting(source, reals, protocol, extractor, name), extractor)
    if remark:
        say(f"{remark}.")
    parts = run.folder / "fidelity.parts" if run else None
    scored = scores(
        source,
        reals,
        protocol,
        extractor,
        config.seed,
        sweeping(accelerator, progress=True),
        name=name,
        cache=cache,
        store=parts,
    )
    if accelerator.is_main_process:
        show(name, scored, protocol)
        if run:
            entry = scored.entry() | {"data": against}
            keep_evaluation(run.folder, entry)
            say(f"Written to {run.folder / 'evaluation.json'}.")
            shutil.rmtree(parts, ignore_errors=True)


def _gan_accuracy(config: Config) -> None:
    """GAN-test and GAN-train accuracy; everything that can be wrong is found before the work."""
    from apps.command.console import say
    from apps.data import sources
    from apps.fidelity import gan_accuracy
    from apps.models import named
    from apps.runs.evaluations import keep_evaluation, read_evaluations
    from apps.training.session import start, sweeping
    from priors.errors import InputError
    from priors.storage import digest_of

    by, root = config.classify_by, config.place.data_root
    model, run = named.generator_run(config.model), named.open_run(config.model)
    folder, trained = run.folder, named.trained_on(run)
    try:
        network = named.classifier(by, config.foreign)
    except InputError as error:
        raise InputError(f"--classify-by: {error}") from None
    data = config.data or trained.data
    size = config.image_size or trained.size_for(data)
    everything = sources.load(data, "test", root=root, image_size=size)
    gan_accuracy.check(model, folder, network, by, everything)
    training = None
    if config.gan_train:
        train = sources.load(data, "train", root=root, image_size=size)
        training = gan_accuracy.training_like(by, model, folder, train, config.seed, config.place)
    read_evaluations(folder)
    few = config.images is not None and config.images < len(everything)
    test, first = (everything.subset(range(config.images)), {"first": config.images}) if few else (everything, {})
    work = "small" if network.architecture and network.architecture.get("name") == "mlp" else "large"
    precision = training.config.optimisation.precision if training else "fp32"
    accelerator = start(config.place.where(), precision=precision, work=work)
    sweep = sweeping(accelerator, progress=True)
    model, network = model.to(accelerator.device), network.to(accelerator.device)
    on_reals = gan_accuracy.accuracy(network, test, sweep)
    made = {"data": data, "data_digest": test.digest, **first, "classifier": by}
    made |= {"classifier_digest": digest_of(network.state_dict()), "seed": config.seed, "reals": len(test)}

    def keep(found, name: str, **more) -> None:
        if accelerator.is_main_process:
            scores = found.named(f"{name} accuracy") | {"accuracy of the classifier": on_reals.value}
            keep_evaluation(folder, made | more | {"scores": scores})

    parts = folder / "gan-test.parts"
    found = {"GAN-test": gan_accuracy.gan_test(model, network, test, sweep, config.seed, name=folder.name, store=parts)}
    keep(found["GAN-test"], "GAN-test", drawn=len(test))
    if accelerator.is_main_process:
        shutil.rmtree(parts, ignore_errors=True)
    if training:
        say(
            f"GAN-test accuracy {found['GAN-test'].value:.2%}; the classifier of GAN-train is kept in {training.folder}"
        )
        found["GAN-train"] = gan_accuracy.gan_train(training, model, everything, test, accelerator, name=folder.name)
        trained_in = str(training.folder.relative_to(folder))
        keep(found["GAN-train"], "GAN-train", drawn=sum(training.counts), trained_in=trained_in)
    if accelerator.is_main_process:
        gan_accuracy.show(folder, by, test, on_reals, found, config.seed, training)
        say(f"Written to {folder / 'evaluation.json'}.")


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
    from apps.command.console import table
    from apps.models.accuracy import by_class, scores
    from apps.models.named import check_classes, classifier
    from apps.training.session import sweeping

    network = classifier(config.model, config.foreign).to(accelerator.device)
    check_classes(network.class_names, config.model, images)
    scored = scores(network, sweeping(accelerator, progress=True), images)
    entry = {
        "images": len(images),
        "scores": {
            "accuracy": float(scored["accuracy"].mean()),
            "cross-entropy": float(scored["cross-entropy"].mean()),
            "accuracy by class": by_class(scored["accuracy"], images),
        },
    }
    if accelerator.is_main_process:
        accuracies = entry["scores"]["accuracy by class"]
        table(
            f"{config.model} on {images.name}: {len(images):,} test images",
            ("class", "accuracy"),
            [
                *((name, f"{value:.2%}") for name, value in accuracies.items()),
                ("all", f"{entry['scores']['accuracy']:.2%}"),
            ],
            f"cross-entropy {entry['scores']['cross-entropy']:.4f} nats",
        )
    return entry


def follows(entry: dict, config: Config) -> bool:
    """Whether an evaluation was made by the protocol of `config`, which names its data."""
    if config.classify_by is not None or "classifier" in entry:
        made = tuple(entry.get(name) for name in ("classifier", "data", "first", "seed"))
        asked = (config.classify_by, config.data, config.images, config.seed)
        return made == asked and ("trained_in" in entry) == config.gan_train
    if config.protocol is not None or "protocol" in entry:
        made = tuple(entry.get(name) for name in ("protocol", "data", "split", "extractor_model", "seed"))
        against = config.against or config.data
        return made == (config.protocol, against, config.split, config.extractor or "inception", config.seed)
    scored = (
        entry.get("samples", config.samples),
        entry.get("seed", config.seed),
        entry.get("batch_size", config.batch_size),
    )
    same = entry.get("data") == config.data and entry.get("first") == config.images
    return same and scored == (config.samples, config.seed, config.batch_size)
