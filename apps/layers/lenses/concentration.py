"""How much more of the background than of the object a layer discards, where masks or boxes say which is which."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Subject, mean_of
from apps.layers.lenses.sid import StrictDiscarding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Concentration(Lens):
    """Equation 6 of the paper of strict information discarding, on its entropies.

    Attributes:
        entropies: how these are found.
    """

    entropies: StrictDiscarding = field(default_factory=StrictDiscarding)
    what: ClassVar[str] = "how much more of the background is discarded than of the object, by --masks or --boxes"
    title: ClassVar[str] = "concentration"
    unit: ClassVar[str] = "nats a pixel value"
    meaning: ClassVar[str] = (
        "mean entropy of SID outside of the object less that inside; above 0 where more of the background is discarded"
    )
    kept: ClassVar[int] = 0

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """All, where nothing says what the object is."""
        if subject.objects is not None:
            return {}
        own = subject.images.objects
        reason = (own and own.without_outside) or "nothing says where the object is: give --masks or --boxes"
        return {layer.name: reason for layer in subject.layers}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """As for SID, whose slopes are taken once for both."""
        return self.entropies.look(subject, layers)

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """Of images whose object is neither all nor nothing."""
        import torch

        from analysis.discarding.concentration import information_concentration
        from apps.data.objects import divided

        known, found = divided(subject.objects), {}
        for layer in layers:
            entropy = self.entropies.entropies(subject, layer, rows)
            some = known & entropy.flatten(1).isfinite().all(1)
            each = torch.full((len(entropy),), torch.nan, dtype=torch.float64)
            if bool(some.any()):
                each[some] = information_concentration(entropy[some], subject.objects[some])
            found[layer.name] = mean_of(each)
        return found


LENS = Concentration()
