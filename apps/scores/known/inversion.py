"""What a network's layers keep of images: scores that `penult analyse invert` leaves in its folder."""

from apps.scores.kind import Command, Kind


class Inversion(Kind):
    """Cross-entropies of images given layers, in nats, and distances between representations."""

    verbs = ("analyse invert",)

    def found(self, command: Command) -> dict[str, float] | None:
        """By layer; None where a product of the command is missing."""
        from apps.inverting.kept_scores import scored

        return scored(command.config)


KIND = Inversion()
