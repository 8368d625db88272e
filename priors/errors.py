"""The one kind of error that is the caller's to mend: bad input, said in one clear line."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike


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
    near = get_close_matches(str(given), names, n=1, cutoff=0.6)
    given = repr(given) if isinstance(given, str) else shown(given)
    guess = f": did you mean {near[0]!r}?" if near else ""
    listing = ", ".join(names) if len(names) <= 24 else ", ".join(names[:24]) + f", ... {len(names)} in all"
    listing = f" (known: {listing})" if names else " (none exist)"
    return InputError(f"unknown {kind} {given}{guess}{listing}{'; ' + hint if hint else ''}")


def shown(value: object) -> str:
    """Any value in the words of a message: texts and numbers as they are typed, of the rest what it is.

    Objects without a text of their own would print their address, and tensors their numbers.

    Example:
        >>> import io
        >>> print(shown("mnist"), shown(io.BytesIO()), shown(print), shown([5, "a"]))
        'mnist' a BytesIO the function print [5, 'a']
    """
    if isinstance(value, str | bytes | int | float | complex) or value is None:
        return repr(value)
    if isinstance(value, PathLike):
        return repr(str(value))
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{_a({'ndarray': 'array'}.get(kind, kind.lower()))} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple) and len(value) <= 8:
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}".replace("<lambda>", "lambda")
    text = repr(value)
    return _a(kind) if len(text) > 60 or "\n" in text or text.startswith("<") or " at 0x" in text else text


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def reason(error: BaseException) -> str:
    """Why something failed, in the first line of an error that is not penult's own; no object by its address.

    Example:
        >>> reason(KeyError("layers")), reason(OSError("cannot read <_io.BytesIO object at 0x7f0c>"))
        ("there is no 'layers' in it", 'cannot read it')
    """
    if isinstance(error, KeyError):
        return f"there is no {shown(error.args[0]) if error.args else 'such name'} in it"
    line = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+[^<>]*>", "it", str(error).strip().partition("\n")[0])
    return line or type(error).__name__
