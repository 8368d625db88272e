"""Appendix A's table: the robustness of a pruned network beside what its last layer discards."""

from dataclasses import dataclass

from apps.recipes.discarding.by_layer import Networks
from apps.recipes.discarding.protocol import ERROR
from apps.recipes.discarding.pruning import LONG_PRUNING, PRUNED_BIRDS, PRUNED_SMALL, SHORT_PRUNING, Pruning
from apps.recipes.table import Table

_PUBLISHED = {
    # parameters in %: SID of the last layer, robustness
    "100": (-2.690, 0.00276),
    "38.0": (-2.693, 0.00281),
    "12.8": (-2.695, 0.00254),
    "8.0": (-2.723, 0.00109),
}
_SID, _ROBUSTNESS = "SID", "robustness"
_VALUE, _ERROR, _NORM = "value", "error", "L2"


@dataclass(frozen=True)
class Attacking:
    """Networks that are pruned, and how far images must change until they find a wrong class."""

    pruning: Pruning
    """How they are made."""
    networks: Networks
    """Of figure 4b, whose SID is measured anyway."""
    last: str
    """The column of their last layer: "the SID value of the last FC layer"."""
    wrong: int
    """Classes that each image is driven to: "its top-20 incorrect fine-grained categories"."""
    departure: str = "label"
    """What is not wrong: the image's label, as "incorrect" says; the class that is found would need no label."""
    method: str = "pgd"
    """The attack: none is named. Projected gradients, the radius bisected, need no other package; Foolbox's DDN is
    there as well."""
    steps: int = 100
    """Gradients an image and class: not printed."""
    norm: str = "RMS"
    """Which norm stands beside the printed one: that over the root of an image's values (Szegedy et al. 2014). As an L2
    norm .00276 would be less than a grey level of one value."""

    def run(self, row: str, column: str, seed: int) -> str:
        """The folder of scores: that of SID, or the network's own."""
        return self.networks.run(row, self.last, seed) if column == _SID else self.pruning.pruned(row)(seed)[0]

    def commands(self, row: str, column: str, seed: int) -> tuple[str, ...]:
        """All networks and their SID, or one and its robustness."""
        if column == _SID:
            return self.networks.commands(row, self.last, seed)
        run, made = self.pruning.pruned(row)(seed)
        return *made, (
            f"analyse robustness {{runs}}/{run} --wrong {self.wrong} --from {self.departure} --method {self.method} "
            f"--steps {self.steps} --images {self.pruning.how.measuring.images} --seed {seed}"
        )

    def score(self, row: str, column: str, metric: str) -> str:
        """What a score is called by the two verbs."""
        own = {_VALUE: self.norm, _ERROR: f"{self.norm}{ERROR}"}.get(metric, metric)
        if column != _SID:
            return own
        return self.networks.score(row, self.last, {_VALUE: _SID, _ERROR: f"{_SID}{ERROR}"}.get(metric, metric))


def _table(how: Attacking, title: str, note: str, published: bool) -> Table:
    return Table(
        title=title if published else f"{title}; nothing of it is published",
        convention=(
            "SID of the last layer, in nats a value of the image; robustness: how far the smallest change of an image "
            f"goes by which a wrong class is found, the mean over the {how.wrong} likeliest wrong ones, over the root "
            f"of the image's values, 0 where it is found already; L2: the norm itself, of pixels from 0 to 1. Over "
            f"{how.pruning.how.measuring.images} test images, with standard errors over images. {note}"
        ),
        rows=tuple(_PUBLISHED),
        columns=(_SID, _ROBUSTNESS),
        seeds=1,
        axes=("parameters in %", "measure"),
        metrics=(_VALUE,),
        published={
            (row, column): (value,)
            for row, values in _PUBLISHED.items()
            for column, value in zip((_SID, _ROBUSTNESS), values, strict=True)
            if published
        },
        commands=how.commands,
        run=how.run,
        score=how.score,
        extra=(_ERROR, _NORM),
        places=".5f",
    )


TABLES = {
    "robustness": _table(
        Attacking(LONG_PRUNING, PRUNED_BIRDS, "fc8", wrong=20),
        "Appendix A: SID and adversarial robustness of VGG-16 on CUB-200-2011, pruned",
        "The paper says neither its unit nor its attack: its robustness cannot be a norm of pixels from 0 to 1, being "
        "less than a grey level.",
        True,
    ),
    "robustness-short": _table(
        Attacking(SHORT_PRUNING, PRUNED_SMALL, "logits", wrong=9),
        "Appendix A at a size for a CPU: SID and adversarial robustness of VGG-8 on CIFAR-10, pruned",
        "Five epochs, and one after pruning; all nine wrong classes.",
        False,
    ),
}
