"""Auto-encoders of a classifier's architecture: their training, their errors, and how runs hold them."""
