"""The one kind of error that is the caller's to mend: bad input, said in one clear line."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used: says what was given, what was expected and what to do.

    The command line prints it as one line and exits with status 2. Everything else that is raised is a bug and keeps
    its trace.
    """


def unknown(kind: str, given: object, known: Iterable[object], hint: str = "") -> InputError:
    """The error for a name that does not exist, with the nearest one that does.

    Example:
        >>> print(unknown("data set", "mnits", ["digits", "mnist"]))
        unknown data set 'mnits': did you mean 'mnist'? (known: digits, mnist)
    """
    names = [str(name) for name in known]
    near = get_close_matches(str(given), names, n=1, cutoff=0.5)
    guess = f": did you mean {near[0]!r}?" if near else ""
    listing = ", ".join(names) if len(names) <= 24 else ", ".join(names[:24]) + f", ... {len(names)} in all"
    listing = f" (known: {listing})" if names else " (none exist)"
    return InputError(f"unknown {kind} {str(given)!r}{guess}{listing}{'; ' + hint if hint else ''}")
