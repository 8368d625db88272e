"""What is read off a network: its activations by name, its head, and what its outputs are."""
