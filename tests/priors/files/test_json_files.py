"""JSON that is what the standard has: other files are refused in one line."""

import json

import pytest

from priors.errors import InputError
from priors.files.json_files import parse_json, read_json, write_json


def test_json_comes_back_and_refuses_what_json_has_not(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"kappa": 20.5, "classes": ["a", "ü"], "none": None})
    assert read_json(path) == {"kappa": 20.5, "classes": ["a", "ü"], "none": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    assert read_json(path)["kappa"] == 20.5, "a refused write leaves the old file"


def test_unreadable_json_is_one_line(tmp_path):
    for content in (b"{", b"\xff\xfe\x00", b""):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(InputError, match=r"bad.json is not a readable run") as error:
            read_json(tmp_path / "bad.json", "run")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no run at .*none.json"):
        read_json(tmp_path / "none.json", "run")
    with pytest.raises(InputError, match="not a folder"):
        read_json(tmp_path, "run")
    with pytest.raises(InputError, match="no run at"):
        read_json(tmp_path / "bad.json" / "x.json", "run")


def test_json_is_for_people(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1]})
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n") and text.index('"b"') < text.index('"a"') and json.loads(text) == {"b": 1, "a": [1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested"),
        ("9" * 5_000, r"999999999999\.\.\. \(5,000 characters\) is too large an integer"),
        (str(2**64), "too large an integer"),
        ("[NaN]", "NaN is no number"),
        ('{"loss": -Infinity}', "-Infinity is no number"),
        ("1e999", "1e999 is too large a number"),
    ],
    ids=lambda value: value[:12],
)
def test_json_is_what_the_standard_has(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=f"a.json is not a readable run: .*{said}") as error:
        read_json(tmp_path / "a.json", "run")
    assert len(str(error.value)) < 300 + len(str(tmp_path)) and "\n" not in str(error.value)


def test_large_numbers_that_are_json_come_back():
    assert parse_json(f"[{2**64 - 1}, {1 - 2**64}, 1e308, 5e-324]") == [2**64 - 1, 1 - 2**64, 1e308, 5e-324]
    deep = "[" * 40 + "]" * 40
    assert parse_json(deep) == json.loads(deep)
