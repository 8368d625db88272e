"""How many images are compared, and what is refused."""

import pytest

from apps.fidelity.protocols import PROTOCOLS, Layout, layout, named, single
from priors.errors import InputError


@pytest.mark.parametrize(
    ("name", "reals", "fakes", "expected"),
    [
        ("fid-5k", 50_000, None, Layout(10, 5_000, 5_000)),
        ("fid-5k", 60_000, 70_000, Layout(10, 5_000, 5_000)),
        ("fid-5k-partial", 30_000, None, Layout(6, 5_000, 5_000)),
        ("fid-5k-partial", 34_999, None, Layout(6, 5_000, 5_000)),
        ("fid-5k-partial", 200_000, None, Layout(10, 5_000, 5_000)),
        ("fid-5k-partial", 200_000, 14_999, Layout(2, 5_000, 5_000)),
        ("fid-50k", 60_000, None, Layout(1, 50_000, 60_000)),
        ("fid-50k", 50_000, 80_000, Layout(1, 50_000, 50_000)),
        ("fid-all", 1_437, None, Layout(1, 1_437, 1_437)),
        ("fid-all", 1_437, 200, Layout(1, 200, 1_437)),
    ],
)
def test_chunks_of_the_images_there_are(name, reals, fakes, expected):
    assert layout(named(name), reals, "set", fakes, "folder") == expected


@pytest.mark.parametrize(
    ("name", "reals", "fakes", "message"),
    [
        ("fid-5k", 49_999, None, "fid-5k needs 50,000 real images, and set has 49,999: --protocol fid-5k-partial"),
        ("fid-5k", 30_000, None, "scores the 6 chunks of 5,000 there are, and says so"),
        ("fid-5k", 30_000, 7_000, "scores the one chunk of 5,000 there are"),
        ("fid-5k", 50_000, 49_999, "fid-5k needs 50,000 generated images, and folder has 49,999"),
        (
            "fid-5k-partial",
            4_999,
            None,
            "needs 5,000 real images, and set has 4,999: --protocol fid-all",
        ),
        ("fid-5k-partial", 50_000, 4_999, "needs 5,000 generated images, and folder has 4,999"),
        ("fid-50k", 30_000, None, "fid-50k needs 50,000 real images"),
        ("fid-50k", 50_000, 10_000, "fid-50k needs 50,000 generated images, and folder has 10,000"),
        ("fid-all", 9, None, "needs 10 real images, and set has 9: give at least 10"),
        ("fid-all", 100, 0, "needs 10 generated images, and folder has 0: give at least 10"),
    ],
)
def test_too_few_images_are_refused_with_what_else_there_is(name, reals, fakes, message):
    with pytest.raises(InputError) as caught:
        layout(named(name), reals, "set", fakes, "folder")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_names():
    assert all(named(name).name == name for name in PROTOCOLS)
    with pytest.raises(InputError, match="did you mean 'fid-50k'"):
        named("fid-50")
    assert layout(single(2_000), 2_000, "set") == Layout(1, 2_000, 2_000)
    with pytest.raises(InputError, match="fid-1x2000 needs 2,000 real images"):
        layout(single(2_000), 1_999, "set")
    with pytest.raises(InputError, match="at least 10"):
        single(9)
