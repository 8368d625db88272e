"""Memory that runs out ends a command in one line, whoever says so, and whatever took it for something else."""

import errno

import numpy as np
import pytest
import torch

from apps.command.shortage import shortage
from priors.errors import InputError


def raised(action) -> BaseException:
    with pytest.raises(BaseException) as caught:
        action()
    return caught.value


def taken_for_damage():
    try:
        torch.empty(2**52)
    except RuntimeError as error:
        raise InputError(f"it is damaged ({error})") from None


SHORT = {
    "torch": lambda: torch.empty(2**52),
    "torch's sizes": lambda: torch.empty(2**62, 2**10),
    "NumPy": lambda: np.empty(2**52),
    "Python": lambda: bytearray(2**60),
    "as damage": taken_for_damage,
}


@pytest.mark.parametrize("name", SHORT)
def test_what_an_allocator_says_is_known(name):
    assert "there is not enough memory" in (shortage(raised(SHORT[name])) or "")


def test_the_amount_and_the_device_are_said():
    assert "for 32,768,000.0 GiB more: give" in shortage(raised(lambda: torch.empty(2**53 // 2**10 * 1000)))
    cuda = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"
    )
    assert shortage(cuda).startswith("there is not enough memory on the GPU for 20.00 GiB more: ")


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes"), ValueError("memory"), OSError(errno.ENOENT)])
def test_other_errors_are_none_of_it(error):
    assert shortage(error) is None


def test_an_error_whose_causes_go_in_a_circle():
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert shortage(one) is None


def no_room(*_, **__):
    raise RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."
    )


@pytest.mark.parametrize(
    ("words", "where", "advice"),
    [
        (
            "train hvae --variant hvae --device cpu",
            "apps.generators.train_hvae.train",
            "a smaller --batch-size or --image-size, a larger",
        ),
        ("evaluate {}/hvae", "apps.models.named.open_run", "a smaller --batch-size or --image-size"),
        ("sample {}/hvae --out x.png", "apps.generators.kinds.load_weights", "give a smaller --n, or end"),
        ("prior {}/classifier", "priors.zoo.saving.load_weights", "give a smaller --image-size"),
    ],
)
def test_every_verb_says_it_in_one_line(penult, trained, monkeypatch, words, where, advice):
    monkeypatch.setattr(where, no_room)
    said = penult(*words.format(trained).split())
    assert (
        said.status == 1 and advice in said.err and "for 3.0 GiB more" in said.err and len(said.err.splitlines()) == 1
    ), said.err
