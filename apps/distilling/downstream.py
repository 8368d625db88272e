"""Distillation that a concentration of a teacher's prior can be chosen for."""

from functools import partial

from apps.distilling.program import distil
from apps.distilling.settings import Config, configuration
from apps.models.downstream_task import DownstreamTask

_TERMS = "ce+ckd"


def _lacks(settings: Config) -> str | None:
    if settings.seeds != 1:
        return "seeds: a value is one training; leave it out"
    if not settings.data.validation:
        return "validation=N is missing: the values are compared on images held out"
    return None


TASKS = {
    "ckd": DownstreamTask(
        verb="distill",
        settings=Config,
        train=partial(distil, guide=False),
        own=lambda request: {"prior": request.model},
        metric="accuracy",
        title="accuracy on held-out images",
        lacks=_lacks,
        begins=(_TERMS,),
        parsed=partial(configuration, (_TERMS,)),
    )
}
