"""Class-conditional generators: the networks, their training, samples, interpolations and likelihoods."""
