"""The generative model in a classifier's final layer: its distributions, concentrations, soft labels and files."""
