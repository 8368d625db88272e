"""Densities of images: PixelCNN++, its exact likelihoods, and how images are drawn from it."""
