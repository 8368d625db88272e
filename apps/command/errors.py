"""How a program ends before its work is done, other than by bad input: the command line says it in one line, no trace.

They stand here, below what raises them: the command line turns them into exit statuses, and knows no training.
"""


class Interrupted(RuntimeError):
    """A program was asked to stop; its state is saved, and the same command goes on."""


class Diverged(RuntimeError):
    """A loss or the weights were not finite; the message names the step and the last good state."""


class Unmet(RuntimeError):
    """What a program is to make sure of does not hold; what it found is printed and kept, the message says what."""


class Planned(RuntimeError):
    """What a training would take is printed, and that is all that was asked for."""
