"""Small tasks that use every part of the training loop, and a verb that trains them: `train toy --kind ...`."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
import tyro
from spoken import last_of_each
from torch import nn

from apps.command.config import Optimisation, Where, identity
from apps.data.image_set import ImageSet
from apps.seeds import generator
from apps.training.task import Criterion, Phase, Task
from distill.processes import gather


def images(count: int = 48, split: str = "train") -> ImageSet:
    """Noise in three classes, with a bright row that tells the class."""
    stream = generator("cpu", "toy", split)
    pixels = torch.randint(0, 200, (count, 1, 4, 4), generator=stream, dtype=torch.uint8)
    labels = torch.arange(count) % 3
    pixels[torch.arange(count), 0, labels] += 55
    return ImageSet("toy", split, pixels, labels, tuple("abc"))


class Plain(Task):
    """Cross-entropy of two linear layers: nothing random but the order of the images."""

    def __init__(self, seed: int = 0):
        stream = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.networks = self.build()
        torch.random.set_rng_state(stream)
        self.frozen, self.seed, self.description = {}, seed, {"toy": type(self).__name__}

    def build(self) -> dict[str, nn.Module]:
        return {"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))}

    def losses(self, turn, batch, step):
        return {"cross-entropy": F.cross_entropy(self.networks["model"](batch.images), batch.labels)}


class Noisy(Plain):
    """Noise that the slice names, beside the images; what was drawn is kept in `drawn`."""

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.drawn = []

    def losses(self, turn, batch, step):
        stream = generator("cpu", self.seed, "noise", step, self.slice)
        noise = torch.randn(batch.images.shape, generator=stream)
        self.drawn.append((step, self.slice, noise.flatten()[:4].tolist()))
        return {"cross-entropy": F.cross_entropy(self.networks["model"](batch.images + noise), batch.labels)}


class Adversarial(Noisy):
    """Two turns, two phases, batch norm, dropout, a memory beside the networks, a criterion."""

    phases = (Phase("alone", 0.4), Phase("together", 0.6))
    criterion = Criterion("likeness", larger=True)

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.memory = torch.zeros(16)
        self.seen = []

    def build(self):
        critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LeakyReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        return {
            "model": nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 16)),
            "critic": critic,
        }

    def turns(self, step):
        return ("critic",) if self.phase.name == "alone" else ("critic", "critic", "model")

    def trained(self, turn):
        return (turn,)

    def losses(self, turn, batch, step):
        self.seen.append((step, self.phase.name, turn, batch.index.tolist()))
        noise = torch.randn(len(batch), 4, generator=generator("cpu", self.seed, "latent", turn, step, self.slice))
        made = self.networks["model"](noise)
        self.memory = 0.9 * self.memory + 0.1 * gather(batch.images).flatten(1).mean(0)  # the same on all processes
        if turn == "model":
            return {
                "fooling": F.softplus(-self.networks["critic"](made)).mean(),
                "pull": (made - self.memory).square().mean(),
            }
        judged = self.networks["critic"](torch.cat([batch.images.flatten(1), made.detach()]))
        real, fake = judged.chunk(2)
        return {"critic": F.softplus(-real).mean() + F.softplus(fake).mean()}

    def validate(self, model, sweep, step):
        def of(batch):
            noise = torch.randn(len(batch), 4, generator=generator("cpu", "validation", batch.number))
            return {"distance": (model(noise) - batch.images.flatten(1)).square().mean(1)}

        return {"likeness": -float(sweep(images(24, "validation"), of)["distance"].mean())}

    def state_dict(self):
        return {"memory": self.memory}

    def load_state_dict(self, state):
        self.memory = state["memory"]


class Diverging(Plain):
    """A loss that is infinite at step 7 (counted from 1), on the last slice only."""

    slices = 1

    def losses(self, turn, batch, step):
        losses = super().losses(turn, batch, step)
        if step == 6 and self.slice == self.slices - 1:
            losses["cross-entropy"] = losses["cross-entropy"] * torch.inf
        return losses


class Overflowing(Plain):
    """A loss that stays finite at step 5 while its gradient does not."""

    def losses(self, turn, batch, step):
        losses = super().losses(turn, batch, step)
        if step == 4:
            weight = self.networks["model"][1].weight
            losses["root"] = (weight - weight.detach()).square().sum().sqrt()
        return losses


class Critic(nn.Sequential):
    """A network that looks at its numbers before it goes on, which no compiler follows."""

    def forward(self, x):
        return super().forward(x if bool(x.isfinite().all()) else x.zeros_like())


class Branching(Adversarial):
    """With a critic that decides by numbers."""

    def build(self):
        networks = super().build()
        return networks | {"critic": Critic(*networks["critic"])}


KINDS = {kind.__name__.lower(): kind for kind in (Plain, Noisy, Adversarial, Branching, Diverging, Overflowing)}


@dataclass(frozen=True)
class Config:
    """Train a toy."""

    kind: str = "plain"
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=Optimisation)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


tasks: list[Task] = []
"""Those trained in this process, for tests to look into."""


def main(config: Config) -> None:
    """Train, resume, or say that it is done."""
    from apps.runs.run import Run
    from apps.training.session import start
    from apps.training.train import train

    accelerator = start(config.where, precision=config.optimisation.precision, work="small")

    def build() -> Task:
        tasks.append(KINDS[config.kind](config.optimisation.seed))
        return tasks[-1]

    run = Run(config.where.runs / (config.where.name or config.kind))
    train(
        verb="train toy",
        run=run,
        identity=identity(config),
        accelerator=accelerator,
        images=images(),
        build=build,
        score=lambda task: {},
        optimisation=config.optimisation,
        where=config.where,
        following="nothing",
    )


def penult(*arguments: object) -> int:
    """Run a command line in this process, with `train toy` among the verbs; the exit status."""
    from apps.command import cli

    cli.VERBS["train toy"] = (__name__, "a small task")
    try:
        return cli.main(last_of_each(map(str, arguments)))
    finally:
        del cli.VERBS["train toy"]
