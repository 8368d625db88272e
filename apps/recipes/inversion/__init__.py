"""Inverting Supervised Representations with Autoregressive Neural Density Models (Nash, Kushman and Williams, 2019)."""

from dataclasses import dataclass

from apps.recipes.table import Table

# Table 1: mean absolute difference a unit between the representations of 500 test images and of others.
_DISTANCES = {
    #           CONV1                       CONV2                       FC3
    "mnist": ((1.25e-2, 7.68e-4, 6.29e-4), (4.95e-2, 1.65e-2, 1.40e-2), (1.22e-1, 1.35e-1, 9.52e-2)),
    "svhn": ((5.35e-2, 1.02e-3, 9.40e-4), (6.74e-2, 2.80e-2, 2.43e-2), (2.92e-1, 3.22e-1, 2.50e-1)),
    "cifar10": ((4.11e-2, 4.02e-3, 3.47e-3), (9.56e-2, 6.43e-2, 5.73e-2), (5.28e-1, 7.39e-1, 5.79e-1)),
}
_ACCURACIES = {"mnist": 99.6, "svhn": 93.3, "cifar10": 81.6}  # of the classifiers in per cent (section 5.1)
_TRAINING = {"mnist": 60_000, "affnist": 60_000, "svhn": 73_257, "cifar10": 50_000}
_COLOUR = {  # densities of colour images (appendix A)
    "svhn": " --filters 196 --dropout 0.5 conv1=0.1",
    "cifar10": " --filters 196 --dropout 0.5 conv1=0.1 --context-dropout 0 fc3=0.2",
}
_BATCH, _HELD_OUT = 64, 5000
_LAYERS = ("conv1", "conv2", "fc3", "logits")

# Section 5.2: affNIST, the classifier's accuracy in per cent and the NCE of images given FC3 in nats.
_ARCHITECTURES = {
    "fully-connected": ("lenet-fc", (95.0, -715.17)),
    "convolutional": ("lenet-32-32", (98.7, -699.55)),
    "global-pooling": ("lenet-32-32-global", (98.9, -704.01)),
}


