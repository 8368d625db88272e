"""Tables 2 and 3: class-wise distillation on CIFAR-100 (section 4.1), and both at a size for two cores of a CPU."""

from dataclasses import dataclass

from apps.recipes.pair import Pair
from apps.recipes.table import Table, all_against

# Tian, Krishnan and Isola's code compares a wide residual network's groups as they are summed, without batch norm and
# ReLU. Where it compares one of them, that is the last (sp, ft) or the second (fitnet), as the terms have it. ab takes
# them behind the next batch norm, which are the networks' own stages.
SUMS = "--student-taps body.group1 body.group2 body.group3 --teacher-taps body.group1 body.group2 body.group3"

# Top-1 accuracy of students in per cent, five runs each, by the protocol of Tian, Krishnan and Isola (2020). AB and FT
# are controls.
METHODS = {
    #           terms and flags                                                       accuracy
    "student": ("ce", 73.26),
    "fitnet": (f"ce+fitnet {SUMS} --fitnet.activation none --fitnet.regression relu", 73.58),
    "kd": ("ce+hinton", 74.92),
    "at": (f"ce+attention {SUMS} --attention.activation none", 74.08),
    "rkd": ("ce+rkd", 73.35),
    "sp": (f"ce+sp {SUMS} --sp.activation none", 73.83),
    "vid": (f"ce+vid {SUMS} --vid.activation none", 74.11),
    "crd": ("ce+crd", 75.48),
    "ckd": ("ce+ckd", 74.32),
    # The paper gives no weights: soft labels weigh .9 together, as each does alone.
    "ckd+kd": ("ce+ckd+hinton --ckd.weight 0.45 --hinton.weight 0.45", 75.21),
    "ab": ("ce+ab", None),
    "ft": (f"ce+ft {SUMS} --ft.variant repdistiller --ft.activation none --ft.lr 0.01", None),
}
_SHIFTS = {
    #                   shift                 label, KD, CKD
    "photometric-0": ("", (73.26, 74.92, 74.32)),
    "photometric-0.2": ("photometric:0.2", (73.29, 74.34, 74.18)),
    "photometric-0.4": ("photometric:0.4", (72.97, 71.92, 73.98)),
    "photometric-0.6": ("photometric:0.6", (72.39, 65.68, 73.61)),
    "photometric-0.8": ("photometric:0.8", (71.53, 51.35, 72.47)),
    "downsample-1": ("", (73.26, 74.92, 74.32)),
    "downsample-0.75": ("downsample:0.75", (70.15, 68.52, 71.24)),
    "downsample-0.5": ("downsample:0.5", (63.64, 45.84, 64.55)),
    "downsample-0.25": ("downsample:0.25", (49.00, 20.27, 49.72)),
}
_SHIFTED = ("label", "kd", "ckd")


@dataclass(frozen=True)
class Compression:
    """How the students of both tables are trained, and from which teacher."""

    pair: Pair
    """Teacher and student."""
    seeds: int
    methods: tuple[str, ...]
    """Rows of table 2."""
    shifts: tuple[str, ...]
    """Columns of table 3."""
    said: str
    """The protocol in words."""
    suffix: str = ""
    """Of the tables' numbers."""

    def run(self, table: str, row: str, column: str, seed: int) -> str:
        """The name of the run of a cell; that of sums says so, since runs without it compared other stages."""
        compared = "-sums" if SUMS in METHODS.get(row, ("",))[0] else ""
        return f"penultimate-{table}{self.suffix}-{row.replace('+', '-')}{compared}-{column}-seed{seed}"

    def distilling(self, method: str, seed: int, run: str) -> tuple[str, ...]:
        """The commands of a student, with those of the one teacher that all students have."""
        return self.pair.distilling(METHODS[method][0], seed, run)


