"""A MODEL on the command line, the kinds of model that runs hold, and what all methods ask of a model."""
