"""Images in a folder a class: each class has one of its own, on any file system."""

import pytest

from apps.generators.latents import Gaussian
from apps.generators.sampling import write
from apps.generators.sngan import SNGAN
from apps.generators.sngan_presets import architecture

CASES = {
    "a class called as another's number": (("..", "class-0", "cat"), ["class-0", "class-1", "class-2"]),
    "capitals": (("Cat", "cat", "dog"), ["class-0", "class-1", "dog"]),
    "the same after escaping": (("a/b", "a_b", "c"), ["c", "class-0", "class-1"]),
    "too long": (("x" * 256, "y" * 255), ["class-0", "y" * 255]),
    "numbers of their own": (("class-1", "class-2"), ["class-1", "class-2"]),
}


@pytest.mark.parametrize("case", CASES)
def test_no_two_classes_share_a_folder(tmp_path, case):
    names, folders = CASES[case]
    model = SNGAN(architecture("sngan-projection", (1, 8, 8), 4, 4), names, Gaussian(5)).eval()
    assert write(model, range(len(names)), 2, 0, tmp_path / "out") == 2 * len(names)
    assert sorted(place.name for place in (tmp_path / "out").iterdir()) == folders
    assert all(len(list(place.iterdir())) == 2 for place in (tmp_path / "out").iterdir())
