"""Inverting representations: densities and reconstructions of images, given what a network makes of them."""
