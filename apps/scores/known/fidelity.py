"""IS, FID, KID, precision and recall of generated images: `penult evaluate --protocol`."""

from apps.command.console import counted
from apps.fidelity.settings import FidelityScoring
from apps.scores.kind import Entry, Evaluation, count


class Fidelity(Evaluation):
    """How close generated images are to real ones."""

    flags = FidelityScoring

    def asked(self, config: FidelityScoring) -> str:
        """By --protocol."""
        return "" if config.protocol is None else f"--protocol {config.protocol}"

    def evaluate(self, config: FidelityScoring) -> None:
        """Draw, compare, print and keep."""
        from apps.fidelity.evaluation import evaluate

        evaluate(config)

    def made(self, entry: Entry) -> bool:
        """By its protocol."""
        return "protocol" in entry

    def follows(self, entry: Entry, config: FidelityScoring) -> bool:
        """By protocol, real images, extractor and seed."""
        made = tuple(entry.get(name) for name in ("protocol", "data", "split", "extractor_model", "seed"))
        against, extractor = config.against or config.data, config.extractor or "inception"
        return made == (config.protocol, against, config.split, extractor, config.seed)

    def said(self, entry: Entry, data: str) -> str:
        """How many images, against which, and by which network."""
        return (
            f"{counted(count(entry.get('fakes')), 'generated image')} against {count(entry.get('reals')):,} of "
            f"{entry.get('data')} ({entry.get('split')}) by {entry['protocol']}, extractor {entry.get('extractor')}, "
            f"seed {entry.get('seed')}"
        )

    def note(self, entry: Entry, convention: str) -> str:
        """What means are over."""
        return f"means over {entry.get('chunks')} pairs of chunks; KID over subsets of {entry.get('kid_subset')}"

    def standing(self, entry: Entry) -> tuple[int, int, bool]:
        """One by Inception goes before one by another extractor, whose scores are named after it."""
        return 0, 0, "FID" in entry["scores"]


KIND = Fidelity()
