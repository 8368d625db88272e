"""Figure 5b: what the blocks of a ResNet-32 discard at several points of its training."""

from collections.abc import Mapping

from apps.recipes.discarding.by_layer import Networks, Subject, by_layer
from apps.recipes.discarding.protocol import CIFAR10, FEW, FOLLOWED, MAPS, VECTORS, Protocol
from apps.recipes.table import Table

_BLOCKS = {
    # Blocks stand at even places of a group and their ReLUs at odd ones; that of the last is behind the group.
    f"{group}-{block}": f"group{group}.{2 * block - 1}" if block < 5 else f"relu{group}"
    for group in range(1, 4)
    for block in range(1, 6)
}
"""The 15 blocks of two convolutions, each behind its ReLU: "a specific block" (caption of figure 5) may be one of them,
or a group, which ends with one of them."""


def _at(how: Protocol, epoch: str) -> Subject:
    """The network after so many epochs."""
    step = how.step(epoch)

    def subject(seed: int) -> tuple[str, tuple[str, ...]]:
        run = how.network(FOLLOWED, seed)
        return run if step is None else f"{run}/snapshots/step-{step}", (how.training(FOLLOWED, seed),)

    return subject


def _epochs(how: Protocol, title: str, note: str, layers: Mapping[str, str]) -> Table:
    return by_layer(
        f"{title}; nothing of it is published",
        'The figure has no printed numbers: "information discarding in high layers satisfied the '
        f'information-bottleneck theory". {note} Curves are in the folder of scores: discard.png',
        [Networks(how, "epochs", {epoch: _at(how, epoch) for epoch in how.epochs}, layers)],
        rows="epochs",
    )


TABLES = {
    "epochs": _epochs(
        CIFAR10,
        "Figure 5b: SID of the blocks of ResNet-32 through its training on CIFAR-10",
        "1-1 to 3-5: the five blocks of three groups.",
        _BLOCKS,
    ),
    "epochs-short": _epochs(
        FEW,
        "Figure 5b at a size for a CPU: SID of ResNet-32 through five epochs on CIFAR-10",
        "1 to 3: the groups.",
        MAPS[FOLLOWED] | VECTORS,
    ),
}
