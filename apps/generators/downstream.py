"""Generators that a concentration of a classifier's prior can be chosen for."""

from functools import partial

from apps.generators.hvae_settings import HVAESettings
from apps.generators.sngan_settings import SNGANSettings
from apps.generators.train_hvae import train_hvae
from apps.generators.train_sngan import train_sngan
from apps.models.downstream_task import DownstreamTask, Request


def _hvae_l(request: Request) -> dict[str, str]:
    """Latents on the sphere of the classifier's own directions."""
    return {
        "variant": "hvae-l",
        "classifier": request.model,
        "convention": "sphere",
        "latent-dim": str(request.dim - 1),
    }


def _sngan(request: Request) -> dict[str, str]:
    return {"latent": "vmf", "classifier": request.model}


def _hvae_l_lacks(settings: HVAESettings) -> str | None:
    if settings.data.validation == 0:
        return "validation=0: the values are compared on held-out images; hold some out"
    return None


def _sngan_lacks(settings: SNGANSettings) -> str | None:
    if settings.extractor is None:
        return "extractor=MODEL is missing: the values are compared by a classifier's FID, or by inception's"
    return None


TASKS = {
    "hvae-l": DownstreamTask(
        verb="train hvae",
        settings=HVAESettings,
        train=partial(train_hvae, guide=False),
        own=_hvae_l,
        metric="elbo",
        title="validation ELBO (nats)",
        lacks=_hvae_l_lacks,
    ),
    "sngan": DownstreamTask(
        verb="train sngan",
        settings=SNGANSettings,
        train=partial(train_sngan, guide=False),
        own=_sngan,
        metric="FID",
        title="FID during training",
        lacks=_sngan_lacks,
        larger=False,
    ),
}
