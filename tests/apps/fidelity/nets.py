"""A small classifier, a small generator and small images, all random."""

import torch
from torch import nn

from apps.data.image_set import ImageSet
from apps.fidelity.extractor import Extractor, classifier_extractor
from apps.models.generator import Generator
from priors import zoo
from priors.files.json_files import write_json

SHAPE = (1, 6, 6)


def images(count=120, seed=0, name="noise", shape=SHAPE, darker=1.0):
    """Noise that is brighter the further down, in 4 classes."""
    stream = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, *shape, generator=stream) * torch.linspace(0.3, 1, shape[1])[:, None] * darker
    return ImageSet(name, "train", (pixels * 255).byte(), torch.arange(count) % 4, tuple("abcd"))


def extractor(folder, seed=0) -> Extractor:
    """An untrained classifier with 5 penultimate units, as a finished run."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = zoo.build("mlp", image_shape=SHAPE, classes=tuple("abcd"), hidden=(16,), penultimate=5)
        with torch.no_grad():  # so that features and logits differ well between images
            for weight in network.parameters():
                weight.mul_(4)
    zoo.save(network, folder)
    write_json(folder / "config.json", {"verb": "train classifier", "config": {"arch": "mlp", "data": "noise"}})
    write_json(folder / "result.json", {})
    return classifier_extractor(str(folder))


class Dim(Generator):
    """Noise times a brightness a class; a little of it outside [0, 1]."""

    variant, title = "dim", "Dim"

    def __init__(self, classes=3, conditional=True):
        super().__init__()
        self.image_shape, self.class_names, self.conditional = SHAPE, tuple("abcdefghij"[:classes]), conditional
        self.brightness = nn.Parameter(torch.linspace(0.4, 1.3, classes))

    def description(self):
        return {"model": "dim"}

    def generate(self, labels, generator=None, concentration=None):
        noise = torch.rand(len(labels), *SHAPE, generator=generator)
        return noise * self.brightness[labels][:, None, None, None] - 0.01
