"""See what a classifier's layers keep of an image: densities p(x|h) of images given each layer, by PixelCNN++.

For each layer of --taps it trains a density (a run of its own, that the same command resumes) and a least-squares
decoder, scores the test images by both, prints the negative cross-entropies with their errors and differences, and
draws samples and reconstructions by layer: samples differ in what the layer has discarded. penult sample RUN-LAYER
--image FILE shows that of a picture of yours.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from apps.command.config import Foreign, Optimisation, Place, Where
from apps.inverting.protocol import Decoder, Density

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.classifiers.settings import ClassifierTraining
    from apps.data.image_set import ImageSet
    from apps.inverting.layer_runs import Inversion
    from apps.inverting.through_training import State
    from apps.runs.run import Run
    from priors.zoo import Classifier

PAPERS = ("conv1", "conv2", "fc3", "logits")
"""Layers of the paper's classifiers."""


OWN = "as trained"
"""What the network itself is called beside another."""


def _protocol() -> Optimisation:
    """PixelCNN++'s Adam and average; the average is shorter where the training is short."""
    return Optimisation(epochs=50.0, schedule="cosine", ema=0.9995, patience=10)


@dataclass(frozen=True)
class Config:
    """Invert a classifier's layers."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    taps: str | None = None
    """Layers, from the input on, such as conv1,conv2,fc3,logits: names of modules, penultimate, logits, or none for a
    density without context; unset: the paper's four, or else the network's stages, penultimate and logits."""
    data: str | None = None
    """Data set to train and score on; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    validation: int | None = None
    """Training images held out to choose checkpoints by; unset: a twelfth."""
    test_images: int | None = None
    """Test images that are scored, the first ones; unset: all."""
    density: tyro.conf.OmitArgPrefixes[Density] = field(default_factory=Density)
    decoder: tyro.conf.OmitArgPrefixes[Decoder] = field(default_factory=Decoder)
    shown: int = 8
    """Test images in the sheet; 0: none is drawn."""
    n: int = 3
    """Samples of each in the sheet."""
    distances: int = 0
    """Test images whose samples are compared with their nearest training images in the representation (table 1; the
    paper has 500); 0: none."""
    closest: str | None = None
    """Layer, such as fc3, for which the closest of --draws samples and of the training images are drawn (figure 2)."""
    draws: int = 1024
    """Samples of each image for --closest."""
    estimates: bool = False
    """Whether estimates of the information by added noise, by binning and by nearest neighbours are printed beside."""
    snapshots: bool = False
    """Whether each snapshot of the run (penult train classifier --snapshots) is inverted as well (figure 5b)."""
    overfit: int = 0
    """Training images of a second network, which is trained as the run was, but on these alone and without dropout or
    augmentation, and inverted beside it (figure 5b has 100); 0: none."""
    against: tuple[Path, ...] = ()
    """Runs of other densities, such as runs/other-inverted-fc3, whose NCE of the same images is compared."""
    allow: tuple[str, ...] = ()
    """import:... that these were made with, code of your own: the same again, to run it."""
    out: Path | None = None
    """Folder for pictures and numbers; unset: RUNS/NAME. Pictures of an earlier time are replaced."""
    mean: tuple[float, ...] = ()
    """Of a MODEL of your own: mean of the pixels in [0, 1] that it expects subtracted, one or one a channel."""
    std: tuple[float, ...] = ()
    """Likewise the standard deviation it expects divided by; unset: 1."""
    head: str | None = None
    """Likewise the name of its final linear layer, where that is not plain."""
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    name: str | None = None
    """Name of the folder and, with a layer's, of each run; unset: that of the MODEL, and -inverted."""
    checkpoint_every: int | None = None
    """Steps between checkpoints, beside those that validations write."""
    log_every: int = 50
    """Steps between entries of metrics.jsonl."""
    tracker: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Trackers to log to as well, where installed."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what cannot be done."""
        from priors.errors import InputError

        for flag, value, least in (
            ("--shown", self.shown, 0),
            ("--n", self.n, 1),
            ("--test-images", self.test_images, 2),
            ("--distances", self.distances, 0),
            ("--draws", self.draws, 6),
            ("--overfit", self.overfit, 0),
            ("--validation", self.validation, 0),
            ("--image-size", self.image_size, 1),
            ("--decoder-filters", self.decoder.decoder_filters, 1),
            ("--decoder-epochs", self.decoder.decoder_epochs, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"{flag} {value}: expected {least} or more")


def main(config: Config) -> None:
    """Train what is not trained, score, print and draw."""
    import torch

    from apps.inverting import report, through_training
    from apps.inverting.overfitting import overfit
    from apps.inverting.representation import check_order
    from apps.inverting.scoring import log_likelihoods, squared_errors
    from apps.inverting.through_training import State
    from apps.models import named
    from apps.models.activations import images_for
    from apps.models.imported import allow
    from apps.runs.outputs import check_writable
    from apps.training.session import start

    name = _name(config)
    where = replace(config.place.where(name), checkpoint_every=config.checkpoint_every, log_every=config.log_every)
    where = replace(where, tracker=config.tracker)
    foreign = Foreign(config.mean, config.std, config.head)
    network = named.classifier(config.model, foreign)
    source = {"data": config.data, "image_size": config.image_size, "root": where.data_root}
    images, test = (images_for(config.model, network, split, **source) for split in ("train", "test"))
    _check_weights(config.model, foreign, network)
    names = _names(config, network)
    layers = _layers(network, names, images.image_shape)
    check_order({called: layer for called, layer in layers.items() if layer is not None}, images.image_shape)
    earlier = _snapshots(config, name) if config.snapshots else []
    second = _overfitting(config, network, replace(where, name=f"{name}-overfit{config.overfit}"))
    for code in (*config.allow, *([config.density.density] if config.density.density != "pixelcnn" else [])):
        allow(code)
    others = _others(config, images.image_shape)
    folder = config.out or where.runs / name
    check_writable(folder / "sheet.png", f"--out {folder}")
    accelerator = start(where, precision=config.optimisation.precision)
    inversion, test = _inversion(config, images, test, where, accelerator)
    for called, layer in layers.items():
        inversion.check(name, called, config.model, foreign, layer)

    def known(state: State) -> dict:
        """The layers of a network on its way."""
        found = _layers(named.classifier(state.model), names, images.image_shape)
        return {called: layer for called, layer in found.items() if layer is not None}

    def inverted(state: State) -> "dict[str, Run]":
        """Their densities."""
        found = known(state)
        return {called: inversion.invert(state.name, called, state.model, foreign, found[called]) for called in found}

    for state in earlier:
        for called, layer in known(state).items():
            inversion.check(state.name, called, state.model, foreign, layer)
    past = []
    if second is not None:
        alone = start(second.where, precision=second.optimisation.precision)
        folder_of_second = str(overfit(second, alone, config.model).folder)
        accelerator = start(where, precision=config.optimisation.precision)
        inversion = replace(inversion, accelerator=accelerator)
        past = through_training.states(folder_of_second, second.where.name, snapshots=config.snapshots, finished=True)
    found = {called: inversion.invert(name, called, config.model, foreign, layer) for called, layer in layers.items()}
    decoders = {
        called: inversion.reconstruct(name, called, config.model, foreign, layer)
        for called, layer in layers.items()
        if layer is not None and config.decoder.decoder_epochs
    }
    on_the_way = {OWN: {state.updates: inverted(state) for state in earlier}}
    if second is not None:
        on_the_way[_second(config)] = {state.updates: inverted(state) for state in past}
    nats = {called: log_likelihoods(run, test, accelerator) for called, run in found.items()}
    errors = {called: squared_errors(run, test, accelerator) for called, run in decoders.items()}
    theirs = {called: log_likelihoods(run, test, accelerator) for called, run in others.items()}
    curves = {
        network: {
            step: {called: log_likelihoods(run, test, accelerator) for called, run in runs.items()}
            for step, runs in curve.items()
        }
        for network, curve in on_the_way.items()
    }
    if not accelerator.is_main_process:
        return
    if config.place.threads is None:
        torch.set_num_threads(1)  # drawing is small operations: a second thread costs more than it brings
    seed, device = config.optimisation.seed, accelerator.device
    report.conclude(config.model, _accuracy(config), folder, nats, errors, test)
    if others:
        report.against(folder, nats, theirs)
    some = test.subset(range(min(max(config.shown, 1), len(test))))
    if config.shown:
        report.draw_sheet(folder, found, decoders, some, config.n, seed, device)
    if config.distances:
        report.compare(folder, found, inversion.images, test, config.distances, seed, device)
    if config.closest is not None:
        run = found[config.closest]
        report.draw_closest(folder, config.closest, run, inversion.images, some, config.draws, seed, device)
    if config.estimates:
        report.estimate(layers, test)
    if earlier or second is not None:
        curves[OWN][None] = {called: one for called, one in nats.items() if called != "none"}
        through_training.conclude(config.model, folder, curves, test)


def scored(config: Config) -> dict[str, float] | None:
    """The scores that the command left, by what it is told to do; None where something of it is missing.

    They are `LAYER NCE` in nats, with --distances also `LAYER 1NN`, `LAYER IM-S` and `LAYER IM-NN`, and `accuracy` of
    the network in per cent, where it is known.
    """
    from priors.errors import InputError
    from priors.storage import read_json

    folder = config.out or config.place.runs / _name(config)
    products = {
        "inversion.json": True,
        "sheet.png": config.shown,
        "distances.json": config.distances,
        f"closest-{config.closest}.png": config.closest is not None,
        "through-training.json": config.snapshots or config.overfit,
    }
    if not all((folder / product).is_file() for product, wanted in products.items() if wanted):
        return None
    wanted = () if config.taps is None else [part.strip() for part in config.taps.split(",")]
    try:
        found = read_json(folder / "inversion.json", "scores of an inversion")
        scores = {f"{entry['layer'] or 'none'} NCE": entry["NCE"] for entry in found["layers"]}
        first = abs(found["layers"][0]["NCE"])
        scores |= {f"{entry['layer'] or 'none'} relative": entry["NCE"] / first for entry in found["layers"]}
        if found.get("accuracy") is not None:
            scores["accuracy"] = 100 * found["accuracy"]
        if config.distances:
            apart = read_json(folder / "distances.json", "distances of samples")
            if apart["images"] != config.distances:
                return None
            scores |= {
                f"{entry['layer']} {kind}": entry[kind]
                for entry in apart["layers"]
                for kind in ("1NN", "IM-S", "IM-NN")
            }
        if config.overfit:
            steps = read_json(folder / "through-training.json", "scores through training")["steps"]
            if not any(entry["network"] == _second(config) for entry in steps):
                return None
    except (IndexError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no scores of an inversion ({error!r}): remove its .json files") from None
    # Another command may have been there since, with other layers.
    return scores if all(f"{layer} NCE" in scores for layer in wanted) else None


def _second(config: Config) -> str:
    """What the second network is called beside the first."""
    return f"{config.overfit} images"


def _name(config: Config) -> str:
    """Of the folder, and of the runs before their layers'."""
    from apps.training.train import slug

    return config.name or slug(f"{Path(config.model).name}-inverted")


def _accuracy(config: Config) -> float | None:
    """Of the network on the test images that it was trained beside, where it is a run that says so."""
    from apps.models.named import is_run, open_run

    found = open_run(config.model).result().get("test/accuracy") if is_run(config.model) else None
    return found if isinstance(found, float) else None


def _names(config: Config, network: "Classifier") -> list[str]:
    """The layers that are asked for, each once."""
    from priors.errors import InputError, unknown

    if config.taps is None:
        own = {name for name, _ in network.named_modules()}
        papers = {f"body.{layer}" for layer in PAPERS[:3]} <= own
        names = list(PAPERS) if papers else [*network.stages, "penultimate", "logits"]
    else:
        names = [part.strip() for part in config.taps.split(",") if part.strip()]
    if not names:
        raise InputError(f"--taps {config.taps!r} names no layer: give some, such as conv1,fc3,logits")
    if twice := [one for one in names if names.count(one) > 1]:
        raise InputError(f"--taps {config.taps}: {twice[0]} is given twice")
    config.density.check(names)
    if config.closest is not None and (config.closest not in names or config.closest == "none"):
        raise unknown("layer", config.closest, [one for one in names if one != "none"], "--closest is one of --taps")
    return names


def _layers(network: "Classifier", names: list[str], image_shape: tuple[int, int, int]) -> dict:
    """The layers by what they are called; none has no representation."""
    from apps.inverting.representation import representation

    return {name: None if name == "none" else representation(network, name, image_shape) for name in names}


def _snapshots(config: Config, name: str) -> "list[State]":
    """The run's snapshots."""
    from apps.inverting.through_training import states
    from apps.models.named import is_run
    from priors.errors import InputError

    kept = states(config.model, name, snapshots=True, finished=False) if is_run(config.model) else []
    if not kept:
        raise InputError(
            f"--snapshots: {config.model} has none; train it with penult train classifier --snapshots 0 100 1000 10000"
        )
    return kept


def _check_weights(model: str, foreign: Foreign, network: "Classifier") -> None:
    """Whether a network of the user's own has the same weights whenever it is made."""
    from apps.models.named import classifier
    from priors.errors import InputError
    from priors.storage import digest_of

    if not model.startswith("import:"):
        return
    if digest_of(classifier(model, foreign).state_dict()) != digest_of(network.state_dict()):
        raise InputError(
            f"{model} has other weights each time it is made: give it weights by ,weights=FILE.safetensors, or seed it"
        )


def _others(config: Config, image_shape: tuple[int, int, int]) -> "dict[str, Run]":
    """The runs that the NCE is compared with."""
    from analysis.inversion.reconstruction import UpConvolution
    from apps.inverting.inverted import inverted_run
    from apps.models.named import open_run
    from priors.errors import InputError

    for place in config.against:
        model = inverted_run(place).model
        if isinstance(model, UpConvolution):
            raise InputError(f"--against {place} is a least-squares decoder: give the run of a density")
        if model.image_shape != image_shape:
            theirs, ours = ("x".join(map(str, shape)) for shape in (model.image_shape, image_shape))
            raise InputError(f"--against {place} is a density of {theirs} images, and these are {ours}")
    return {str(place): open_run(place) for place in config.against}


def _overfitting(config: Config, network: "Classifier", where: Where) -> "ClassifierTraining | None":
    """How the second network is trained, where there is one."""
    from apps.inverting.overfitting import overfitting
    from apps.models.named import is_run, open_run

    if not config.overfit:
        return None
    if is_run(config.model):  # all of its snapshots, whether they are inverted now or later
        kept = (path.name.removeprefix("step-") for path in open_run(config.model).snapshots())
        where = replace(where, snapshots=tuple(map(int, kept)))
    return overfitting(config.model, network, config.overfit, where)


def _inversion(
    config: Config, images: "ImageSet", test: "ImageSet", where: Where, accelerator: "Accelerator"
) -> "tuple[Inversion, ImageSet]":
    """What the trainings share, and the images that are scored."""
    from apps.data.image_set import split_validation
    from apps.inverting.layer_runs import Inversion
    from priors.errors import InputError

    count = len(images) // 12 if config.validation is None else config.validation
    held_out = None
    if count:
        images, held_out = split_validation(images, count, config.optimisation.seed)
    elif config.optimisation.patience is not None:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    if config.test_images is not None:
        if config.test_images > len(test):
            raise InputError(f"--test-images {config.test_images}: {test.name} has {len(test)}")
        test = test.subset(range(config.test_images), f"{test.split}-{config.test_images}")
    if config.distances > len(test):
        raise InputError(f"--distances {config.distances}: {len(test)} test images are scored")
    if config.estimates and len(test) < 4:
        raise InputError(f"--estimates of {len(test)} test images: 4 or more were expected")
    own = (config.density, config.decoder, config.optimisation, where, accelerator)
    return Inversion(images, held_out, *own), test
