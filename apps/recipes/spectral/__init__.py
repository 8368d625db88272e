"""Natural Statistics of Network Activations and Implications for Knowledge Distillation (Rotman and Wolf, 2021)."""

from apps.recipes.spectral.distillation import TABLES as DISTILLATION
from apps.recipes.spectral.figures import TABLES as FIGURES

TABLES = FIGURES | DISTILLATION
