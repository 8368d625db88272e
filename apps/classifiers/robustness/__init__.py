"""How far images have to be changed for a classifier to call them something else."""
