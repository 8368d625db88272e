"""Classifiers without their smallest weights, trained again with those at 0."""
