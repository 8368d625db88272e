"""Figure 5a and appendix F: what the layers of an AlexNet discard with a teacher and without."""

from dataclasses import dataclass

from apps.recipes.discarding.by_layer import Networks, Subject, by_layer, trained
from apps.recipes.discarding.protocol import (
    ALEXNET,
    BIRDS,
    FEW,
    MAPS,
    PUBLISHED,
    RESNET_18,
    RESNET_34,
    VECTORS,
    VGG_16,
    Protocol,
)


@dataclass(frozen=True)
class Distilling:
    """A student with and without a teacher."""

    how: Protocol
    """Of all trainings: students are trained as ordinary networks are, in batches and rates, for as long."""
    student: str
    """Its architecture."""
    terms: str = "ce+hinton"
    """The objective: "knowledge distillation", of which no source is given; that of Hinton et al. (2015)."""
    weight: float = 0.9
    """Of the teacher in it, beside .1 of the labels: AlexNets were "mainly learned from distillation" (section 4)."""
    temperature: float = 4.0
    """Of the softened posteriors: as of the weight, that of common public code (Tian et al. 2020)."""

    def taught(self, teacher: str) -> Subject:
        """The student of a teacher."""

        def subject(seed: int) -> tuple[str, tuple[str, ...]]:
            how, name = self.how, self.how.name(self.student, "of", teacher, f"seed{seed}")
            distil = (
                f"distill {self.terms} --hinton.weight {self.weight:g} --hinton.temperature {self.temperature:g} "
                f"--data {how.data}{how.size} --student {self.student} {how.schooling.flags(self.student)} "
                f"--teacher {{runs}}/{how.network(teacher, seed)} --seed {seed} --name {name}"
            )
            return name, (how.training(teacher, seed), distil)

        return subject

    def networks(self, teachers: dict[str, str], layers: dict[str, str], metrics: str, maps: int) -> Networks:
        """The student without a teacher, and with each."""
        subjects = {"none": trained(self.how, self.student)}
        subjects |= {row: self.taught(teacher) for row, teacher in teachers.items()}
        return Networks(self.how, f"{self.student}-taught", subjects, layers, metrics, maps)


_SAID = (
    "The figure has no printed numbers: students had lower information discarding with a teacher than without. none: "
    "on labels alone, at the same rates and for as long."
)
_TEACHERS = {"vgg-16": VGG_16, "resnet-18": RESNET_18, "resnet-34": RESNET_34}

TABLES = {
    "distillation": by_layer(
        "Figure 5a: SID and RU of AlexNet on CUB-200-2011 with three teachers; nothing of it is published",
        f"{_SAID} Appendix F's maps are in the folders of scores: discard-sid.png.",
        [Distilling(BIRDS, ALEXNET).networks(_TEACHERS, dict(PUBLISHED[ALEXNET]), "sid,ru", 5)],
        rows="teacher",
    ),
    "distillation-short": by_layer(
        "Figure 5a at a size for a CPU: SID of AlexNet on CIFAR-10 with a teacher; nothing of it is published",
        f"{_SAID} The teacher is a ResNet-20. Five epochs each. Appendix F's maps are in the folder of scores: "
        "discard-sid.png.",
        [
            Distilling(FEW, "alexnet-small").networks(
                {"resnet-20": "resnet-20"}, dict(MAPS["alexnet-small"]) | VECTORS, "sid", 5
            )
        ],
        rows="teacher",
    ),
}
