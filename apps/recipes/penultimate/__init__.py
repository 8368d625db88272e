"""On The Distribution of Penultimate Activations of Classification Networks (Seo, Lee and Kwak, 2021)."""

from apps.recipes.penultimate.adversarial import TABLES as ADVERSARIAL
from apps.recipes.penultimate.convolutions import TABLES as CONVOLUTIONS
from apps.recipes.penultimate.distillation import TABLES as DISTILLATION
from apps.recipes.penultimate.heavy_tails import TABLES as HEAVY_TAILS
from apps.recipes.penultimate.learnt import TABLES as LEARNT
from apps.recipes.penultimate.likelihoods import TABLES as LIKELIHOODS
from apps.recipes.table import Table

# Table 1: top-1 accuracy on ImageNet's validation images before and after normalising a and w_i, in per cent.
_NETWORKS = {
    #          torchvision's name    original, normalised, drop rate
    "R-18": ("resnet18", (69.8, 67.1, -3.9)),
    "R-50": ("resnet50", (76.2, 74.7, -1.9)),
    "R-101": ("resnet101", (77.4, 76.2, -1.5)),
    "R-152": ("resnet152", (78.3, 77.5, -1.1)),
    "D-121": ("densenet121", (74.7, 72.5, -2.9)),
    "D-201": ("densenet201", (77.2, 75.5, -2.2)),
    "S-v2": ("shufflenet_v2_x1_0", (69.4, 68.4, -1.5)),
    "RX-50": ("resnext50_32x4d", (77.6, 76.9, -0.9)),
    "RX-101": ("resnext101_32x8d", (79.3, 78.9, -0.6)),
}


def _table1_run(row: str, column: str, seed: int) -> str:
    return f"penultimate-1-{row}"


def _table1_commands(row: str, column: str, seed: int) -> tuple[str, ...]:
    network, scores = _NETWORKS[row][0], f"{{runs}}/{_table1_run(row, column, seed)}/normalised.json"
    return (
        f"analyse normalised torchvision:{network}:IMAGENET1K_V1 --data {{data}} --image-size 224 --resize 256 "
        f"--out {scores}",
    )


TABLES = {
    "1": Table(
        title="Table 1: top-1 accuracy in % on ImageNet with activations and weights normalised (section 2.3)",
        convention=(
            "normalised: by the cosine of activation and weight, without the bias; drop rate: relative to the "
            "original, in %; bias kept: added to w_i.a with both norms at their means. The 50,000 validation images, "
            "shorter side 256, centre 224 x 224. R: ResNet, D: DenseNet, S: ShuffleNet, RX: ResNeXt."
        ),
        rows=tuple(_NETWORKS),
        columns=("imagenet",),
        seeds=1,
        axes=("network", "images"),
        metrics=("original", "normalised", "drop rate"),
        published={(row, "imagenet"): published for row, (_, published) in _NETWORKS.items()},
        commands=_table1_commands,
        run=_table1_run,
        extra=("bias kept",),
        folder="imagenet",
        layout="ImageNet's validation images in test/n01440764/* ... test/n15075141/*, a folder a class",
    ),
    **DISTILLATION,
    **LIKELIHOODS,
    **HEAVY_TAILS,
    **CONVOLUTIONS,
    **LEARNT,
    **ADVERSARIAL,
}
