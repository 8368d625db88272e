"""Benchmarks of saliency maps: what a network loses with the pixels that a map calls salient, or does not."""
