"""Spectra of images and of activations: measured, fitted, compared."""
