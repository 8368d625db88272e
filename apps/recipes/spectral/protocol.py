"""How networks are trained: by the protocol of Heo et al. (2019), which Rotman and Wolf (2021) take over."""

from dataclasses import dataclass

DECAY, OWN_DECAY = 5e-4, 1e-4
"""Weight decay of Heo et al.'s code, and the one that Rotman and Wolf (section 5) give for their own method."""


@dataclass(frozen=True)
class Protocol:
    """Trainings on CIFAR-100.

    The authors' code makes its optimiser anew where the rate drops, so that momentum is forgotten there, and pads
    crops with the image mirrored at its edges. Its PyramidNet teacher is trained by mixup; by which weight is not said.
    """

    schooling: str
    """Of teachers, as flags."""
    training: str
    """Of students, as flags."""
    prefix: str
    """Of the runs' names."""

    def optimisation(self, flags: str, network: str, decay: float) -> str:
        """The flags of a training; PyramidNets, and students of theirs, take half the images a step."""
        batch = 64 if network.startswith("pyramidnet") else 128
        return f"{flags} --batch-size {batch} --optimizer sgd --lr 0.1 --weight-decay {decay:g} --crop-fill reflect"

    def teacher_run(self, arch: str, seed: int) -> str:
        """The name of a teacher's run."""
        return f"{self.prefix}-teacher-{arch}-seed{seed}"

    def teaching(self, arch: str, seed: int) -> str:
        """The training of a teacher."""
        mixed = " --mixup 1" if arch.startswith("pyramidnet") else ""
        return (
            f"train classifier --data cifar100 --arch {arch} {self.optimisation(self.schooling, arch, DECAY)}{mixed} "
            f"--seed {seed} --name {self.teacher_run(arch, seed)}"
        )


_DROPS = "--schedule step --milestones 0.5 0.75 --decay 0.1 --reset-momentum"
PUBLISHED = Protocol(f"--epochs 200 {_DROPS}", f"--epochs 200 {_DROPS}", "spectral")
SHORT = Protocol("--epochs 8 --schedule cosine", "--epochs 3 --schedule cosine", "spectral-short")
