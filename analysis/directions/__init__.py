"""What the directions of activations tell: accuracy without norms, out-of-distribution scores, calibration."""
