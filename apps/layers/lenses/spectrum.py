"""How the power of a layer's maps falls with frequency: the exponent of each image's maps, by Whittle's likelihood."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Seen, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from apps.spectra.sites import MapSite


@dataclass(frozen=True)
class Exponent(Lens):
    """The exponent of the mean power of an image's maps at one layer, fitted by maximum likelihood.

    Attributes:
        convention: preset of `penult analyse spectrum`, one that measures powers.
    """

    convention: str = "power"
    what: ClassVar[str] = "how the power of maps falls with frequency"
    title: ClassVar[str] = "spectral exponent"
    meaning: ClassVar[str] = (
        "mean over images of the exponent of their maps' power by Whittle's likelihood; lower where fine detail is lost"
    )
    kept: ClassVar[int] = 1

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """Layers without maps, or with maps that are too small."""
        found = {layer.name: _site(subject, layer) for layer in subject.layers}
        return {name: one for name, one in found.items() if isinstance(one, str)}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Fit an exponent to each image's maps; NaN where they are constant."""
        sites = {layer.name: _site(subject, layer) for layer in layers}

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            return {
                name: self._exponents(seen.values[name].movedim(-1, 1) if site.last else seen.values[name])
                for name, site in sites.items()
            }

        return rows

    def _exponents(self, maps: "Tensor") -> "Tensor":
        import math

        from analysis.spectra.convention import spectrum_convention
        from analysis.spectra.likelihood import whittle
        from analysis.spectra.moments import SpectrumMoments
        from priors.errors import InputError

        none = SpectrumMoments.none(tuple(maps.shape[2:]), spectrum_convention(self.convention), maps.device)

        def exponent(one: "Tensor") -> float:
            try:
                return whittle(none.add(one[None])).exponent
            except InputError:  # maps of this image that are 0 everywhere
                return math.nan

        return maps.new_tensor([exponent(one) for one in maps])


def _site(subject: Subject, layer: Layer) -> "MapSite | str":
    """The layer as one with maps, or why it is none."""
    from apps.spectra.sites import map_sites
    from priors.errors import InputError

    try:
        return map_sites(subject.network, (layer.tap,), subject.images.image_shape)[0][0]
    except InputError as error:
        return str(error).removeprefix(f"--taps {layer.tap}: ")


LENS = Exponent()
