"""`penult evaluate --protocol`: what it prints and keeps, and what it refuses."""

import json
import re

import numpy as np
import pytest
from PIL import Image


def evaluations(run):
    return json.loads((run / "evaluation.json").read_text())


def scored(out: str) -> dict[str, str]:
    """The means in a printed table."""
    return dict(re.findall(r"^(\w+ \(mlp-digits, \w+\)) +(-?[\d.]+) ", out, re.M))


def test_a_generators_images_are_scored_wherever_they_are(penult, trained, copied, tmp_path):
    run, by = copied("hvae-l"), ["--protocol", "fid-all", "--extractor", trained / "classifier", "--threads", 1]
    assert penult("evaluate", run, "--samples", 2, "--images", 10, "--device", "cpu").status == 0
    (likelihood,) = evaluations(run)
    said = penult("evaluate", run, *by, "--split", "test", "--seed", 3)
    assert (said.status, said.err) == (0, "")
    assert "hvae-l against digits (test) by fid-all: 360 fakes against 360 reals, seed 3" in " ".join(said.out.split())
    kept, entry = evaluations(run)
    assert kept == likelihood
    assert set(entry["scores"]) == set(scored(said.out)) and len(entry["scores"]) == 5
    assert not {"FID", "IS", "KID"} & set(entry["scores"]), "nothing that could be taken for Inception's"
    assert (entry["protocol"], entry["seed"], entry["fakes"], entry["reals"]) == ("fid-all", 3, 360, 360)
    assert (entry["data"], entry["split"], entry["extractor"]) == ("digits", "test", "mlp-digits")
    for digest in (entry["extractor_digest"], entry["data_digest"]):
        assert re.fullmatch("[0-9a-f]{16}", digest) and digest in said.out
    assert sorted(path.name for path in (tmp_path / "data/fidelity").iterdir())[0].startswith("digits-test-mlp-digits")
    # Again: in the same place. By another seed: beside it.
    assert penult("evaluate", run, *by, "--split", "test", "--seed", 3).status == 0
    assert evaluations(run) == [likelihood, entry]
    assert penult("evaluate", run, *by, "--split", "test", "--seed", 4).status == 0
    assert len(evaluations(run)) == 3 and not list(run.glob("*.parts"))
    # The same images from an archive and from a folder.
    for out in ("drawn.npz", "drawn"):
        assert penult("sample", run, "--n", 36, "--seed", 3, "--out", out).status == 0
        other = penult("evaluate", out, *by, "--split", "test", "--against", "digits")
        assert other.status == 0, other.err
        for name, value in scored(other.out).items():
            if name.startswith(("FID", "precision", "recall")):  # the others hang on the order
                assert float(value) == pytest.approx(float(scored(said.out)[name]), abs=0.02), (out, name)


REFUSED = {
    "unknown protocol": (["{hvae}", "--protocol", "fid-5q"], "did you mean 'fid-5k'?"),
    "too few reals": (["{hvae}", *"--protocol fid-5k --extractor {classifier}".split()], "--protocol fid-all"),
    "grey for Inception": (["{hvae}", "--protocol", "fid-all"], "have a single channel"),
    "a classifier's images": (["{classifier}", "--protocol", "fid-all"], "is a classifier, not a generator"),
    "extractor that draws": (["{hvae}", *"--protocol fid-all --extractor {hvae}".split()], "--extractor: "),
    "no such extractor": (["{hvae}", *"--protocol fid-all --extractor {hvae}s".split()], "unknown run"),
    "no such run": (["{hvae}s", "--protocol", "fid-all"], "unknown run"),
    "no such data": (["mnits", *"--protocol fid-all --against digits".split()], "did you mean 'mnist'"),
    "no reals": (["digits", "--protocol", "fid-all"], "give --against"),
    "empty reals": (["digits", *"--protocol fid-all --against empty".split()], "empty holds no images"),
    "another size": (["digits", *"--protocol fid-all --against small".split()], "they must agree"),
    "two networks": (
        ["{hvae}", *"--protocol fid-all --extractor {classifier} --inception-weights x.pth".split()],
        "leave one out",
    ),
    "no protocol": (["{hvae}", "--against", "digits"], "give --protocol"),
    "no protocol for an extractor": (["{hvae}", "--extractor", "{classifier}"], "give --protocol"),
    "data": (["{hvae}", *"--protocol fid-all --data digits".split()], "--against names the real images"),
    "images": (["{hvae}", *"--protocol fid-all --images 20".split()], "the protocol says how many"),
    "a run as reals": (["digits", *"--protocol fid-all --against {hvae}".split()], "is a run"),
    "text as images": (["notes.txt", *"--protocol fid-all --against digits".split()], "is no images"),
    "archive of text": (["words.npz", *"--protocol fid-all --against digits".split()], "has neither x"),
    "broken archive": (["broken.npz", *"--protocol fid-all --against digits".split()], "damaged or no .npz"),
    "archive of floats": (["floats.npz", *"--protocol fid-all --against digits".split()], "expected uint8"),
    "pictures of two sizes": (["mixed", *"--protocol fid-all --against digits".split()], "differ in size"),
    "too few fakes": (["few", *"--protocol fid-all --against digits --extractor {classifier}".split()], "at least 10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_ends_in_one_line(penult, trained, tmp_path, name):
    for folder in ("empty", "small", "mixed", "few"):
        (tmp_path / folder).mkdir()
    for folder, side in (("small", 5), ("mixed", 5), ("mixed", 6), ("few", 8)):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / folder / f"{side}.png")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "broken.npz").write_text("notes")
    np.savez(tmp_path / "words.npz", words=np.array(["a"]))
    np.savez(tmp_path / "floats.npz", x=np.zeros((20, 8, 8)))
    words, message = REFUSED[name]
    before = sorted(trained.rglob("*"))
    said = penult(
        "evaluate", *(word.format(classifier=trained / "classifier", hvae=trained / "hvae") for word in words)
    )
    assert (said.status, said.out) == (2, ""), (said.out, said.err)
    assert said.err.startswith("penult: ") and said.err.count("\n") == 1 and len(said.err) < 1000
    assert message in said.err
    assert sorted(trained.rglob("*")) == before and not (tmp_path / "data").exists()


def test_weights_are_asked_for_before_the_work(penult, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))

    def unreachable(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    pixels = np.zeros((20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "colour.npz", x=pixels)
    said = penult("evaluate", "colour.npz", "--protocol", "fid-all", "--against", "colour.npz")
    assert (said.status, said.out) == (2, "") and "could not be downloaded (no network)" in said.err
    assert said.err.count("\n") == 1 and "--extractor RUN" in said.err


def test_a_damaged_list_of_evaluations_is_found_before_the_work(penult, trained, copied):
    run = copied("hvae")
    (run / "evaluation.json").write_text("{}")
    said = penult("evaluate", run, "--protocol", "fid-all", "--extractor", trained / "classifier")
    assert said.status == 2 and "is no list of evaluations" in said.err
