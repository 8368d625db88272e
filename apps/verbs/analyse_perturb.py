"""See by what a network's output hangs on its pixels: take them out in the order of saliency maps.

A map is good by such a benchmark where the output stays as its least salient pixels go, or falls as its most salient
ones go. Prints a score with its error for each map, and sets beside it what a benchmark must tell from real maps:
random orders, edges of the image, and each map blurred. Draws the curves and adds to the run's perturb.json.
"""

from apps.jacobians.perturbation.settings import Perturbing as Config


def main(config: Config) -> None:
    """Measure, print, draw and keep."""
    from apps.jacobians.perturbation.program import analyse_perturb

    analyse_perturb(config)
