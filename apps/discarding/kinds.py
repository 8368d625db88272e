"""What penult analyse discard trains, and how it is read again; see `apps.models.registry`."""

from apps.discarding.decoders import DECODER, VERB, decoded_run
from apps.models.registry import Kind

KINDS = (Kind(DECODER, "a decoder of a network's layer", VERB, decoded_run, scored_by=f"penult {VERB}"),)
