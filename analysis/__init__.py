"""What a network keeps and what it throws away."""
