"""The stops of the tour: of each idea its commands, its picture, and what to say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apps.generators.whole_path_settings import WholePath
from apps.tour import sentences

LABELLED = 100
"""Images that students see."""
_NETWORK, _CIRCLE, _DIRECTIONS = "tour-network", "tour-circle", "tour-directions"
_GENERATOR, _KEPT, _DISCARDED = "tour-generator", "tour-kept", "tour-discarded"
STUDENTS = {
    "labels alone": ("tour-student-labels", "ce", ""),
    "the teacher": ("tour-student-teacher", "ce+hinton", f" --teacher {{runs}}/{_NETWORK}"),
    "the prior": ("tour-student-prior", "ce+ckd", f" --teacher {{runs}}/{_NETWORK} --concentration 20"),
}
"""By what they learn from: the run, the terms and the flags of each student."""


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        line: after `penult`; {runs} is the folder of runs, quoted.
        products: files in that folder by which it is known to be done; none: a training, which knows by itself.
        drafts: what a command that was stopped may leave there, as patterns, which it would not write over.
    """

    line: str
    products: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop:
    """An idea.

    Attributes:
        key: its name, as "What to expect" of the papers' results has it.
        title: its heading.
        papers: that it is of, by their keys.
        steps: in order.
        picture: in the folder of runs.
        shows: what that shows.
        said: from the folder of runs, what to say of it.
    """

    key: str
    title: str
    papers: tuple[str, ...]
    steps: tuple[Step, ...]
    picture: str
    shows: str
    said: Callable[[Path], list[str]]


def stops(config: WholePath) -> tuple[Stop, ...]:
    """All of them, in the order in which they are gone through.

    Args:
        config: how long each training is, and the seed.
    """

    def training(epochs: float, more: str = "") -> str:
        own = epochs if config.epochs is None else config.epochs
        return (
            f"--data digits --epochs {own:g} --schedule cosine --validate-every {max(own / 2, 0.05):g} "
            f"--seed {config.seed}{more}"
        )

    def student(name: str) -> Step:
        run, terms, more = STUDENTS[name]
        own = training(200.0, f" --optimizer adam --lr 1e-3 --weight-decay 0{more} --name {run}")
        return Step(f"distill {terms} --train-images {LABELLED} --student mlp {own}")

    densities = 6.0 if config.epochs is None else config.epochs
    warmup = (100.0 if config.epochs is None else config.epochs) / 8
    network = Step(f"train classifier --arch resnet-20 --lr 3e-3 {training(12.0)} --name {_NETWORK}")
    return (
        Stop(
            "prior",
            "A classifier holds a prior",
            ("penultimate",),
            (
                Step(f"train classifier --arch mlp --penultimate 2 --lr 3e-3 {training(30.0)} --name {_CIRCLE}"),
                Step(f"analyse circle {{runs}}/{_CIRCLE}", (f"{_CIRCLE}/circle.png",)),
            ),
            f"{_CIRCLE}/circle.png",
            "Activations of test images on the circle of two penultimate units, and the classes' densities",
            lambda runs: sentences.prior(runs / _CIRCLE),
        ),
        Stop(
            "generator",
            "The prior draws images",
            ("penultimate",),
            (
                network,
                Step(f"train classifier --arch mlp --penultimate 6 --lr 3e-3 {training(30.0)} --name {_DIRECTIONS}"),
                Step(
                    f"train hvae --variant hvae-l --latent-dim 5 --classifier {{runs}}/{_DIRECTIONS} "
                    f"--concentration 20 --kl-warmup {warmup:g} --final-lr 0.05 {training(100.0)} --name {_GENERATOR}"
                ),
                Step(
                    f"sample {{runs}}/{_GENERATOR} --labels 0-9 --n 12 --seed {config.seed} "
                    f"--out {{runs}}/{_GENERATOR}/samples.png",
                    (f"{_GENERATOR}/samples.png",),
                ),
                Step(
                    f"evaluate {{runs}}/{_GENERATOR} --classify-by {{runs}}/{_NETWORK} --seed {config.seed}",
                    (f"{_GENERATOR}/evaluation.json",),
                ),
            ),
            f"{_GENERATOR}/samples.png",
            "Digits that an HVAE-L draws, twelve of each class",
            lambda runs: sentences.generator(runs / _GENERATOR),
        ),
        Stop(
            "distillation",
            "A teacher's answers, or its prior, teach a student",
            ("penultimate", "jacobian", "spectral"),
            tuple(student(name) for name in STUDENTS),
            "tour-students.png",
            "Test accuracy of three students, beside their teacher's",
            lambda runs: sentences.distillation(
                {name: runs / run for name, (run, _, _) in STUDENTS.items()}, runs / _NETWORK, LABELLED
            ),
        ),
        Stop(
            "inversion",
            "What a layer keeps, drawn back from it",
            ("inversion",),
            (
                Step(
                    f"analyse invert {{runs}}/{_NETWORK} --taps group1,logits --filters 8 --layers 1 --dropout 0 "
                    f"--batch-size 32 --lr 3e-3 --epochs {densities:g} --validate-every {densities / 2:g} "
                    f"--decoder-filters 8 --decoder-epochs {densities:g} --shown 8 --n 2 --seed {config.seed} "
                    f"--name {_KEPT}",
                    (f"{_KEPT}/inversion.json", f"{_KEPT}/sheet.png"),
                ),
            ),
            f"{_KEPT}/sheet.png",
            "Test images, and images that densities draw which are told what two layers make of them",
            lambda runs: sentences.inversion(runs / _KEPT),
        ),
        Stop(
            "spectrum",
            "How the power of images and maps falls with frequency",
            ("spectral",),
            (
                Step(
                    f"analyse spectrum {{runs}}/{_NETWORK} --taps convolutions --untrained --seed {config.seed}",
                    (f"{_NETWORK}/spectrum.png", f"{_NETWORK}/spectrum.json"),
                ),
            ),
            f"{_NETWORK}/spectrum.png",
            "Power spectra of digits and of a network's maps, trained and untrained",
            lambda runs: sentences.spectrum(runs / _NETWORK),
        ),
        Stop(
            "saliency",
            "Where in an image a class is seen",
            ("jacobian",),
            (
                Step(
                    f"analyse saliency {{runs}}/{_NETWORK} --images 4 --methods full-jacobian bias-jacobian --drawn 4 "
                    f"--out {{runs}}/tour-saliency",
                    ("tour-saliency/saliency.png", "tour-saliency/saliency.json"),
                    tuple(f"tour-saliency/{name}" for name in ("saliency.*", "sheet-*.png", "maps.safetensors")),
                ),
            ),
            "tour-saliency/saliency.png",
            "Saliency maps of four test images, by two methods",
            lambda runs: sentences.saliency(runs / "tour-saliency"),
        ),
        Stop(
            "discarding",
            "What layers throw away, in nats at each pixel",
            ("discarding",),
            (
                Step(
                    f"analyse discard {{runs}}/{_NETWORK} --images 16 --grid 8 --sid-steps 20 "
                    f"--taps group1,group2,group3,logits --shown 4 --seed {config.seed} --name {_DISCARDED}",
                    (f"{_DISCARDED}/discard-sid.png", f"{_DISCARDED}/discard.json"),
                ),
            ),
            f"{_DISCARDED}/discard-sid.png",
            "What four layers discard of four test images: bright is discarded, dark is kept",
            lambda runs: sentences.discarding(runs / _DISCARDED),
        ),
    )
