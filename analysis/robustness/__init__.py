"""How far an image has to be changed for a network to call it something else."""
