"""How networks are trained and what is measured of them: what the paper leaves open is ours, and says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

ALEXNET, VGG_16, VGG_19 = "torchvision:alexnet", "torchvision:vgg16", "torchvision:vgg19"
RESNET_18, RESNET_34 = "torchvision:resnet18", "torchvision:resnet34"
"""For birds of 224 pixels a side, as they are published for ImageNet."""
_BLOCKS = {str(number): f"relu{number}" for number in range(1, 6)}
_GROUPS = {str(number): f"relu{number}" for number in range(1, 4)}
_VECTORS = {"penultimate": "penultimate", "logits": "logits"}
_CONNECTED = {"fc6": "classifier.{}", "fc7": "penultimate", "fc8": "logits"}


def _published(convolutions: Sequence[int], connected: int) -> dict[str, str]:
    """Layers of torchvision's networks: ReLUs behind the convolutions that the paper draws, and linear layers."""
    maps = {f"conv{number}": f"features.{place}" for number, place in enumerate(convolutions, start=1)}
    return maps | {name: place.format(connected) for name, place in _CONNECTED.items()}


MAPS: Mapping[str, Mapping[str, str]] = {
    "alexnet-small": _BLOCKS,
    **dict.fromkeys(("vgg-8", "vgg-16", "vgg-19"), _BLOCKS),
    **dict.fromkeys(("resnet-20", "resnet-32", "resnet-44"), _GROUPS),
}
"""By network of the zoo and column, the layers whose features are maps: behind the last ReLU of each block of a VGG, of
each group of a ResNet, and of each convolution of an AlexNet, as appendices C and D draw them. Features go through a
ReLU in the authors' code; the paper says "feature" alone."""
VECTORS = _VECTORS
"""Those behind them, of all networks of the zoo."""
PUBLISHED: Mapping[str, Mapping[str, str]] = {
    ALEXNET: _published((1, 4, 7, 9, 11), 2),
    VGG_16: _published((3, 8, 15, 22, 29), 1),
    VGG_19: _published((3, 8, 17, 26, 35), 1),
}
"""By network of torchvision and column, the layers of appendix C (conv1 to conv5 of a VGG are the last ones of its
blocks, conv1_2 to conv5_3 or conv5_4), and the three linear ones, of which figure 4 has the last."""


@dataclass(frozen=True)
class Schooling:
    """How networks are trained. Of this the paper has no word: length, rate, batch, optimiser or augmentation.

    Images are augmented as is usual for the data set, which is the default.
    """

    epochs: float | int = 163.84
    """64,000 updates of 128 images of CIFAR-10: those of He et al. (2016), whose ResNets the paper takes."""
    batch: int = 128
    """Images of each: likewise."""
    rate: float = 0.1
    """Peak learning rate: likewise."""
    plain_rate: float = 0.01
    """The same of networks without batch norm, as of Krizhevsky et al. (2012) and of Simonyan and Zisserman (2015):
    they do not learn at the higher one."""
    decay: float = 1e-4
    """Weight decay: of He et al."""
    schedule: str = "--schedule step --milestones 0.5 0.75 --decay 0.1"
    """How the rate falls: after 32,000 and 48,000 updates, of He et al."""

    def flags(self, network: str) -> str:
        """Those of the command."""
        return self._flags(self.epochs, self._rate(network), self.schedule)

    def again(self, network: str, epochs: float, slower: float) -> str:
        """Those of a training that goes on from a trained network, at a part of the rate, along a cosine."""
        return self._flags(epochs, slower * self._rate(network), "--schedule cosine")

    def _rate(self, network: str) -> float:
        plain = network.startswith(("alexnet", ALEXNET, "torchvision:vgg"))
        return self.plain_rate if plain else self.rate

    def _flags(self, epochs: float | int, rate: float, schedule: str) -> str:
        return (
            f"--epochs {epochs:g} --batch-size {self.batch} --optimizer momentum --lr {rate:g} "
            f"--weight-decay {self.decay:g} {schedule}"
        )


@dataclass(frozen=True)
class Measuring:
    """What is measured of trained networks, and how."""

    images: int = 200
    """Test images, the first ones: the paper averages "over all images", and says neither which nor how many. Errors
    over images stand beside."""
    alpha: float = 1.5e-4
    """How far features may move, in parts of delta_f^2 (section 4)."""
    unit: str = "pixel"
    """Of alpha and entropies: not said. Pixel values from 0 to 1 compare networks that normalise otherwise."""
    delta: str = "dataset"
    """delta_f^2: its mean over the images, "by averaging over all images" (section 3.1)."""
    tau: float | None = None
    """Deviation of the noise that delta_f^2 is measured by; None: the limit, by slopes, as section 3.1 has it. The
    authors' code has .01."""
    grid: int = 16
    """Cells a side that share a scale of noise: of the authors' code; the paper has one a pixel."""
    shared: bool = True
    """Whether the channels of a pixel share a scale: likewise."""
    cap: float = 1.0
    """The largest scale: the paper has none, and where features hang on nothing entropies would have no bounds."""
    method: str = "solve"
    """solve meets the constraint E||f' - f||^2 = alpha delta_f^2; linear takes features to be linear."""
    centre: str = "image"
    """What errors of reconstructions are taken from (equation 8: mu_rec = x)."""
    variant: str = "paper"
    """Equation 8's logarithm of the mean squared error; the authors' code has the mean of its logarithm."""
    decoder_epochs: float = 5.0
    """Of each decoder: of the authors' code."""
    decoder_rate: float = 0.01
    """Peak rate of Adam: likewise. It falls along a cosine, so that batch norm's statistics come to rest."""
    decoder_width: int = 64
    """Channels of its blocks: likewise."""
    decoder_images: int | None = None
    """That decoders are trained on; None: all."""

    def flags(self, metrics: str) -> str:
        """Those of the command.

        Args:
            metrics: of sid, ru and concentration, joined by commas.
        """
        told = (
            f"--metrics {metrics} --images {self.images} --alpha {self.alpha:g} --unit {self.unit} "
            f"--delta {self.delta} --grid {self.grid} --{'' if self.shared else 'no-'}shared --cap {self.cap:g} "
            f"--method {self.method}{'' if self.tau is None else f' --tau {self.tau:g}'}"
        )
        if "ru" not in metrics:
            return told
        few = "" if self.decoder_images is None else f" --decoder-images {self.decoder_images}"
        return (
            f"{told} --centre {self.centre} --variant {self.variant} --decoder-width {self.decoder_width} "
            f"--epochs {self.decoder_epochs:g} --optimizer adam --lr {self.decoder_rate:g} --schedule cosine{few}"
        )