@dataclass(frozen=True)
class Protocol:
    """How networks and densities are trained, for all tables.

    The paper (appendix A) has Adam for both, 250,000 updates at most and early stopping, and dropout in every layer of
    the classifiers; it does not say the size of a batch. The learning rate of the densities decays by .9999 an update.
    """

    classifier: str
    """Of `penult train classifier`, beside data, architecture and epochs."""
    epochs: int | None
    """Of the classifier; None: as many as 250,000 updates are."""
    density: str
    """Of `penult analyse invert`; of colour images also what `_COLOUR` has. {epochs} stands for 250,000 updates."""
    snapshots: str
    """Updates after which the MNIST classifier is kept."""
    through_training: str
    """What the figures have of it beside table 1."""
    said: str
    """The same in words."""
    suffix: str = ""
    """Of the tables' numbers."""

    def classifier_run(self, name: str, seed: int) -> str:
        """The name of the run of a classifier."""
        return f"inversion{self.suffix}-classifier-{name}-seed{seed}"

    def run(self, name: str, seed: int) -> str:
        """The name of the folder of an inversion's scores, and of its runs before their layers'."""
        return f"inversion{self.suffix}-{name}-seed{seed}"

    def commands(self, name: str, data: str, arch: str, seed: int, layers: tuple[str, ...], flags: str):
        """Train a classifier, and invert some of its layers."""
        snapshots = f" --snapshots {self.snapshots}" if data == "mnist" else ""
        epochs = self.epochs or 250_000 * _BATCH // (_TRAINING[data] - _HELD_OUT)
        density = self.density.format(epochs=250_000 * _BATCH // (_TRAINING[data] - _TRAINING[data] // 12))
        special = _COLOUR.get(data, "")
        classifier = self.classifier_run(name, seed)
        return (
            f"train classifier --data {data} --arch {arch} {self.classifier} --epochs {epochs}{snapshots} "
            f"--seed {seed} --name {classifier}",
            f"analyse invert {{runs}}/{classifier} --taps {','.join(layers)} {density}{special}{flags} "
            f"--seed {seed} --name {self.run(name, seed)}",
        )

    def of_images(self, data: str, seed: int, more: str = "") -> tuple[str, ...]:
        """What table 1 and the figures have of one data set."""
        arch = "lenet-32-32" if data == "mnist" else "lenet-64-128"
        return self.commands(data, data, arch, seed, _LAYERS, f" --distances 500 --closest fc3{more}")


_PUBLISHED = Protocol(
    classifier=f"--augment none --optimizer adam --lr 3e-4 --batch-size {_BATCH} --validation {_HELD_OUT}",
    epochs=None,
    density=f"--batch-size {_BATCH} --epochs {{epochs}} --lr 1e-3 --schedule exponential --decay 0.9999",
    snapshots="0 100 1000 10000 100000",
    through_training=" --snapshots --overfit 100",
    said="250,000 updates of Adam at most for classifiers and densities, the best by held-out images.",
)
_SHORT = Protocol(
    classifier="--augment crop --dropout 0.2 --optimizer adamw --lr 1e-3 --schedule cosine --batch-size 64",
    epochs=16,
    density=(
        "--filters 16 --layers 1 --dropout 0 --batch-size 16 --lr 2e-3 --epochs 2 --validate-every 0.5 "
        "--decoder-filters 16 --decoder-epochs 2"
    ),
    snapshots="0 100 1000 10000",
    through_training="",
    said="Classifier: 16 epochs; densities of 16 channels and a layer a block, 2 epochs.",
    suffix="-short",
)


def _first(how: Protocol, title: str, rows: tuple[str, ...], published: bool) -> Table:
    return Table(
        title=title,
        convention=(
            "mean absolute difference a unit, of 500 test images: 1NN to the nearest training image in the "
            f"representation, IM-S to one sample of the inversion, IM-NN to the closest of ten. {how.said}"
        ),
        rows=rows,
        columns=_LAYERS[:3],
        seeds=1,
        axes=("images", "layer"),
        metrics=("1NN", "IM-S", "IM-NN"),
        published={
            (data, layer): values
            for data in rows
            for layer, values in zip(_LAYERS[:3], _DISTANCES[data], strict=True)
            if published
        },
        commands=lambda row, column, seed: how.of_images(row, seed),
        run=lambda row, column, seed: how.run(row, seed),
        score=lambda row, column, metric: f"{column} {metric}",
        places=".3g",
    )


def _figures(how: Protocol, title: str, rows: tuple[str, ...], published: bool) -> Table:
    return Table(
        title=title if published else f"{title}; nothing of it is published",
        convention=(
            "accuracy of the classifier; NCE: mean log p(x|h) of the test images in nats; relative: in parts of "
            "CONV1's size, as figure 5a has it. Pictures are in "
            "the runs' folders: sheet.png (figure 1), closest-fc3.png (2), nce.png (5a)"
            f"{' and, of MNIST, through-training.png (5b)' if how.through_training else ''}. {how.said}"
        ),
        rows=rows,
        columns=_LAYERS,
        seeds=1,
        axes=("images", "layer"),
        metrics=("accuracy",),
        published={(data, layer): (_ACCURACIES[data],) for data in rows for layer in _LAYERS if published},
        commands=lambda row, column, seed: how.of_images(row, seed, how.through_training if row == "mnist" else ""),
        run=lambda row, column, seed: how.run(row, seed),
        score=lambda row, column, metric: metric if metric == "accuracy" else f"{column} {metric}",
        extra=("NCE", "relative"),
    )


def _architectures(how: Protocol, title: str, published: bool) -> Table:
    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        # What global pooling does is seen beside the network without, image by image.
        other = "convolutional" if row == "global-pooling" else None
        before = commands(other, column, seed) if other else ()
        beside = f" --against {{runs}}/{how.run(f'affnist-{other}', seed)}-{column}" if other else ""
        arch = _ARCHITECTURES[row][0]
        return (*before, *how.commands(f"affnist-{row}", "affnist", arch, seed, (column,), beside))

    return Table(
        title=title,
        convention=(
            "accuracy of the classifier, and NCE: mean log p(x|FC3) of the test images in nats; both on affNIST's. "
            "sheet.png in the runs' folders is figure 4, against.json of global pooling the difference in pairs. "
            f"{how.said}"
        ),
        rows=tuple(_ARCHITECTURES),
        columns=("fc3",),
        seeds=1,
        axes=("network", "layer"),
        metrics=("accuracy", "NCE"),
        published={(row, "fc3"): values for row, (_, values) in _ARCHITECTURES.items() if published},
        commands=commands,
        run=lambda row, column, seed: how.run(f"affnist-{row}", seed),
        score=lambda row, column, metric: metric if metric == "accuracy" else f"{column} {metric}",
    )


TABLES = {
    "1": _first(_PUBLISHED, "Table 1: distances in representations (section 5.1)", tuple(_DISTANCES), True),
    "1-short": _first(
        _SHORT,
        "Table 1 at a size for a CPU: distances in representations; nothing of it is published",
        ("mnist",),
        False,
    ),
    "architectures": _architectures(_PUBLISHED, "What FC3 of three networks keeps of affNIST (section 5.2)", True),
    "architectures-short": _architectures(
        _SHORT, "What FC3 of three networks keeps of affNIST at a size for a CPU; nothing of it is published", False
    ),
    "figures": _figures(_PUBLISHED, "Figures 1, 2 and 5 (section 5)", tuple(_DISTANCES), True),
    "figures-short": _figures(_SHORT, "Figures 1, 2 and 5 at a size for a CPU", ("mnist",), False),
}
