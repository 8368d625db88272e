"""The trainings of decoders, a run for each layer, and what a finished one holds."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from analysis.discarding.decoder import TwoTrackDecoder
from apps.command.config import identity, older_values
from apps.data.image_set import ImageSet
from apps.discarding.networks import Looked
from apps.discarding.settings import DiscardSettings
from apps.models import named
from apps.models.layer_task import ReconstructionTraining
from apps.models.registry import description_of
from apps.models.representation import Representation
from apps.models.represented import read_representation, trained_on_layer, whose
from apps.runs.run import Run
from apps.seeds import derive, generator
from apps.training.memory import within_memory
from apps.training.task import Task
from apps.training.train import slug, train
from priors.errors import InputError
from priors.files.building import building
from priors.files.tensors import load_weights, read_tensors

VERB = "analyse discard"
DECODER = "layer-decoder"
"""Kind of model, as `model.json` has it."""


@dataclass(frozen=True)
class DecoderRuns:
    """All that the trainings of one command share.

    Attributes:
        config: what was asked for.
        images: to train on.
    """

    config: DiscardSettings
    images: ImageSet

    def check(self, looked: Looked, layer: str) -> None:
        """Build a decoder, and look for its run, before anything is trained.

        Raises:
            InputError: shapes that no decoder goes between, or a run of that name with another configuration.
        """
        with torch.device("meta"):
            self._decoder(looked.layers[layer])
        own = whose(looked.model, looked.foreign, looked.layers[layer])
        self._run(looked, layer).check(VERB, self._identity(own), self._older())

    def trained(self, looked: Looked, layer: str, accelerator: Accelerator) -> Run:
        """Train the decoder of a layer, or resume its run; a finished one is read.

        Raises:
            InputError: the run is of another layer, network or configuration.
        """
        optimisation, representation = self.config.optimisation, looked.layers[layer]
        torch.manual_seed(derive(optimisation.seed, "two-track decoder"))
        with within_memory():
            model = self._decoder(representation)
        own, run = whose(looked.model, looked.foreign, representation), self._run(looked, layer)
        description = {
            "model": DECODER,
            "image_shape": list(model.image_shape),
            "context": list(model.feature_shape),
            "width": self.config.decoding.decoder_width,
        } | own

        def task() -> Task:
            return ReconstructionTraining(model, representation, description, None, optimisation.seed)

        train(
            verb=VERB,
            run=run,
            identity=self._identity(own),
            older=self._older(),
            accelerator=accelerator,
            images=self.images,
            build=task,
            score=lambda task: {},
            optimisation=optimisation,
            where=self.config.where(run.folder.name),
        )
        return run

    def _decoder(self, representation: Representation) -> TwoTrackDecoder:
        width = self.config.decoding.decoder_width
        return TwoTrackDecoder(self.images.image_shape, representation.shape, width=width)

    def _run(self, looked: Looked, layer: str) -> Run:
        return Run(self.config.place.runs / slug(f"{looked.runs}-{layer}"))

    def _identity(self, own: dict[str, Any]) -> dict[str, Any]:
        asked = {"decoder_width": self.config.decoding.decoder_width}
        return trained_on_layer(own, self.images, None) | asked | identity(self.config.optimisation)

    def _older(self) -> dict[str, Any]:
        """What runs did before there were some of the flags."""
        return older_values(self.config.decoding) | older_values(self.config.optimisation)


def decoders_images(config: DiscardSettings, whole: ImageSet) -> ImageSet:
    """The training images that decoders see.

    Raises:
        InputError: more were asked for than there are.
    """
    count = config.decoding.decoder_images
    if count is None:
        return whole
    if count > len(whole):
        raise InputError(f"--decoder-images {count}: {whole.name} has {len(whole):,} training images")
    order = torch.randperm(len(whole), generator=generator("cpu", config.optimisation.seed, "decoder images"))
    return whole.subset(order[:count].sort().values, f"{whole.split}-{count}")


@dataclass(frozen=True)
class Decoded:
    """What a finished run holds.

    Attributes:
        model: the decoder, on the CPU, in evaluation mode.
        representation: the layer that it was trained on.
    """

    model: TwoTrackDecoder
    representation: Representation


def decoded_run(run: Run) -> Decoded:
    """The decoder of a finished run, and the layer that it was trained on.

    Raises:
        InputError: no such run, of another kind, damaged, or of a network that is not there any more.
    """
    description = description_of(run)
    if description.get("model") != DECODER:
        raise InputError(f"{run.folder} holds no decoder of a layer: give a run of penult {VERB}")
    model = trained_decoder(run)
    representation = read_representation(run, description, model.image_shape, model.feature_shape)
    return Decoded(model, representation)


def trained_decoder(run: Run) -> TwoTrackDecoder:
    """The decoder of a finished run, on the CPU, in evaluation mode.

    Raises:
        InputError: the run is damaged.
    """
    named.open_run(run.folder)
    description = description_of(run)
    path = run.folder / "model.safetensors"
    weights, _ = read_tensors(path, "weights of a decoder")
    with building(run.folder / "model.json", "decoder", description, weights):
        shapes = tuple(description["image_shape"]), tuple(description["context"])
        model = TwoTrackDecoder(*shapes, width=description["width"])
    load_weights(model, weights, path)
    return model.eval()
