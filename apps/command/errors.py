"""How a program ends before its work is done, other than by bad input: the command line says it in one line, no trace.

They stand here, below what raises them: the command line turns them into exit statuses, and knows no training.
"""


class Interrupted(RuntimeError):
    """A program was asked to stop; its state is saved, and the same command goes on."""


class Diverged(RuntimeError):
    """A loss or the weights were not finite; the message names the step and the last good state."""


class Planned(RuntimeError):
    """What a training would take is printed, and that is all that was asked for."""
