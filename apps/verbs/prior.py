"""Read the von Mises-Fisher prior off a classifier's final layer: a table of its classes, and a file to keep it in.

A second table says how vMF-like the activations really are, measured on the classifier's training images.

Concentrations: norms is ||w_i|| times the activations' mean norm; mle the likeliest one for each class's activations
about w_i, mle-pooled one for all classes; sweep:5,20,80 trains what --for names with each value and takes the one that
serves best on held-out images.
"""

from apps.classifiers.settings import PriorReading as Config


def main(config: Config) -> None:
    """Print the tables, and write the file where one is asked for."""
    from apps.classifiers.prior.reading import read_off

    read_off(config)
