"""Draw a classifier of two penultimate units: activations, weights and class densities on the circle, as it trains.

A panel for each snapshot of the run (penult train classifier --snapshots 0 100 1000) and one for its final network. Of
several MODELs, such as a teacher and its students, the final networks side by side.
"""

from apps.classifiers.settings import CircleDrawing as Config


def main(config: Config) -> None:
    """Run the test images through each network, draw, and print the order of the classes around the circle."""
    from apps.classifiers.circle.drawing import draw_circles

    draw_circles(config)
