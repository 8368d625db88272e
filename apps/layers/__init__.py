"""One sheet of a network's layers: what several lenses say of them, for the same images, side by side."""
