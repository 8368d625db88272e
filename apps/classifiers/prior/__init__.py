"""Reading the prior off a classifier's final layer, and comparing its gauges."""
