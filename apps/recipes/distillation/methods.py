"""Methods of distillation as objectives, with what was published of them."""

from apps.recipes.penultimate.distillation import METHODS as PENULTIMATE

_ALSO: dict[str, float] = {
    # Tian, Krishnan and Isola (2020), which the table of Seo, Lee and Kwak (2021) leaves out.
    "ab": 72.50,
    "ft": 73.25,
}
_OWN: dict[str, tuple[str, float | None]] = {
    #           terms and flags                                      accuracy
    "class-means": ("ce+class-means", None),
    # Tian, Krishnan and Isola (2020): labels 1, KD 1, CRD .8.
    "crd+kd": ("ce+crd+hinton --ce.weight 1 --hinton.weight 1", 75.64),
    "overhaul": ("ce+overhaul --teacher-norms batch", None),
    # The authors' code takes the student's groups as they are summed, and the teacher's behind the next batch norm.
    "reviewkd": ("ce+review --student-taps body.group1 body.group2 body.group3", 76.12),
    # The authors' code has a beta of 6 for pairs of wide residual networks.
    "dkd": ("ce+dkd --dkd.beta 6", 76.24),
    "dist": ("ce+dist", None),
    "kd-standardised": ("ce+standardised", 76.11),
    # The authors' code for WRN-40-2 to 40-1: KD 1, its weight rising over 20 of 240 epochs, and 1.5, which is nd's own.
    "kd++": ("ce+hinton+nd --hinton.weight 1 --hinton.warmup 0.0833", None),
}
METHODS = {name: (words, _ALSO.get(name, known)) for name, (words, known) in PENULTIMATE.items()} | _OWN
"""By row, the terms with their flags, and the published top-1 accuracy in % of WRN-16-2 from WRN-40-2 on CIFAR-100."""
TEACHER = 75.61
"""Likewise of the teacher."""
WIDE = frozenset({"fitnet", "at", "sp", "vid", "ft", "dkd", "reviewkd"})
"""Methods whose flags are for pairs of wide residual networks alone."""
SHORT = (
    "student", "kd", "ckd", "ckd+kd", "class-means", "at", "sp", "rkd", "crd", "reviewkd", "dkd", "dist",
    "kd-standardised", "kd++",
)  # fmt: skip
"""Those of a table of a few epochs: none that trains for 30 epochs before (ab, ft)."""
