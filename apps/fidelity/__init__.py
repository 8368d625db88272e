"""How close generated images are to real ones: IS, FID, KID, precision and recall, all through torch-fidelity."""