@dataclass(frozen=True)
class Protocol:
    """All studies on one data set, at one size. A network that several of them have is trained once."""

    data: str
    """Data set."""
    prefix: str
    """Of the runs' names."""
    schooling: Schooling = field(default_factory=Schooling)
    """Of all networks."""
    measuring: Measuring = field(default_factory=Measuring)
    """Of all layers."""
    size: str = ""
    """What brings pictures to one size, as flags."""
    epochs: tuple[str, ...] = ()
    """After which `FOLLOWED` is looked at, from 0 to the end of its training (figure 5b)."""

    def step(self, epoch: str) -> int | None:
        """The update after which an epoch of `FOLLOWED` ends; None: where its training does."""
        reached = float(epoch) >= self.schooling.epochs
        return None if reached else round(float(epoch) * TRAINING_IMAGES / self.schooling.batch)

    def name(self, *parts: str) -> str:
        """The name of a run, or of a folder of scores."""
        return "-".join((self.prefix, *(part.removeprefix("torchvision:") for part in parts)))

    def network(self, arch: str, seed: int) -> str:
        """The name of a network's run."""
        return self.name(arch, f"seed{seed}")

    def training(self, arch: str, seed: int, more: str = "", name: str = "") -> str:
        """The training of a network.

        Args:
            arch: its architecture.
            seed: of the training.
            more: flags.
            name: of the run, where that is not `network`.
        """
        kept = [step for step in map(self.step, self.epochs if arch == FOLLOWED else ()) if step is not None]
        snapshots = f" --snapshots {' '.join(map(str, kept))}" if kept else ""
        return (
            f"train classifier --data {self.data}{self.size} --arch {arch} {self.schooling.flags(arch)}{more}"
            f"{snapshots} --seed {seed} --name {name or self.network(arch, seed)}"
        )

    def measure(
        self, models: Sequence[str], layers: Sequence[str], metrics: str, seed: int, name: str, more: str = ""
    ) -> str:
        """The command that measures layers, of several networks on the same images where there are several.

        Args:
            models: the networks' runs.
            layers: that are measured of each.
            metrics: likewise.
            seed: of the noise.
            name: of the folder of scores.
            more: flags.
        """
        first, *others = (f"{{runs}}/{model}" for model in models)
        against = f" --against {' '.join(others)}" if others else ""
        return (
            f"analyse discard {first}{against} --taps {','.join(layers)} {self.measuring.flags(metrics)}{more} "
            f"--seed {seed} --name {name}"
        )


FOLLOWED, TRAINING_IMAGES = "resnet-32", 50_000
"""The network that is followed through its training, and the images of CIFAR-10 that it has."""
ERROR = " error"
"""What a score's standard error over images is called by, after the score's own name."""
CIFAR10 = Protocol("cifar10", "discarding-cifar10", epochs=("0", "1", "5", "10", "20", "40", "80", "120", "164"))
"""The paper's size. Epochs of figure 5b, whose axis is not in the text: more at first, where networks change most, and
those before the rate falls."""
BIRDS = Protocol(
    "cub-200-2011",
    "discarding-birds",
    Schooling(batch=64, epochs=200, rate=0.01, decay=5e-4),
    size=" --image-size 224",
)
"""Likewise of CUB-200-2011. Networks start from fresh weights: the paper does not say that they were trained before.
Rates are of a tenth, batches of half the size, as there are 5,994 images; weight decay of Simonyan and Zisserman."""
BIRDS_OR_NOT = replace(
    BIRDS, data="birds-against-random", prefix="discarding-birds-or-not", schooling=replace(BIRDS.schooling, epochs=100)
)
"""The same of birds against random images: as many updates, of twice as many images."""
SHORT = Protocol(
    "cifar10",
    "discarding-short",
    Schooling(epochs=5, decay=5e-4, schedule="--schedule cosine"),
    Measuring(images=64, decoder_epochs=2.0, decoder_images=5000),
    epochs=("0", "0.25", "0.5", "1", "2", "5"),
)
"""For two cores of a CPU."""
FEW = replace(SHORT, measuring=replace(SHORT.measuring, images=24))
"""Likewise of several networks side by side: where they differ is seen in pairs, by fewer images."""
