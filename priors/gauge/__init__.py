"""The gauge of a prior: in which space activations are looked at, and which directions the classes have there."""
