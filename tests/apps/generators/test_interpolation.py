"""Interpolations: their ends are the images of `penult sample`, their paths what is said of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from apps.generators.interpolation import between_codes, between_points, draw, latents, parse_chain
from apps.models import drawing
from apps.models.named import generator_run
from priors.errors import InputError


@pytest.fixture(scope="module")
def models(trained):
    return {variant: generator_run(trained / variant) for variant in ("hvae", "hvae-c", "hvae-l")}


def images_of(model, label, count, seed=0, concentration=None):
    return torch.cat(list(drawing.draw(model, label, count, seed, concentration)))


def close(found, expected) -> bool:
    return torch.allclose(found, expected, atol=1e-6)


# Which classes.


def test_chains_by_label_and_name():
    names = ["cat", "dog", "7", "emu"]
    assert parse_chain("0,3", names) == (0, 3)
    assert parse_chain(" dog, emu ,dog", names) == (1, 3, 1)
    assert parse_chain("7,1", names) == (2, 1), "a class's name first"
    for text, expected in (
        ("1", "expected two classes or more"),
        ("", "expected two classes or more"),
        ("1,4", "expected labels from 0 to 3, not 4"),
        ("cat,dgo", "did you mean 'dog'"),
        ("0-3", "unknown class '0-3'"),
    ):
        with pytest.raises(InputError, match=expected):
            parse_chain(text, names)


# Where the rows lead.


def test_centres_are_the_priors_mean_directions(models):
    model = models["hvae-l"]
    images, names = draw(model, [(1, 2), (4, 9, 0)], "centres", 8, 5, seed=0)
    assert images.shape == (2, 9, 1, 8, 8) and names == ["1 \u2192 2", "4 \u2192 9 \u2192 0"]
    with torch.inference_mode():
        centres = model.decode(model.prior.loc).sigmoid().unflatten(-1, (1, 8, 8))
    assert close(images[0, [0, 4]], centres[[1, 2]]) and close(images[1, [0, 4, 8]], centres[[4, 9, 0]])
    assert bool((images[0, 5:] == 1).all()), "white beyond the end of a shorter row"
    middle = torch.nn.functional.normalize(model.prior.loc[1] + model.prior.loc[2], dim=0)
    with torch.inference_mode():
        assert close(images[0, 2], model.decode(middle).sigmoid().unflatten(-1, (1, 8, 8)))


@pytest.mark.parametrize("concentration", [None, 500.0])
def test_draws_begin_and_end_at_samples_and_do_not_hang_on_how_many_there_are(models, concentration):
    model = models["hvae-l"]
    images, _ = draw(model, [(3, 5)], "draws", 70, 3, 7, concentration)
    assert close(images[:, 0], images_of(model, 3, 70, 7, concentration))
    assert close(images[:, 2], images_of(model, 5, 70, 7, concentration))
    fewer, _ = draw(model, [(3, 5)], "draws", 2, 3, 7, concentration)
    assert close(fewer, images[:2])
    assert not close(draw(model, [(3, 5)], "draws", 2, 3, 8, concentration)[0], fewer)


def test_a_class_code_moves_at_a_fixed_z(models):
    model = models["hvae-c"]
    images, names = draw(model, [(1, 2, 7)], None, 4, 3, seed=0)
    assert images.shape == (4, 5, 1, 8, 8) and len(names) == 4
    z = latents(model, 1, 4, 0)
    with torch.inference_mode():
        for column, code in enumerate(([1], [1, 2], [2], [2, 7], [7])):
            soft = torch.zeros(4, 10)
            soft[:, code] = 1 / len(code)
            logits = model.to_logits(model.decoder(torch.cat([z, soft], 1)))
            assert close(images[:, column], logits.sigmoid().unflatten(-1, (1, 8, 8)))
        labels = torch.full((4,), 7)
        assert close(images[:, -1], model.decode(z, labels).sigmoid().unflatten(-1, (1, 8, 8))), "one-hot as labels"
    assert close(images[:, 0], images_of(model, 1, 4))


def test_without_classes_the_ends_are_neighbouring_samples(models):
    model = models["hvae"]
    images, names = draw(model, [], "draws", 3, 4, seed=1)
    samples = images_of(model, None, 6, 1)
    assert close(images[:, 0], samples[0::2]) and close(images[:, -1], samples[1::2]) and len(names) == 3


def test_a_class_to_itself_stays(models):
    images, _ = draw(models["hvae-l"], [(1, 1)], "centres", 1, 6, seed=0)
    assert close(images, images[:, :1].expand_as(images))


def test_rows_move_evenly(models):
    """Each image is the decoding of a z: those are equally far apart (the model is never asked for its labels)."""
    seen = []

    class Spy(type(models["hvae-l"])):
        def decode(self, z, labels=None):
            seen.append(z)
            return super().decode(z, labels)

    model = models["hvae-l"]
    kind = model.__class__
    model.__class__ = Spy
    try:
        between_points(model, list(torch.eye(model.dim)[[0, 1, 2], None]), 4)
    finally:
        model.__class__ = kind
    (z,) = seen
    cosines = (z[0, 1:] * z[0, :-1]).sum(-1)
    assert z.shape == (1, 7, model.dim) and (cosines - np.cos(np.pi / 6)).abs().max() < 1e-6
    assert between_codes(models["hvae-c"], torch.eye(6)[:1], (0, 1), 5).shape == (1, 5, 1, 8, 8)


# The verb.


@pytest.mark.parametrize(
    ("variant", "words", "count", "rows", "columns"),
    [
        ("hvae-l", ["--interpolate", "1,2", "3,4,5"], 12 + 23, 2, 23),
        ("hvae-l", ["--interpolate", "1,2", "--between", "draws", "--n", 3, "--steps", 5], 15, 3, 5),
        ("hvae-c", ["--interpolate", "1,2", "--steps", 4], 32, 8, 4),
        ("hvae", ["--between", "draws", "--n", 2], 24, 2, 12),
    ],
)
def test_the_verb_draws_a_picture(penult, trained, tmp_path, variant, words, count, rows, columns):
    said = penult("sample", trained / variant, *words, "--out", "way.png", "--device", "cpu")
    assert (said.status, said.err) == (0, "") and said.out == f"{count} images in way.png\n"
    with Image.open(tmp_path / "way.png") as image:
        assert columns * 8 < image.width and abs(image.width / image.height - columns / rows) < 0.5 * columns / rows


@pytest.mark.parametrize(
    ("variant", "words", "expected"),
    [
        ("hvae-l", ["--interpolate", "1"], "expected two classes or more"),
        ("hvae-l", ["--interpolate", "1,10"], "expected labels from 0 to 9, not 10"),
        ("hvae-l", ["--interpolate", "1,2", "--steps", 1], "--steps 1: expected 2 or more"),
        ("hvae-l", ["--interpolate", "1,2", "3,4", "--steps", 10000], "20,000 images in one picture"),
        ("hvae-l", ["--interpolate", "1,2", "--n", 3], "--n with interpolation between centres"),
        ("hvae-l", ["--interpolate", "1,2", "--concentration", 9], "--concentration with interpolation between"),
        ("hvae-l", ["--interpolate", "1,2", "--labels", "1"], "leave one out"),
        ("hvae-l", ["--interpolate", "1,2", "--out", "way"], "one picture"),
        ("hvae-l", ["--between", "draws"], "--between: between which classes? Give --interpolate as well"),
        ("hvae-l", ["--steps", 4], "--steps: between which classes? Give --interpolate as well"),
        ("hvae-c", ["--interpolate", "1,2", "--between", "centres"], "moves its class code at a fixed z"),
        ("hvae-c", ["--interpolate", "1,2", "--concentration", 9], "uniform prior"),
        ("hvae", ["--interpolate", "1,2"], "without classes: leave out --interpolate"),
        ("hvae", ["--between", "centres"], "without centres"),
        ("hvae", ["--between", "draws", "--concentration", 9], "uniform prior"),
        ("classifier", ["--interpolate", "1,2"], "is a classifier"),
    ],
)
def test_what_cannot_be_interpolated_is_said(penult, trained, tmp_path, variant, words, expected):
    said = penult("sample", trained / variant, *words, "--device", "cpu")
    assert said.status == 2 and expected in said.err and said.err.count("\n") == 1, said.err
    assert not list(tmp_path.iterdir())


def test_an_interpolation_is_overwritten_only_when_told(penult, trained, tmp_path):
    (tmp_path / "way.png").write_bytes(b"mine")
    words = ["sample", trained / "hvae-l", "--interpolate", "1,2", "--out", "way.png", "--device", "cpu"]
    assert "--overwrite" in penult(*words).err and (tmp_path / "way.png").read_bytes() == b"mine"
    assert penult(*words, "--overwrite").status == 0 and (tmp_path / "way.png").stat().st_size > 100
