"""On The Distribution of Penultimate Activations of Classification Networks (Seo, Lee and Kwak, 2021)."""

from apps.recipe import Table

# Table 4: log-likelihood and ELBO on MNIST, five runs each.
_DIMENSIONS = ("3", "5", "10", "20")
_PUBLISHED = {
    #           log-likelihood                     ELBO
    "hvae": ((-122.0, -107.4, -93.6, -90.9), (-124.0, -111.3, -98.0, -96.3)),
    "hvae-c": ((-124.9, -110.7, -93.3, -89.7), (-127.6, -114.3, -97.6, -95.3)),
    "hvae-l": ((-119.4, -105.2, -90.5, -87.9), (-123.0, -109.1, -95.1, -93.3)),
}


def _table4_run(row: str, column: str, seed: int) -> str:
    return f"penultimate-4-{row}-d{column}-seed{seed}"


def _table4_commands(row: str, column: str, seed: int) -> tuple[str, ...]:
    run, common = _table4_run(row, column, seed), f"--data mnist --batch-size 64 --lr 1e-3 --seed {seed}"
    width = int(column) + 1  # S^d lies in R^(d+1)
    classifier = f"penultimate-4-classifier-d{column}-seed{seed}"
    hvae = (
        f"train hvae {common} --variant {row} --latent-dim {column} --validation 10000 --epochs 220 --kl-warmup 30 "
        f"--schedule cosine --final-lr 0.05 --patience 50 --name {run}"
    )
    commands = [f"{hvae} --classifier {{runs}}/{classifier} --concentration 20" if row == "hvae-l" else hvae]
    if row == "hvae-l":
        commands.insert(
            0,
            f"train classifier {common} --arch mlp --penultimate {width} --validation 10000 --epochs 20 "
            f"--name {classifier}",
        )
    return (*commands, f"evaluate {{runs}}/{run} --samples 500 --seed 0")


TABLES = {
    "4": Table(
        title="Table 4: generative modelling of MNIST, log-likelihood and ELBO in nats (section 4.2)",
        convention=(
            "sphere S^d in R^(d+1), encoder q(z|x), images binarised afresh each batch, 50,000 for training and 10,000 "
            "for validation; scored on the 10,000 test images with K = 500. The published columns are compared with "
            "log p(x) of HVAE and log p(x|i) of HVAE-C and HVAE-L, and the bounds of those."
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
        commands=_table4_commands,
        run=_table4_run,
        extra=("log p(x,i)", "log p(x)"),
    )
}
