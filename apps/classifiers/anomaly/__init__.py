"""Telling a classifier's own images from others, and how far its probabilities hold."""
