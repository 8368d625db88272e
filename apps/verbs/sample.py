"""Draw images from a trained generator: a grid, a folder of pictures, or one .npz; the run's folder is all it needs.

Each picture depends on the seed, its class and its number alone, not on how many are drawn with it. With --interpolate
it draws the way from one class to another: HVAE-L along great circles, HVAE-C by its class code at a fixed z.
"""

from apps.models.sample_settings import SampleSettings as Config


def main(config: Config) -> None:
    """Draw and write."""
    from apps.models.sample import sample

    sample(config)
