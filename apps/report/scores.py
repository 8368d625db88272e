"""How a run was scored, and what its training came to."""

from typing import Any

from apps.report.cells import flat
from apps.report.contents import Contents

FACTS = ("steps", "epochs", "seconds", "stopped early", "best step")
"""Parts of a result that are said in words, and are no scores."""


def headline(run: Contents) -> dict[str, Any] | None:
    """The evaluation that stands for a run: on its own data, of the most images with the most samples.

    Of those of generated images, one by Inception goes before one by another extractor.
    """
    rank = [
        (
            entry.get("data") == run.config.get("data"),
            _count(entry.get("images")),
            _count(entry.get("samples")),
            "FID" in entry["scores"],
        )
        for entry in run.evaluations
    ]
    return run.evaluations[rank.index(max(rank))] if rank else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def protocol(run: Contents, entry: dict[str, Any]) -> str:
    """What an evaluation was made by, in words."""
    if entry.get("protocol"):
        return (
            f"{_count(entry.get('fakes')):,} generated images against {_count(entry.get('reals')):,} of "
            f"{entry.get('data')} ({entry.get('split')}) by {entry['protocol']}, extractor {entry.get('extractor')}, "
            f"seed {entry.get('seed')}"
        )
    if entry.get("classifier"):
        return (
            f"{_count(entry.get('drawn')):,} generated images, {_count(entry.get('reals')):,} test images of "
            f"{entry.get('data')}, classifier {entry['classifier']}, seed {entry.get('seed')}"
        )
    images = entry.get("images")
    count = f"{images:,}" if isinstance(images, int) else "the"
    first = "first " if entry.get("first") else ""
    parts = [f"{first}{count} test images of {entry.get('data', run.config.get('data'))}"]
    if entry.get("samples"):
        parts.append(f"K = {entry['samples']} importance samples, seed {entry.get('seed')}")
    return ", ".join(parts)


def outcome(run: Contents) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a training found of the weights it kept, and of the last ones, by the images it was found on."""
    result = {name: value for name, value in run.result.items() if name not in FACTS}
    found = (result.pop(part, None) for part in ("best", "last"))
    best, last = (_on_images(part) if isinstance(part, dict) else {} for part in found)
    return (best or last) | flat(result), last


def _on_images(metrics: dict[str, Any]) -> dict[str, Any]:
    """Validated metrics by the images they are of, with the names that evaluations have."""
    names = {"elbo": "ELBO with log p(i)" if "log p(i)" in metrics else "ELBO", "divergence": "KL"}
    named = {names.get(name, name): value for name, value in metrics.items()}
    return {name if name.startswith("test ") else f"validation {name}": value for name, value in named.items()}


def plain_scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores without those by class, which stand with the classes."""
    return {name: value for name, value in scores.items() if not isinstance(value, dict) or "value" in value}
