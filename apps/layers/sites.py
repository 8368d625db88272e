"""Which layers of a network are looked at."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.discarding.sensitivity import feature_spread
from apps.data.batches import ordered
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.discarding.layer import LayerFeatures
from apps.layers.lens import Layer, Subject
from apps.models.layers import inner, usual_layers
from apps.models.representation import Representation, in_order, representation
from priors.errors import InputError
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import find_module, tap
from priors.zoo import Classifier


def layers_of(network: Classifier, wanted: Sequence[str], image_shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """The layers of those names in the order in which the network computes them, by dry passes.

    Args:
        network: a classifier.
        wanted: names of layers (see `apps.models.layers`); none: the usual ones.
        image_shape: of what the network is given.

    Raises:
        InputError: no such layer, one that two of the names mean, or one that gives no tensor with a row an image.
    """
    names = wanted or [name.removeprefix(inner(network)) for name in usual_layers(network)]
    found = {name: representation(network, name, image_shape) for name in names}
    sites: dict[str, str] = {}
    for name, one in found.items():
        if one.site in sites and wanted:
            raise InputError(f"--taps {sites[one.site]} {name}: these are one layer, {one.site}; leave one out")
        sites.setdefault(one.site, name)
    found = {name: one for name, one in found.items() if sites[one.site] == name}
    final = {name: one.site for name, one in found.items()}
    with undisturbed(network), tap(network, [*final.values(), network.penultimate_tap], copy=True) as taps:
        network(torch.rand(2, *image_shape, device=network.mean.device))
    given = taps[network.penultimate_tap]
    return tuple(
        Layer(
            name=name,
            tap=final[name],
            shape=found[name].shape,
            penultimate=torch.equal(taps[final[name]].flatten(1), given),
            last=final[name] == network.head_name,
        )
        for name in in_order(found, image_shape)
    )


def features_of(subject: Subject, layer: Layer) -> LayerFeatures:
    """A layer as a function from images, which computes no more of the network than that."""
    return LayerFeatures(Representation(subject.network, layer.name, layer.tap, layer.shape))


def deltas_of(subject: Subject, layer: Layer, probes: int) -> float:
    """delta_f^2 of a layer, the mean over all images that have one; NaN where none has. One pass for all lenses.

    Args:
        subject: the network and its images.
        layer: of it.
        probes: slopes an image.
    """

    def found() -> float:
        function = features_of(subject, layer)
        own = {"samples": probes, "seed": subject.seed}
        rows = sweep(
            subject.images,
            lambda batch: {"value": feature_spread(function, batch.images, index=batch.index, **own).value},
            batch_size=max(1, min(50, fewer_if_large(subject.images) // 10)),
            accelerator=subject.accelerator,
            description=f"how far {layer.name} moves",
            gradients=True,
        )
        values = rows["value"]
        return float(values[values.isfinite()].mean())

    return subject.once(("delta", layer.name, probes), found)


def rest_of(network: nn.Module, site: str, images: Float[Tensor, "batch ..."]) -> Callable[[Tensor], Tensor]:
    """What a network makes of a layer's values, in the place of those that it has of the images: logits."""
    place, _, number = site.partition("#")
    path, _, end = place.partition(":")
    module, wanted = find_module(network, path)[1], int(number or 1)

    def rest(values: Tensor) -> Tensor:
        calls = 0

        def replaced(given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != wanted:
                return given
            return (values, *given[1:]) if end == "input" else values

        if end == "input":
            hook = module.register_forward_pre_hook(lambda _, given: replaced(given))
        else:
            hook = module.register_forward_hook(lambda _, given, result: replaced(result))
        try:
            return network(images)
        finally:
            hook.remove()

    return rest


def moments_of(network: Classifier, images: ImageSet, sites: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """By site, the mean and the standard deviation over the images of each of its values, on the network's device."""
    sums: dict[str, list[Tensor]] = {}
    count = 0
    for batch in ordered(images, max(1, fewer_if_large(images) // 4), device=network.mean.device):
        with torch.no_grad(), tap(network, sites, copy=True) as taps:
            network(batch.images)
        count += len(batch)
        for site in sites:
            values = taps[site].double()
            if site not in sums:  # deviations are from the first image: means may be large beside them
                sums[site] = [values[0], torch.zeros_like(values[0]), torch.zeros_like(values[0])]
            first, total, squares = sums[site]
            total += (values - first).sum(0)
            squares += (values - first).square().sum(0)
    return {
        site: (
            (first + total / count).float(),
            ((squares - total.square() / count) / max(1, count - 1)).clamp_min(0).sqrt().float(),
        )
        for site, (first, total, squares) in sums.items()
    }
