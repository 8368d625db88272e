"""What the verbs on classifiers do: training, the circle, out-of-distribution figures, choosing concentrations."""
