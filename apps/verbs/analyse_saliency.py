"""Draw where in an image a classifier sees a class: by the full-Jacobian, and by other methods beside it.

What a network gives is, exactly, its slope times the image plus what each of its operations adds of its own (Srinivas
and Fleuret 2019). Prints that sum for each image, with its rounding. Draws saliency.png, every method side by side and
laid over the image, each method on one scale of its own; and a sheet an image, figure 1 of the paper, with the slope's
part and each layer's map, whose sums add up to the output. Keeps the maps in maps.safetensors, all numbers in
saliency.json. With --masks or --boxes it also prints how much of each map lies on the object. Methods other than
full-jacobian and bias-jacobian are Captum's (pip install captum).
"""

from apps.jacobians.settings import SaliencySettings as Config


def main(config: Config) -> None:
    """Measure, print, draw and keep."""
    from apps.jacobians.program import analyse_saliency

    analyse_saliency(config)
