"""How the convolutions of residual networks and their kin start."""

from torch import nn


def he_normal(body: nn.Module) -> None:
    """Draw the weights of all convolutions from normals of variance 2 / fan-out, and set their biases to 0.

    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, equation 14: the variance of gradients is then kept
    through ReLUs.
    """
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
