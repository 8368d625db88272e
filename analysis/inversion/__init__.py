"""What a representation keeps of an image: cross-entropies, reconstructions, distances, other estimates."""
