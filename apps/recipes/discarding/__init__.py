"""Quantifying Layerwise Information Discarding of Neural Networks and Beyond (Ma et al., 2019, arXiv 1906.04109)."""

from apps.recipes.discarding.coherency import TABLES as COHERENCY
from apps.recipes.discarding.concentration import TABLES as CONCENTRATION
from apps.recipes.discarding.damage import TABLES as DAMAGE
from apps.recipes.discarding.distillation import TABLES as DISTILLATION
from apps.recipes.discarding.epochs import TABLES as EPOCHS
from apps.recipes.discarding.networks import TABLES as NETWORKS
from apps.recipes.discarding.pruning import TABLES as PRUNING
from apps.recipes.discarding.robustness import TABLES as ROBUSTNESS

TABLES = NETWORKS | CONCENTRATION | COHERENCY | DAMAGE | PRUNING | ROBUSTNESS | DISTILLATION | EPOCHS
"""The studies of section 4 and of the appendices, and each at a size for two cores of a CPU."""
