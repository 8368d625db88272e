"""How well a prior describes activations: goodness of fit, and its gauges side by side."""
