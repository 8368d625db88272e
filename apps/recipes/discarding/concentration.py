"""Figures 3, 4a and 4b, right: how far networks discard what is around birds rather than the birds."""

from collections.abc import Sequence
from dataclasses import replace

from apps.recipes.discarding.by_layer import Networks, by_layer, trained
from apps.recipes.discarding.damage import DAMAGED_BIRDS
from apps.recipes.discarding.protocol import ALEXNET, BIRDS, PUBLISHED, VGG_16, VGG_19
from apps.recipes.discarding.pruning import PRUNED_BIRDS
from apps.recipes.table import Table

DATA, OBJECTS = "cub-200-2011-1.5", "--boxes auto"
"""Birds with something around them: "the box of 1.5 width x 1.5 height of the object" (section 4). Inside is the box;
equation 6 takes "the ground-truth segment (or the bounding box)", and which is not said."""


def _concentration(groups: Sequence[Networks], title: str, note: str) -> Table:
    """The same networks, on these images."""
    of = [
        replace(one, name=f"{one.name}-concentration", metrics="concentration", more=f" --data {DATA} {OBJECTS}")
        for one in groups
    ]
    return by_layer(
        f"{title}; nothing of it is published",
        "concentration: SID outside of the bird's box less that inside; networks are trained on the boxes, and "
        f"measured on 1.5 times their sides. The figure has no printed numbers: {note}",
        of,
    )


_NETWORKS = {"alexnet": ALEXNET, "vgg-16": VGG_16, "vgg-19": VGG_19}

TABLES = {
    "concentration": _concentration(
        [Networks(BIRDS, arch, {row: trained(BIRDS, arch)}, PUBLISHED[arch]) for row, arch in _NETWORKS.items()],
        "Figure 3, right: concentration of AlexNet, VGG-16 and VGG-19 on CUB-200-2011",
        "VGGs look at the background in low layers, and more at the bird in high ones, than AlexNet.",
    ),
    "damage-concentration": _concentration(
        DAMAGED_BIRDS,
        "Figure 4a: concentration of whole and damaged VGGs on CUB-200-2011",
        "it was slightly higher in damaged ones.",
    ),
    "pruning-concentration": _concentration(
        [PRUNED_BIRDS],
        "Figure 4b: concentration of VGG-16 on CUB-200-2011, pruned",
        "pruning changed it little. In per cent of the parameters.",
    ),
}
