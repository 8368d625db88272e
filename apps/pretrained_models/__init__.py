"""Trained models that come with the package: a folder a model, as `penult export` wrote it, and how they are found."""
