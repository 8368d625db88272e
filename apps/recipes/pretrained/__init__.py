"""Trained models to start from: what comes with the package, in half the bytes; and larger ones, for the Hub.

A row is a type that matrices and filters are rounded to, a column a model. What a table leaves in the folder of the
runs is handed on by `penult export`; see RESULTS.md.
"""

from collections.abc import Mapping

from apps.recipes.penultimate import TABLES as PENULTIMATE
from apps.recipes.table import Table, all_against

_TYPES = ("float32", "bfloat16", "float16")
_MNIST = ("hvae-l", "10", 1)
"""Row, column and seed of table 4 of penultimate."""
_SGD = "--batch-size 128 --optimizer sgd --lr 0.1 --weight-decay 5e-4"


def _fourth() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Table 4's commands of the classifier, and of the HVAE-L on its prior."""
    classifier, generator, evaluate = PENULTIMATE["4"].commands(*_MNIST)
    return (classifier, f"evaluate {{runs}}/{_name(classifier)} --seed 0"), (classifier, generator, evaluate)


def _name(command: str) -> str:
    words = command.split()
    return words[words.index("--name") + 1]


def _trained(data: str, arch: str, more: str) -> tuple[str, ...]:
    name = f"pretrained-{data}-{arch}"
    train = f"train classifier --data {data} --arch {arch} {more} {_SGD} --seed 0 --name {name}"
    return train, f"evaluate {{runs}}/{name} --seed 0"


_SHIPPED = {
    "mnist-mlp": _fourth()[0],
    "mnist-hvae-l": _fourth()[1],
    "cifar100-wrn-16-1": _trained("cifar100", "wrn-16-1", "--epochs 20 --schedule cosine --precision bf16"),
}
"""By model, the commands that train and score it."""
_LARGER = {
    "cifar100-wrn-40-2": _trained("cifar100", "wrn-40-2", "--epochs 200 --schedule step"),
    "cifar10-wrn-40-2": _trained("cifar10", "wrn-40-2", "--epochs 200 --schedule step"),
    "cifar10-sngan-vmf": PENULTIMATE["5"].commands("vmf", "cifar10", 0),
}


def _table(models: Mapping[str, tuple[str, ...]], title: str, metrics: tuple[str, ...], score: str) -> Table:
    def run(row: str, column: str, seed: int) -> str:
        return _run_of(models[column]) if row == "float32" else f"pretrained-{column}-{row}"

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        *train, evaluate = models[column]
        if row == "float32":
            return models[column]
        own, rounded = (f"{{runs}}/{run(one, column, seed)}" for one in ("float32", row))
        return (*train, f"export {own} {rounded} --dtype {row} --overwrite", evaluate.replace(own, rounded))

    return Table(
        title=f"{title}; nothing of it is published",
        convention=(
            f"{score}. float32: as trained; else with matrices and filters rounded to that type, which are float32 "
            "again where they are loaded. MNIST: table 4 of penultimate, d = 10, seed 1."
        ),
        rows=_TYPES,
        columns=tuple(models),
        seeds=1,
        axes=("weights", "model"),
        metrics=metrics,
        published={},
        commands=commands,
        run=run,
        places=".5f",
        against=all_against(_TYPES, "float32"),
    )


def _run_of(commands: tuple[str, ...]) -> str:
    """The run that the last command scores."""
    return commands[-1].split()[1].removeprefix("{runs}/")


TABLES = {
    "shipped": _table(
        _SHIPPED,
        "Models that come with penult, as trained and in half the bytes",
        ("accuracy", "cross-entropy", "log p(x|i)", "ELBO"),
        "Accuracy and cross-entropy of classifiers, log p(x|i) and its bound of the HVAE-L, on all test images",
    ),
    "larger": _table(
        _LARGER,
        "Larger models to push to the Hub, as trained and in half the bytes",
        ("accuracy", "cross-entropy", "FID"),
        "Accuracy and cross-entropy of classifiers on all test images, FID 5k of the SNGAN",
    ),
}
