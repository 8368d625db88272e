"""What a network computes at a point as one sum: its slope times the image, and what each operation adds of its own."""