PUBLISHED = Compression(
    Pair(
        teacher="wrn-40-2",
        # As the students are, on labels alone.
        schooling=(
            "--epochs 240 --batch-size 64 --optimizer momentum --lr 0.05 --schedule step --milestones 0.625 0.75 0.875 "
            "--decay 0.1"
        ),
        taught="penultimate-2-teacher-cifar100",
        student="wrn-16-2",
        epochs=240.0,
    ),
    seeds=5,
    methods=tuple(METHODS),
    shifts=tuple(_SHIFTS),
    said="240 epochs of SGD by the protocol of Tian, Krishnan and Isola (2020). ckd: kappa 80.",
)
SHORT = Compression(
    Pair(
        teacher="wrn-16-2",
        schooling="--epochs 8 --batch-size 128 --optimizer sgd --lr 0.1 --schedule cosine",
        taught="penultimate-2-short-teacher-cifar100",
        student="wrn-16-1",
        epochs=3.0,
        schedule=" --schedule cosine",
    ),
    seeds=3,
    methods=("student", "kd", "at", "rkd", "sp", "crd", "ckd", "ckd+kd"),
    shifts=("photometric-0", "photometric-0.8", "downsample-0.5", "downsample-0.25"),
    said="3 epochs along a cosine, otherwise as in table 2; teacher: 8 epochs (48 minutes of a core). ckd: kappa 80.",
    suffix="-short",
)


def _second(how: Compression, title: str, published: dict) -> Table:
    def run(row: str, column: str, seed: int) -> str:
        return how.run("2", row, column, seed)

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        return (how.pair.teaching(seed),) if row == "teacher" else how.distilling(row, seed, run(row, column, seed))

    return Table(
        title=title,
        convention=(
            "of the last weights, on the 10,000 test images; best: the highest after any epoch. One teacher, of seed "
            f"0, for all students. {how.said}"
        ),
        rows=("teacher", *how.methods),
        columns=("cifar100",),
        seeds=how.seeds,
        axes=("method", "images"),
        metrics=("accuracy",),
        published=published,
        commands=commands,
        run=run,
        extra=("best accuracy",),
        against=all_against(how.methods, "student"),
    )


def _third(how: Compression, title: str, otherwise: str, published: dict) -> Table:
    def method(row: str) -> str:
        return "student" if row == "label" else row

    def run(row: str, column: str, seed: int) -> str:
        if not _SHIFTS[column][0]:  # images as they are: what table 2 has
            return how.run("2", method(row), "cifar100", seed)
        return how.run("3", row, column, seed)

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        shift = _SHIFTS[column][0]
        *before, train = how.distilling(method(row), seed, run(row, column, seed))
        return (*before, f"{train} --shift {shift}" if shift else train)

    return Table(
        title=title,
        convention=(
            "photometric-S: brightness, contrast and saturation altered by up to S; downsample-R: to R of the pixels a "
            "side and back, by nearest neighbours. The student is trained on such images, which KD's teacher sees as "
            f"well, and tested on such: accuracy; clean: of the images as they are. Otherwise as table {otherwise}."
        ),
        rows=_SHIFTED,
        columns=how.shifts,
        seeds=how.seeds,
        axes=("method", "images"),
        metrics=("accuracy",),
        published=published,
        commands=commands,
        run=run,
        extra=("best accuracy", "clean accuracy"),
        against=all_against(_SHIFTED, "label"),
    )


TABLES = {
    "2": _second(
        PUBLISHED,
        f"Table 2: top-1 accuracy in % of {PUBLISHED.pair.size} (section 4.1.3)",
        {("teacher", "cifar100"): (75.61,)}
        | {(row, "cifar100"): (accuracy,) for row, (_, accuracy) in METHODS.items() if accuracy},
    ),
    "2-short": _second(
        SHORT, f"Table 2 at a size for a CPU: top-1 accuracy in % of {SHORT.pair.size}; nothing of it is published", {}
    ),
    "3": _third(
        PUBLISHED,
        "Table 3: top-1 accuracy in % of WRN-16-2 on CIFAR-100 of another domain (section 4.1.4)",
        "2",
        {
            (row, column): (accuracies[index],)
            for column, (_, accuracies) in _SHIFTS.items()
            for index, row in enumerate(_SHIFTED)
        },
    ),
    "3-short": _third(
        SHORT,
        "Table 3 at a size for a CPU: WRN-16-1 on CIFAR-100 of another domain; nothing of it is published",
        "2-short",
        {},
    ),
}
