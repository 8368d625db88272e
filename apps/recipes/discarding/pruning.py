"""Figure 4b and appendix E: what the layers of a pruned VGG discard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.recipes.discarding.by_layer import Networks, Subject, by_layer, trained
from apps.recipes.discarding.protocol import BIRDS, FEW, MAPS, PUBLISHED, VECTORS, VGG_16, Protocol

PERCENTS = ("100", "38.0", "12.8", "8.0")
"""Parameters of appendix A's networks in per cent."""
_APPENDIX_E = "6.7"
"""Per cent of the parameters of appendix E's network: "we removed 93.3% parameters"."""


@dataclass(frozen=True)
class Pruning:
    """A network with all of its parameters, and with the largest of them."""

    how: Protocol
    """Of the network that is pruned."""
    arch: str
    """Its architecture."""
    epochs: float
    """Of what is left. Han et al. (2015) train on; for how long is not said here."""
    keep_by: str = "global"
    """One threshold for all layers. The paper's are not printed, but the parts that they leave are; by one for all,
    linear layers lose most, as it says of its own ("mainly conducted in the last two fully-connected layers")."""
    slower: float = 0.1
    """Rate of what is left, in parts of that of the first training: "1/10 of the original" (Han et al. 2015)."""

    def pruned(self, percent: str) -> Subject:
        """The network of which so many per cent of the parameters are left."""
        if percent == "100":
            return trained(self.how, self.arch)

        def subject(seed: int) -> tuple[str, tuple[str, ...]]:
            how, name = self.how, self.how.name(self.arch, "keeping", named(percent), f"seed{seed}")
            again = how.schooling.again(self.arch, self.epochs, self.slower)
            prune = (
                f"prune {{runs}}/{how.network(self.arch, seed)} --keep {float(percent) / 100:g} "
                f"--keep-by {self.keep_by} {again} --seed {seed} --name {name}"
            )
            return name, (how.training(self.arch, seed), prune)

        return subject

    def networks(
        self, percents: Sequence[str], layers: Mapping[str, str], metrics: str = "sid", maps: int = 0
    ) -> Networks:
        """The network at several sizes."""
        subjects = {percent: self.pruned(percent) for percent in percents}
        return Networks(self.how, f"{self.arch}-pruned", subjects, layers, metrics, maps)


def named(percent: str) -> str:
    """Per cent of the parameters as a part of a run's name."""
    return percent.replace(".", "_")


_SAID = (
    "The figure has no printed numbers: pruning lowered SID, and changed RU and concentration little. In per cent of "
    "the parameters"
)
LONG_PRUNING, SHORT_PRUNING = Pruning(BIRDS, VGG_16, epochs=20.0), Pruning(FEW, "vgg-8", epochs=1.0)
PRUNED_BIRDS = LONG_PRUNING.networks((*PERCENTS, _APPENDIX_E), PUBLISHED[VGG_16], "sid,ru", 5)
PRUNED_SMALL = SHORT_PRUNING.networks(PERCENTS, MAPS["vgg-8"] | VECTORS)
"""The networks of figure 4b, whose last layers are those of appendix A."""

TABLES = {
    "pruning": by_layer(
        "Figure 4b: SID and RU of VGG-16 on CUB-200-2011, pruned; nothing of it is published",
        f"{_SAID}; 6.7 is appendix E's, whose maps are in the folders of scores: discard-sid.png.",
        [PRUNED_BIRDS],
        rows="parameters in %",
    ),
    "pruning-short": by_layer(
        "Figure 4b at a size for a CPU: SID of VGG-8 on CIFAR-10, pruned; nothing of it is published",
        f"{_SAID}. Five epochs, and one after pruning. Appendix E's maps are in the folder of scores: discard-sid.png.",
        [PRUNED_SMALL],
        rows="parameters in %",
    ),
}
