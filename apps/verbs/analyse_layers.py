"""Look at a network's layers through several lenses, side by side: one sheet of what each says of the same images.

A lens gives a number a layer, with its error over images; where it does not apply it leaves a gap, and says why.

Do lenses agree on where information goes? Curves that fall with depth all agree, over five layers; so images are asked.
Two lenses agree as far as those images lose most on the way from a layer to the next by the one that do so by the
other: a correlation over images within each step, averaged over steps and networks (--against), from -1 to 1, with an
interval that takes images, layers and (from three on) networks for samples of many. "Places" is the same after each
image's mean over its other steps is taken out: whether both place an image's loss at the same step. Noise within a lens
brings both nearer to 0. Prints tables, draws layers.png, and adds to the run's layers.json, which penult report shows.
"""

from apps.layers.settings import LayerSettings as Config


def main(config: Config) -> None:
    """Look, print, draw and keep."""
    from apps.layers.program import analyse_layers

    analyse_layers(config)
