"""On The Distribution of Penultimate Activations of Classification Networks (Seo, Lee and Kwak, 2021)."""

from dataclasses import dataclass

from apps.recipes.penultimate.distillation import TABLES as DISTILLATION
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


# Table 4: log-likelihood and ELBO on MNIST, five runs each.
_DIMENSIONS = ("3", "5", "10", "20")
_PUBLISHED = {
    #           log-likelihood                     ELBO
    "hvae": ((-122.0, -107.4, -93.6, -90.9), (-124.0, -111.3, -98.0, -96.3)),
    "hvae-c": ((-124.9, -110.7, -93.3, -89.7), (-127.6, -114.3, -97.6, -95.3)),
    "hvae-l": ((-119.4, -105.2, -90.5, -87.9), (-123.0, -109.1, -95.1, -93.3)),
}


@dataclass(frozen=True)
class Protocol:
    """How the generators of table 4 are trained and scored, the same for all of its cells.

    The paper follows the S-VAE: Adam, learning rate 1e-3, batches of 64 (`PAPER`); its epochs are not said. With those,
    220 epochs and a cosine HVAE-L reaches a bound of -96.3 and log p(x|i) of -91.9 at d = 10; a higher rate, averaged
    weights and a little weight decay reach more in fewer epochs, and are the defaults.
    """

    convention: str = "sphere"
    """What d counts: S^d in R^(d+1); "ambient" for S^(d-1) in R^d."""
    validation: int = 10_000
    """Training images held out; the best checkpoint by the ELBO on them is kept."""
    patience: int = 50
    """Epochs without a better one before training stops."""
    epochs: int = 150
    batch_size: int = 64
    optimizer: str = "adamw"
    weight_decay: float = 0.015
    lr: float = 6e-3
    warmup: float = 2
    """Epochs over which the learning rate rises."""
    schedule: str = "cosine"
    final_lr: float = 0.01
    """Where the schedule ends, as a fraction of the peak."""
    ema: float | None = 0.9995
    kl_warmup: float = 30
    """Epochs over which the weight of the divergence rises."""
    concentration: float = 20
    """Of HVAE-L's prior (section 4.2)."""
    samples: int = 500
    """Importance samples an image."""
    classifier_epochs: int = 10
    suffix: str = ""
    """Of the table's number."""
    said: str = "The optimiser is not the paper's, which 4-adam has: AdamW at 6e-3, a warm-up, a cosine, averages."
    """How it differs from the paper's, in words."""

    def width(self, column: str) -> int:
        """The dimension of the space that the sphere lies in, and so of the classifier's penultimate layer."""
        return int(column) + (self.convention == "sphere")


PROTOCOL = Protocol()
PAPER = Protocol(
    epochs=1000,
    optimizer="adam",
    weight_decay=0.0,
    lr=1e-3,
    warmup=0.0,
    schedule="constant",
    final_lr=0.0,
    ema=None,
    kl_warmup=100.0,
    suffix="-adam",
    said=(
        "Adam at 1e-3 (section 4.2). What the paper leaves open is as in the S-VAE authors' code: 100 epochs over "
        "which the divergence gains its weight, and training until 50 epochs bring nothing better."
    ),
)
"""The paper's optimiser: Adam, a learning rate of 1e-3, batches of 64."""
_SPHERES = {"sphere": "sphere S^d in R^(d+1)", "ambient": "sphere S^(d-1) in R^d"}


def _fourth(p: Protocol, title: str) -> Table:
    def run(row: str, column: str, seed: int) -> str:
        return f"penultimate-4{p.suffix}-{row}-d{column}-seed{seed}"

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        name = run(row, column, seed)
        shared = f"--data mnist --validation {p.validation} --batch-size {p.batch_size} --seed {seed}"
        train = (
            f"train hvae {shared} --variant {row} --latent-dim {column} --convention {p.convention} "
            f"--epochs {p.epochs} --patience {p.patience} --kl-warmup {p.kl_warmup:g} --optimizer {p.optimizer} "
            f"--weight-decay {p.weight_decay:g} --lr {p.lr:g} --warmup {p.warmup:g} --schedule {p.schedule} "
            f"--final-lr {p.final_lr:g} --ema {p.ema} --name {name}"
        )
        evaluate = f"evaluate {{runs}}/{name} --samples {p.samples} --seed 0"
        if row != "hvae-l":
            return (train, evaluate)
        classifier = f"penultimate-4-classifier-d{column}-seed{seed}"  # Adam at 1e-3, as the paper has it
        return (
            f"train classifier {shared} --arch mlp --penultimate {p.width(column)} --epochs {p.classifier_epochs} "
            f"--name {classifier}",
            f"{train} --classifier {{runs}}/{classifier} --concentration {p.concentration:g}",
            evaluate,
        )

    return Table(
        title=title,
        convention=(
            f"{_SPHERES[p.convention]}, encoder q(z|x), images binarised afresh each batch, "
            f"{60_000 - p.validation:,} for training and {p.validation:,} for validation; scored on the "
            f"10,000 test images with K = {p.samples}. The published columns are compared with log p(x) of HVAE "
            "and log p(x|i) of HVAE-C and HVAE-L, and the bounds of those; log p(x) is what all three share. "
            f"{p.said}"
        ),
        rows=("hvae", "hvae-c", "hvae-l"),
        columns=_DIMENSIONS,
        seeds=5,
        axes=("model", "d"),
        metrics=("log p(x|i)", "ELBO"),
        instead={"log p(x|i)": "log p(x)"},  # an unconditional model has no label
        published={
            (row, column): (likelihoods[index], bounds[index])
            for row, (likelihoods, bounds) in _PUBLISHED.items()
            for index, column in enumerate(_DIMENSIONS)
        },
        commands=commands,
        run=run,
        extra=("log p(x,i)", "log p(x)"),
        against={"hvae-l": "hvae-c"},  # which both have log p(x|i); hvae has no label
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
    "4": _fourth(PROTOCOL, "Table 4: generative modelling of MNIST, log-likelihood and ELBO in nats (section 4.2)"),
    "4-adam": _fourth(
        PAPER, "Table 4 by the paper's optimiser: generative modelling of MNIST, log-likelihood and ELBO in nats"
    ),
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
