"""What saliency can be told. Nothing here imports torch, so that help is instant."""

METHOD_NAMES = (
    "full-jacobian",
    "full-jacobian-authors",
    "bias-jacobian",
    "input-gradient",
    "guided-backprop",
    "integrated-gradients",
    "smooth-grad",
    "grad-cam",
)
"""Saliency methods; those after the third are Captum's."""
