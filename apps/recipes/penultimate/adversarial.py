"""Table 5: Inception score and FID of SNGANs on CIFAR-10, five runs each, and the same of BigGAN's networks."""

from dataclasses import dataclass

from apps.recipes.table import Table, all_against

# The sphere and the other concentrations are controls.
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
    more: str = ""
    """Other flags of the training."""
    protocol: str = "fid-5k"
    suffix: str = ""
    """Of the table's number."""


ADVERSARIAL = Adversarial()
BIGGAN = Adversarial(
    preset="biggan",
    ema=0.9999,
    more="--schedule constant --flip --latent-dim 128",
    suffix="-biggan",
)
"""BigGAN at the size of CIFAR as in StudioGAN, but for latents of 128 numbers, as the classifier's prior has them."""


def _fifth(p: Adversarial, latents: tuple[str, ...], title: str, said: str = "") -> Table:
    def run(row: str, column: str, seed: int) -> str:
        return f"penultimate-5{p.suffix}-{row}-{column}-seed{seed}"

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        name = run(row, column, seed)
        train = (
            f"train sngan --data {column} --preset {p.preset} --steps {p.steps} --ema {p.ema} "
            f"{p.more + ' ' if p.more else ''}--seed {seed} {_LATENTS[row][0]} --name {name}"
        )
        evaluate = f"evaluate {{runs}}/{name} --protocol {p.protocol} --seed 0"
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

    return Table(
        title=title,
        convention=(
            "FID 5k: the mean of ten FIDs of 5,000 against 5,000, over 50,000 fakes and the 50,000 training images; IS "
            "over the same ten chunks; by torch-fidelity's Inception network. vmf: kappa 5; vmf-N: kappa N."
            f"{said and ' ' + said}"
        ),
        rows=latents,
        columns=("cifar10",),
        seeds=5,
        axes=("latent", "images"),
        metrics=("IS", "FID"),
        published={}
        if p.suffix
        else {(row, "cifar10"): published for row, (_, published) in _LATENTS.items() if published},
        commands=commands,
        run=run,
        extra=("KID", "precision", "recall"),
        against=all_against(latents, "gaussian"),
    )


TABLES = {
    "5": _fifth(
        ADVERSARIAL,
        tuple(_LATENTS),
        "Table 5: generative modelling of CIFAR-10, Inception score and FID 5k (section 4.3)",
    ),
    "5-biggan": _fifth(
        BIGGAN,
        ("gaussian", "vmf", "vmf-20", "uniform-sphere"),
        "Table 5 with BigGAN's networks: modelling CIFAR-10, Inception score and FID 5k; nothing of it is published",
        "Networks and settings are StudioGAN's BigGAN for CIFAR-10, with the orthogonal regularisation of its paper; "
        "latents have 128 numbers in four parts, where StudioGAN's have 80. For a GPU.",
    ),
}
