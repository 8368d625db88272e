"""Full-Jacobian Representation of Neural Networks (Srinivas and Fleuret, 2019, arXiv 1905.00780)."""

from apps.recipes.jacobian.distillation import TABLES as DISTILLATION
from apps.recipes.jacobian.regularisation import TABLES as REGULARISATION

TABLES = DISTILLATION | REGULARISATION
"""Tables 2 to 4, the students of section 7.1.2, and two of them at a size for two cores of a CPU."""
