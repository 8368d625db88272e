"""Constants in memory that some of torch's functions read for rare numbers alone, loaded before they are read."""

import torch


def load_rare_constants() -> None:
    """Have log1p, expm1 and what is made of them run at full speed: softplus, logsigmoid, ELU, binary cross-entropy.

    With AVX-512 those of single precision have constants for numbers that are -0, and read them for those places of a
    vector alone: mostly for none. Until their page of memory was loaded once, the processor takes a detour for each
    such read, and all of log1p takes ten times as long (AMD EPYC, torch 2.14; `tests/bench/bench_functions.py`). A
    single -0 loads it. What is computed stays the same.
    """
    torch.tensor([-0.0], device="cpu").log1p()
