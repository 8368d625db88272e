"""On The Distribution of Penultimate Activations of Classification Networks (Seo, Lee and Kwak, 2021)."""

from dataclasses import dataclass

from apps.recipes.penultimate.convolutions import TABLES as CONVOLUTIONS
from apps.recipes.penultimate.distillation import TABLES as DISTILLATION
from apps.recipes.penultimate.heavy_tails import TABLES as HEAVY_TAILS
from apps.recipes.penultimate.learnt import TABLES as LEARNT
from apps.recipes.penultimate.likelihoods import TABLES as LIKELIHOODS
from apps.recipes.table import Table, all_against

# Table 1: top-1 accuracy on ImageNet's validation images before and after normalising a and w_i, in per cent.
_NETWORKS = {
    #          torchvision's name    original, normalised, drop rate
    "R-18": ("resnet18", (69.8, 67.1, -3.9)),
    "R-50": ("resnet50", (76.2, 74.7, -1.9)),
    "R-101": ("resnet101", (77.4, 76.2, -1.5)),
    "R-152": ("resnet152", (78.3, 77.5, -1.1)),
    "D-121": ("densenet121", (74.7, 72.5, -2.9)),
    "D-201": ("densenet201", (77.2, 75.5, -2.2)),
    "S-v2": ("shufflenet_v2_x1_0", (69.4, 68.4, -1.5)),
    "RX-50": ("resnext50_32x4d", (77.6, 76.9, -0.9)),
    "RX-101": ("resnext101_32x8d", (79.3, 78.9, -0.6)),
}


def _table1_run(row: str, column: str, seed: int) -> str:
    return f"penultimate-1-{row}"


def _table1_commands(row: str, column: str, seed: int) -> tuple[str, ...]:
    network, scores = _NETWORKS[row][0], f"{{runs}}/{_table1_run(row, column, seed)}/normalised.json"
    return (
        f"analyse normalised torchvision:{network}:IMAGENET1K_V1 --data {{data}} --image-size 224 --resize 256 "
        f"--out {scores}",
    )


# Table 5: Inception score and FID on CIFAR-10, five runs each. The sphere and the other concentrations are controls.
_LATENTS = {
    #                  flags                              IS, FID 5k
    "gaussian": ("--latent gaussian", (8.406, 18.867)),
    "vmf": ("--latent vmf --concentration 5", (8.511, 18.764)),
    "uniform-sphere": ("--latent uniform-sphere", None),
    "vmf-20": ("--latent vmf --concentration 20", None),
    "vmf-50": ("--latent vmf --concentration 50", None),
    "vmf-200": ("--latent vmf --concentration 200", None),
}


@dataclass(frozen=True)
class Adversarial:
    """How the networks of table 5 are trained and scored, the same for all of its cells."""

    classifier: str = "wrn-40-2"
    """Its penultimate layer has 128 units (section 4.3)."""
    classifier_epochs: int = 200
    """By the schedule of the wide residual networks' authors: SGD, .1 divided by 5 after 30, 60 and 80 %."""
    preset: str = "gan-evaluation"
    """Networks and settings of reference [34], which section 4.3 follows."""
    steps: int = 100_000
    radius: float = 10
    """Length of latents on a sphere."""
    ema: float | None = None
    """The published numbers are of the last weights."""
    protocol: str = "fid-5k"


ADVERSARIAL = Adversarial()


def _table5_run(row: str, column: str, seed: int) -> str:
    return f"penultimate-5-{row}-{column}-seed{seed}"


def _table5_commands(row: str, column: str, seed: int) -> tuple[str, ...]:
    p, run = ADVERSARIAL, _table5_run(row, column, seed)
    flags = _LATENTS[row][0]
    train = (
        f"train sngan --data {column} --preset {p.preset} --steps {p.steps} --ema {p.ema} --seed {seed} {flags} "
        f"--name {run}"
    )
    evaluate = f"evaluate {{runs}}/{run} --protocol {p.protocol} --seed 0"
    if row != "gaussian":
        train += f" --radius {p.radius:g}"
    if not row.startswith("vmf"):
        return (train, evaluate)
    classifier = f"penultimate-5-classifier-{column}-seed{seed}"
    return (
        f"train classifier --data {column} --arch {p.classifier} --epochs {p.classifier_epochs} --batch-size 128 "
        f"--optimizer sgd --lr 0.1 --schedule step --weight-decay 5e-4 --seed {seed} --name {classifier}",
        f"{train} --classifier {{runs}}/{classifier}",
        evaluate,
    )


TABLES = {
    "1": Table(
        title="Table 1: top-1 accuracy in % on ImageNet with activations and weights normalised (section 2.3)",
        convention=(
            "normalised: by the cosine of activation and weight, without the bias; drop rate: relative to the "
            "original, in %; bias kept: added to w_i.a with both norms at their means. The 50,000 validation images, "
            "shorter side 256, centre 224 x 224. R: ResNet, D: DenseNet, S: ShuffleNet, RX: ResNeXt."
        ),
        rows=tuple(_NETWORKS),
        columns=("imagenet",),
        seeds=1,
        axes=("network", "images"),
        metrics=("original", "normalised", "drop rate"),
        published={(row, "imagenet"): published for row, (_, published) in _NETWORKS.items()},
        commands=_table1_commands,
        run=_table1_run,
        extra=("bias kept",),
        folder="imagenet",
        layout="ImageNet's validation images in test/n01440764/* ... test/n15075141/*, a folder a class",
    ),
    **DISTILLATION,
    **LIKELIHOODS,
    **HEAVY_TAILS,
    **CONVOLUTIONS,
    **LEARNT,
    "5": Table(
        title="Table 5: generative modelling of CIFAR-10, Inception score and FID 5k (section 4.3)",
        convention=(
            "FID 5k: the mean of ten FIDs of 5,000 against 5,000, over 50,000 fakes and the 50,000 training images; IS "
            "over the same ten chunks; by torch-fidelity's Inception network. vmf: kappa 5; vmf-N: kappa N."
        ),
        rows=tuple(_LATENTS),
        columns=("cifar10",),
        seeds=5,
        axes=("latent", "images"),
        metrics=("IS", "FID"),
        published={(row, "cifar10"): published for row, (_, published) in _LATENTS.items() if published},
        commands=_table5_commands,
        run=_table5_run,
        extra=("KID", "precision", "recall"),
        against=all_against(tuple(_LATENTS), "gaussian"),
    ),
}
