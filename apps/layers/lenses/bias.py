"""How much of the output a network adds by itself between its layers: the bias terms of its full-Jacobian."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-3
"""Of the sum's parts, how far it may be off; single precision leaves 1e-4 at most."""


@dataclass(frozen=True)
class BiasShare(Lens):
    """The share of the bias terms between the layer before and this one (Srinivas and Fleuret 2019).

    The predicted class's logit is J x plus what each operation adds (its bias, batch norm's shift, the intercept of an
    activation, constants). Operations between two layers are added up; a share is the size of such a sum over that of
    all sums and of J x.
    """

    what: ClassVar[str] = "how much of the output bias terms add between the layer before and this one"
    title: ClassVar[str] = "bias share"
    meaning: ClassVar[str] = (
        "share of the predicted class's logit that bias terms add between the layer before (or the image) and this "
        "one, of the sizes of all such sums and of slope x image"
    )
    kept: ClassVar[int] = -1
    of: ClassVar[str] = "stretch"

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """None: what cannot be decomposed is found by looking."""
        return {}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Decompose the network at each image."""
        from analysis.jacobians.stretches import stretches

        taps = {layer.tap: layer.name for layer in layers}

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            found = stretches(subject.network, seen.images, list(taps))
            own = {taps[tap]: found.shares[:, number] for number, tap in enumerate(found.layers)}
            return {**own, "rounding of the sum": found.residual}

        return rows

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The means over images whose sum adds up; a note where one does not."""
        import torch

        lost = rows["rounding of the sum"] > _ROUNDING
        note = f"the sum of {int(lost.sum())} images does not add up, they are left out" if bool(lost.any()) else ""
        return {layer.name: mean_of(rows[layer.name].where(~lost, torch.nan), note) for layer in layers}


LENS = BiasShare()
