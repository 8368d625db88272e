"""What the verbs on classifiers do: training, the prior and its gauges, circles, norms taken out, other images."""
