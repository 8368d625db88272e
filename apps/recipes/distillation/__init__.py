"""Methods of distillation side by side, over seeds: any objectives, on any pair of networks."""

from apps.recipes.distillation.sizes import TABLES

__all__ = ["TABLES"]
