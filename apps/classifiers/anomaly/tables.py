"""What is printed of out-of-distribution scores and of calibration."""

from apps.classifiers.anomaly.peer_scores import NEIGHBOURS, PERCENTILE
from apps.classifiers.anomaly.results import Against, Anomaly
from apps.command.console import say, table

_LEGEND = (
    "direction: log q(a|i) of the direction; given norm: the same with kappa_i = |w_i| |a| (equation 5); with norm: "
    "direction plus a log-normal density of |a| by class; max over the classes i, or their mixture. FPR95: the others "
    "that pass where 95 % of the classifier's own images do."
)


def print_detection(model: str, found: Anomaly, other: Against, last: bool) -> None:
    """How well each score tells another set's images from the classifier's own.

    Args:
        model: as on the command line.
        found: the classifier's own.
        other: the other set.
        last: whether this is the last set, below which stands what the scores are.
    """
    notes = "; ".join(
        filter(
            None,
            (
                f"{other.name}: {other.converted}" if other.converted else "",
                f"{other.zero:,} activations are zero" if other.zero else "",
            ),
        )
    )
    table(
        f"{model}: test images of {found.data} against {other.images:,} of {other.name}",
        ("score", "AUROC", "FPR95"),
        [(score, f"{value.auroc:.2%}", f"{value.fpr95:.2%}") for score, value in other.detected.items()],
        " ".join(filter(None, (notes and f"{notes}.", _LEGEND, _gauges(other), _peers(other)))) if last else notes,
    )
    say()


def _gauges(other: Against) -> str:
    """What the scores of other gauges are; nothing where there are none."""
    there = any(name.count(", ") == 2 for name in other.detected)  # space, directions, mixture
    return "SPACE, DIRECTIONS: log q(a|i) of the direction in that gauge." if there else ""


def _peers(other: Against) -> str:
    """What the scores of pytorch-ood are, of those that are there; nothing where there are none."""
    said = {
        "KNN": f"KNN: minus the distance to neighbour {NEIGHBOURS} among the training images' directions",
        "ViM": "ViM: energy minus a virtual logit, the norm outside the principal subspace",
        "ReAct": f"ReAct: energy of activations clipped at their {PERCENTILE:.0%} quantile",
    }
    there = [words for name, words in said.items() if name in other.detected]
    return f"{'; '.join(there)}: by pytorch-ood." if there else ""


def print_calibration(model: str, found: Anomaly) -> None:
    """How far the probabilities of the softmax and of the prior hold."""
    table(
        f"{model}: calibration on the test images of {found.data}",
        ("probabilities", "accuracy", "NLL", "ECE"),
        [
            (name, f"{one.accuracy:.2%}", f"{one.nll:.4f}", f"{one.ece:.2%}")
            for name, one in found.every_calibration.items()
        ],
        f"q(i|a): of the direction, kappa_i by {found.concentration}; given |a|: kappa_i = |w_i| |a|"
        + ("; SPACE, DIRECTIONS: in that gauge" if found.in_gauges else "")
        + ". NLL in nats; ECE over 15 bins of equal width.",
    )
