"""Saliency: where in an image a class is seen, by full-Jacobians and by what is set beside them."""
