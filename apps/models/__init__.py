"""A MODEL on the command line, the user's own modules, activations of a set, and priors read off models."""
