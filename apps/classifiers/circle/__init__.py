"""Classifiers of two penultimate units, drawn on their circles."""
