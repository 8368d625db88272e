"""What several measures say of the same layers of the same networks, for the same images."""
