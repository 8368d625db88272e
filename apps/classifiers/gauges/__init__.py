"""How a classifier's gauge moves while it is trained."""
