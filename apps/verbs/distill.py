"""Distil a teacher, or a teacher's prior, into a student: terms such as ce+ckd or ce+hinton+attention.

penult ls terms says what there is; with terms, --help lists their options as well. A term that needs a prior (ckd)
reads it off --prior, a file of penult prior or a MODEL, or else off the teacher, which it never runs.

The defaults are the protocol of Tian, Krishnan and Isola (2020) on CIFAR-100: 240 epochs of SGD at .05, divided by 10
after 150, 180 and 210 of them, batches of 64, weight decay 5e-4. The same command again resumes it.
"""

from apps.distilling.settings import Config, configuration
from apps.models.like import like

__all__ = ["Config", "configuration", "like", "main"]


def main(config: Config) -> None:
    """Distil, or resume, or say that it is done and what to type next; of several seeds their spread."""
    from apps.distilling.program import distil

    distil(config)
