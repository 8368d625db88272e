"""Command lines as tests write them."""

from collections.abc import Iterable


def last_of_each(words: Iterable[str]) -> list[str]:
    """A command line in which a test adds an option to usual words that have it: the last one is meant."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    kept = [
        part for number, part in enumerate(parts) if not any(part[:1] == other[:1] for other in parts[number + 1 :])
    ]
    return [word for part in kept for word in part]
