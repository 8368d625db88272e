"""Accuracies with the norms of activations and weights taken out."""
