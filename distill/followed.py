"""A student or a teacher, and which of its activations are kept when it runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from distill.biased_layers import NORMS, BiasedLayer, biased_layers
from distill.convolutions import Convolutions
from distill.processes import own_buffers
from distill.term import Needs
from distill.trace import NoFeatureMaps, Shapes, Trace, shapes, trace
from priors.errors import InputError
from priors.reading.heads import find_head
from priors.reading.taps import Taps, tap
from priors.zoo.network import Classifier


@dataclass(frozen=True)
class Followed:
    """A network and what is kept of its forward pass.

    Attributes:
        network: student or teacher.
        image_shape: (channels, height, width) of its images.
        stages: names of the taps that give its feature maps.
        penultimate: name of the tap that gives its head's input; None: not kept.
        shapes: of all that.
        layers: names of further taps.
        biased: layers that are kept with their effective biases, by what terms call them.
        open: the taps that `tapped` keeps open.
    """

    network: nn.Module
    image_shape: tuple[int, int, int]
    stages: tuple[str, ...]
    penultimate: str | None
    shapes: Shapes
    layers: tuple[str, ...] = ()
    biased: Mapping[str, BiasedLayer] = field(default_factory=dict)
    open: list[Taps | None] = field(default_factory=list, compare=False, repr=False)

    def run(
        self,
        prepared: nn.Module,
        images: Float[Tensor, "batch channels height width"],
        derivatives: bool = False,
        convolutions: Convolutions | None = None,
    ) -> Trace:
        """A trace by the network as it is prepared for training, on the graph of the images for `derivatives`."""
        taps = self.open[-1] if self.open else None
        kept = (self.stages, self.penultimate, self.layers)
        return trace(prepared, images, *kept, derivatives, taps, self.biased, convolutions=convolutions)

    def run_by_running_statistics(
        self,
        prepared: nn.Module,
        images: Float[Tensor, "batch channels height width"],
        convolutions: Convolutions | None = None,
    ) -> Trace:
        """A further trace for derivatives, by the running statistics of batch norms, which stay as they are.

        All else is as in training: dropout, where there is any, drops units.
        """
        with running_statistics(self.network), own_buffers(prepared):
            kept = {"layers": self.layers, "biased": self.biased}
            return trace(prepared, images, **kept, derivatives=True, convolutions=convolutions)

    @property
    def couples(self) -> bool:
        """Whether images hang on each other in a pass, by the statistics of a batch."""
        norms = (module for module in self.network.modules() if isinstance(module, NORMS))
        return any(norm.training or norm.running_mean is None for norm in norms)

    @contextmanager
    def tapped(self) -> Iterator[None]:
        """Keep taps open over many runs: modules that are compiled in place after this stay compiled in them."""
        names = (*self.stages, *(() if self.penultimate is None else (self.penultimate,)), *self.layers)
        with tap(self.network, names, compiled=True) if names else nullcontext() as taps:
            self.open.append(taps)
            try:
                yield
            finally:
                self.open.pop()

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits.

        Raises:
            InputError: it is not plain which one that is.
        """
        name = self.network.head_name if isinstance(self.network, Classifier) else None
        return find_head(self.network, name, self.image_shape)[1]


def followed(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    needs: Needs,
    who: Literal["student", "teacher"],
    taps: Sequence[str] = (),
    penultimate: str | None = None,
    comparing: Sequence[str] = (),
) -> Followed:
    """What of a network's forward pass the terms need, and its shapes, by one dry pass.

    Args:
        network: gives logits.
        image_shape: (channels, height, width) of what it is given.
        needs: of all terms.
        who: which of both it is.
        taps: names of the stages; empty: the network's own, which those of the zoo have.
        penultimate: name of the tap that gives the head's input; None: the input of its final linear layer.
        comparing: names of the terms that compare feature maps, for what is said where there are none.

    Raises:
        InputError: a tap that does not exist (the nearest is offered) or gives no feature maps, no stages at all, no
            plain final layer, or a network that cannot take such images.
    """
    stages = tuple(taps or getattr(network, "stages", ())) if needs.stages else ()
    terms = " and ".join(comparing) or "terms"
    if needs.stages and not stages:
        raise InputError(
            f"the {who} has no stages of its own to compare for {terms}: name modules that give feature maps by "
            f"{who}_taps (--{who}-taps)"
        )
    layers = needs.student_layers if who == "student" else needs.teacher_layers
    wanted = needs.student_biases if who == "student" else needs.teacher_biases
    try:
        if who == "student" and needs.running:
            _require_running_statistics(network)
        biased = biased_layers(network, wanted, image_shape)
        head = (penultimate or _input_of_head(network, image_shape)) if needs.penultimate else None
        found = shapes(network, image_shape, stages, head, layers, biased)
    except NoFeatureMaps as error:
        raise InputError(
            f"the {who}: {error}, which {terms} {'compares' if len(comparing) == 1 else 'compare'}: name other modules "
            f"by {who}_taps (--{who}-taps), take another {who}, or leave {'it' if len(comparing) == 1 else 'them'} out"
        ) from None
    except InputError as error:
        raise InputError(f"the {who}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:  # a module of the user's own
        shown, said = "x".join(map(str, image_shape)), str(error).partition("\n")[0]
        raise InputError(f"the {who} cannot take images of {shown} (channels x height x width): {said}") from None
    return Followed(network, image_shape, stages, head, found, layers, biased)


def _input_of_head(network: nn.Module, image_shape: tuple[int, int, int]) -> str:
    if isinstance(network, Classifier):
        return network.penultimate_tap
    return f"{find_head(network, image_shape=image_shape)[0]}:input"


def _require_running_statistics(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, NORMS) and module.running_mean is None:
            raise InputError(
                f"its batch norm {name!r} keeps no running statistics, by which its derivatives are taken: take those "
                "of each batch, by norms batch (--jacobian.norms batch, likewise of other terms)"
            )


@contextmanager
def running_statistics(network: nn.Module):
    """Batch norm by its running statistics, which stay as they are, while the context is open."""
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    kept = [(module, module.training) for module in norms]
    try:
        for module in norms:
            module.training = False
        yield
    finally:
        for module, training in kept:
            module.training = training


@contextmanager
def batch_statistics(network: nn.Module):
    """Batch norm by the batch's own statistics while the context is open; the running ones stay as they are."""
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    kept = [(module, module.training, module.track_running_stats) for module in norms]
    try:
        for module in norms:
            module.training, module.track_running_stats = True, False
        yield
    finally:
        for module, training, tracking in kept:
            module.training, module.track_running_stats = training, tracking
