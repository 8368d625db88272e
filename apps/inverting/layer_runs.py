"""The trainings of an inversion: one run a layer for the density, one for the least-squares decoder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from analysis.densities.pixelcnn import PixelCNN
from analysis.inversion.reconstruction import UpConvolution
from apps.command.config import Foreign, Optimisation, Where, identity, older_values
from apps.data.image_set import ImageSet
from apps.inverting.inverted import decoder_description, density_description
from apps.inverting.own_density import OwnDensity
from apps.inverting.protocol import Decoder, Density
from apps.inverting.training import DensityTraining
from apps.models.imported import made
from apps.models.layer_task import ReconstructionTraining
from apps.models.representation import Representation
from apps.models.represented import trained_on_layer, whose
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.loop import steps_of
from apps.training.memory import within_memory
from apps.training.task import Task
from apps.training.train import slug, train

VERB = "analyse invert"


@dataclass(frozen=True)
class Inversion:
    """All that the trainings of one command share."""

    images: ImageSet
    """To train on."""
    held_out: ImageSet | None
    """To choose checkpoints by."""
    density: Density
    decoder: Decoder
    optimisation: Optimisation
    where: Where
    accelerator: Accelerator

    def check(self, name: str, called: str, model: str, foreign: Foreign, layer: Representation | None) -> None:
        """Build everything once for a layer, and look for its runs, before anything is trained; see `invert`.

        Raises:
            InputError: values out of range, or a run of that name with another configuration.
        """
        context = () if layer is None else layer.shape
        if self.density.density == "pixelcnn":
            with torch.device("meta"):
                self._density(called, context)
        else:
            self._density(called, context).check()
        own = whose(model, foreign, layer)
        plans = [(f"{name}-{called}", self.density.of(called), averaging(self.optimisation, self.images))]
        if context and self.decoder.decoder_epochs:
            with torch.device("meta"):
                UpConvolution(self.images.image_shape, context, filters=self.decoder.decoder_filters)
            plans.append((f"{name}-{called}-mse", self._decoder_options(), self._of_decoders()))
        for run, options, optimisation in plans:
            told = self._identity(own, options, optimisation)
            Run(self.where.runs / slug(run)).check(VERB, told, self._older())

    def invert(self, name: str, called: str, model: str, foreign: Foreign, layer: Representation | None) -> Run:
        """Train p(x | h) as the run `name`-`called`, or resume it.

        Args:
            name: of the run, before the layer's.
            called: the layer's name, as it was asked for.
            model: whose layer it is, as on the command line.
            foreign: what that does not say itself.
            layer: h; None for no context.

        Raises:
            InputError: the run is of another layer, network or configuration.
        """
        optimisation = averaging(self.optimisation, self.images)
        torch.manual_seed(derive(optimisation.seed, "weights"))
        built, own = self._density(called, () if layer is None else layer.shape), whose(model, foreign, layer)

        def task() -> Task:
            described = density_description(built, own, self.density.density)
            return DensityTraining(built, layer, described, self.held_out, optimisation.seed)

        return self._train(slug(f"{name}-{called}"), task, optimisation, own, self.density.of(called))

    def reconstruct(self, name: str, called: str, model: str, foreign: Foreign, layer: Representation) -> Run:
        """Train f(h) as the run `name`-`called`-mse, or resume it; see `invert`."""
        optimisation = self._of_decoders()
        torch.manual_seed(derive(optimisation.seed, "decoder"))
        filters = self.decoder.decoder_filters
        with within_memory():
            built = UpConvolution(self.images.image_shape, layer.shape, filters=filters)
        own = whose(model, foreign, layer)
        description = decoder_description(built, filters, own)

        def task() -> Task:
            return ReconstructionTraining(built, layer, description, self.held_out, optimisation.seed)

        return self._train(slug(f"{name}-{called}-mse"), task, optimisation, own, self._decoder_options())

    @within_memory()
    def _density(self, called: str, context: tuple[int, ...]) -> PixelCNN | OwnDensity:
        shape, options = self.images.image_shape, self.density.of(called)
        if self.density.density == "pixelcnn":
            return PixelCNN(shape, context, **options)
        return OwnDensity(made(self.density.density, shape, context)[0], shape, context)

    def _decoder_options(self) -> dict[str, int]:
        return {"decoder_filters": self.decoder.decoder_filters}

    def _of_decoders(self) -> Optimisation:
        return replace(self.optimisation, epochs=self.decoder.decoder_epochs, ema=None)

    def _identity(self, own: dict, options: Mapping[str, Any], optimisation: Optimisation) -> dict[str, Any]:
        return trained_on_layer(own, self.images, self.held_out) | dict(options) | identity(optimisation)

    def _older(self) -> dict[str, Any]:
        """What runs did before there were some of the flags."""
        return older_values(self.density) | older_values(self.decoder) | older_values(self.optimisation)

    def _train(self, name: str, build, optimisation: Optimisation, own: dict, options: Mapping[str, Any]) -> Run:
        run = Run(self.where.runs / name)
        train(
            verb=VERB,
            run=run,
            identity=self._identity(own, options, optimisation),
            older=self._older(),
            accelerator=self.accelerator,
            images=self.images,
            build=build,
            score=lambda task: {},
            optimisation=optimisation,
            where=self.where,
        )
        return run


def averaging(optimisation: Optimisation, images: ImageSet) -> Optimisation:
    """With a shorter average where the training is short: what was drawn at the start must be forgotten at its end."""
    if optimisation.ema is None:
        return optimisation
    most = max(0.5, 1 - 20 / steps_of(optimisation, images))
    return replace(optimisation, ema=min(optimisation.ema, most))
