"""Values and foreign errors in messages: what they are, never where they lie in memory."""

import inspect
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.pretrained import from_pretrained
from apps.report.contents import read_picture
from priors.checks.draws import require_generator, sample_shape
from priors.errors import InputError, reason, shown, unknown
from priors.zoo.network import names_of_classes


class Odd:
    pass


VALUES = {
    "file": (io.BytesIO(b"x"), "a BytesIO"),
    "tensor": (torch.zeros(2, 3), "a tensor of shape (2, 3)"),
    "array": (np.zeros(4), "an array of shape (4,)"),
    "function": (print, "the function print"),
    "lambda": (lambda: 0, "the function lambda"),
    "class": (Odd, "the class Odd"),
    "object": (Odd(), "an Odd"),
    "module": (torch.nn.Sequential(torch.nn.Linear(2, 3)), "a Sequential"),
    "generator": (torch.Generator(), "a Generator"),
    "list": ([torch.zeros(2), 5], "[a tensor of shape (2,), 5]"),
    "path": (Path("a b"), "'a b'"),
    "text": ("it's", '"it\'s"'),
    "number": (2.5, "2.5"),
    "nothing": (None, "None"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_is_named_in_words(case):
    value, expected = VALUES[case]
    assert shown(value) == expected


@pytest.mark.parametrize("case", ["file", "tensor", "array", "function", "object", "module"])
@pytest.mark.parametrize(
    "call",
    [
        require_generator,
        sample_shape,
        names_of_classes,
        from_pretrained,
        lambda value: (_ for _ in ()).throw(unknown("thing", value, ["a"])),
    ],
)
def test_messages_hold_no_address_and_no_tensor(case, call):
    value, expected = VALUES[case]
    with pytest.raises(InputError) as refused:
        inspect.unwrap(call)(value)  # without the check of types that tests put around it
    said = str(refused.value)
    assert expected in said and " at 0x" not in said and "tensor(" not in said and "\n" not in said


def test_errors_of_others_are_given_in_their_first_line():
    assert (
        reason(OSError("cannot identify image file <_io.BytesIO object at 0x7f3a>")) == "cannot identify image file it"
    )
    assert reason(KeyError("layers")) == "there is no 'layers' in it"
    assert reason(RuntimeError("one\ntwo")) == "one" and reason(ValueError()) == "ValueError"


def test_a_picture_that_is_none_is_named_by_its_file(tmp_path):
    (tmp_path / "circle.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="circle.png is no readable PNG") as refused:
        read_picture(tmp_path / "circle.png")
    assert " at 0x" not in str(refused.value)
