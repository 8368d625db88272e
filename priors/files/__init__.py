"""Files: regular ones, JSON, tensors with their checksums, and the names of weights in them."""
