"""Measure how the power of images, and of a network's maps, falls with frequency: spectra and their exponents.

A power law |k|^a is fitted by maximum likelihood (Whittle), which is right for maps of 5x5 pixels too, and by a line
through the logarithms, as papers have it. Prints a table for each network, draws spectrum.png, and adds to the run's
spectrum.json. Every exponent depends on a convention, which is printed with it.
"""

from apps.spectra.settings import SpectrumMeasuring as Config


def main(config: Config) -> None:
    """Measure, print, draw and keep."""
    from apps.spectra.program import analyse_spectrum

    analyse_spectrum(config)
