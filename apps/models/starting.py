"""A network as its training begins: with the weights that it is told to start from, and parts of it frozen."""

from collections.abc import Collection, Sequence

from torch import nn

from apps.command.console import counted, say
from apps.models.freezing import freeze
from apps.models.initial import Initial, start_from
from apps.models.tuning import Tuning
from priors.zoo.network import Classifier


def begun(network: Classifier, tuning: Tuning, called: str, speaks: bool) -> Initial | None:
    """Put the weights of --init into a network, and say which; None where there are none to put in.

    Where weights are to be frozen that nothing has trained, a line says so: that is a random body, which some want.

    Args:
        network: as it was built; changed in place.
        tuning: what was asked for.
        called: what messages call it, as in --arch mlp.
        speaks: whether lines are said.

    Raises:
        InputError: as for `apps.models.initial.start_from`.
    """
    if tuning.init is not None:
        initial = start_from(network, tuning.init, called)
        if speaks:
            say(initial.said())
        return initial
    # What a module of the user's own brings, it alone knows.
    if tuning.freeze is not None and speaks and network.architecture and "weights" not in network.provenance:
        say(
            f"--freeze {tuning.freeze} without --init: {called} has fresh weights, and what is frozen stays as it is "
            "drawn; give --init RUN, or an architecture with weights, to start from trained ones."
        )
    return None


def frozen(
    network: Classifier,
    tuning: Tuning,
    image_shape: Sequence[int],
    called: str,
    speaks: bool,
    new: Collection[str] = (),
) -> tuple[nn.Module, ...]:
    """Freeze what --freeze names, and say how much is left to train; the modules that stay in evaluation mode.

    Args:
        network: with the weights that it starts from; changed in place.
        tuning: what was asked for.
        image_shape: (channels, height, width).
        called: as for `begun`.
        speaks: likewise.
        new: as for `apps.models.freezing.freeze`.

    Raises:
        InputError: as for `apps.models.freezing.freeze`.
    """
    if tuning.freeze is None:
        return ()
    found = freeze(network, tuning.freeze, image_shape, new, called)
    if speaks:
        norms = sum(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in found.modules)
        still = f"; {counted(norms, 'batch norm')} there by running statistics" if norms else ""
        say(f"--freeze {tuning.freeze}: {found.trained:,} of {found.weights:,} weights are trained{still}.")
    return found.modules
