"""Networks of the user's own, trained on the command line, and what other verbs make of such runs."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from own_networks import MINE
from spoken import last_of_each

import apps
from apps.command.own_code import _named
from apps.data import sources
from apps.data.batches import Batches
from apps.data.image_set import channel_statistics
from apps.seeds import derive
from priors import zoo
from priors.errors import InputError
from priors.files.tensors import read_tensors

SHARED = ["--data", "digits", "--device", "cpu", "--threads", 1]
TRAIN = ["train", "classifier", *SHARED, "--optimizer", "momentum", "--lr", 0.05, "--schedule", "constant"]
NET = [*TRAIN, "--arch", "import:mine:net", "--taps", "conv1", "conv2"]
ALLOW = ["--allow", "import:mine:net"]


@pytest.fixture(autouse=True)
def mine(penult, monkeypatch):
    """The module is in the current folder; nothing is allowed that a command does not name."""
    Path("mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    _named.clear()
    yield
    _named.clear()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of `net`, with a snapshot. Not to be changed."""
    from apps.command.cli import main

    place = tmp_path_factory.mktemp("own")
    (place / "mine.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.setattr(sys, "path", list(sys.path))
        words = [*NET, "--epochs", 1, "--lr", 0.02, "--snapshots", 5, "--name", "own"]
        assert main(last_of_each(map(str, words))) == 0
    sys.modules.pop("mine", None)
    _named.clear()
    return place / "runs"


@pytest.fixture
def own(runs, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(runs / "own", tmp_path / "runs" / "own"))


def weights(run):
    return read_tensors(Path(run) / "model.safetensors", "weights")[0]


def by_hand(steps, lr=0.05):
    """The same training written out, with the user's own module and nothing of penult's but images and their order."""
    import mine

    images = sources.load("digits", "train")
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in channel_statistics(images))
    torch.manual_seed(derive(0, "weights"))
    network = mine.Maps(10, (1, 8, 8)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    batches = Batches(images, 64, 0)
    for step in range(steps):
        batch = batches.at(step)
        optimizer.zero_grad()
        F.cross_entropy(network((batch.images - mean) / std), batch.labels).backward()
        optimizer.step()
    return network.state_dict()


def test_it_is_the_users_own_training(penult):
    said = penult(*NET, "--epochs", 0.4, "--name", "own")
    assert said.status == 0, said.err
    assert said.out.rstrip().endswith("Next: penult prior runs/own --concentration 20 --allow import:mine:net")
    found, expected = weights("runs/own"), by_hand(9)
    assert found.keys() == {"mean", "std", *(f"network.{name}" for name in expected)}
    for name, tensor in expected.items():
        torch.testing.assert_close(found[f"network.{name}"], tensor, rtol=1e-4, atol=1e-6)
    assert int(found["network.seen"]) == 9 * 64
    described = zoo.describe("runs/own")
    assert described["architecture"] is None and described["wrapped"]["code"] == "import:mine:net"
    assert described["wrapped"]["taps"] == ["conv1", "conv2"]
    _named.clear()
    again = penult(*NET, "--epochs", 0.4, "--name", "own")
    assert again.status == 0 and "finished already" in again.out


READERS = {
    "evaluate": "evaluate runs/own",
    "prior": "prior runs/own --concentration 20 --no-measure",
    "prune": "prune runs/own --keep 0.5 --epochs 0.1 --name pruned",
    "export": "export runs/own exported",
    "normalised": "analyse normalised runs/own --images 20",
    "anomaly": "analyse anomaly runs/own --against noise --images 20",
    "spectrum": "analyse spectrum runs/own --images 8",
    "saliency": "analyse saliency runs/own --images 1 --methods full-jacobian",
    "teacher": "distill ce+hinton --teacher runs/own --student mlp --epochs 0.1 --name student",
    "hvae": "train hvae --classifier runs/own --concentration 20 --latent-dim 11 --epochs 0.05 --kl-warmup 0 --name h",
    "roar": "analyse perturb runs/own --benchmark roar --images 4 --methods full-jacobian --fractions 0.5 --name r",
    "snapshot": "evaluate runs/own/snapshots/step-5",
}
PLACELESS = ("export",)


@pytest.mark.parametrize("case", READERS)
def test_every_verb_reads_it_where_its_code_is_named(penult, own, case):
    """And runs nothing where it is not: the module would say that it was imported."""
    with Path("mine.py").open("a") as file:
        file.write("\nfrom pathlib import Path\nPath('imported').touch()\n")
    words = READERS[case].split()
    words += [] if case in PLACELESS else ["--device", "cpu", "--threads", 1]
    refused = penult(*words)
    assert refused.status == 2 and refused.err.count("\n") == 1, refused.err
    assert "was made with import:mine:net, which is code: name it as well, by --allow import:mine:net" in refused.err
    assert not Path("imported").exists() and not Path("exported").exists()
    if case in ("roar", "anomaly"):  # ten trainings, and what the other verbs show as well
        return
    said = penult(*words, *ALLOW)
    assert said.status == 0, said.err
    assert Path("imported").exists()


def test_a_pruned_run_and_an_export_are_models_with_the_code_in_them(penult, own):
    assert penult("prune", own, "--keep", 0.5, "--epochs", 0, "--name", "pruned", *ALLOW).status == 0
    assert penult("export", "runs/pruned", "out", *ALLOW).status == 0
    card = Path("out/README.md").read_text()
    assert "made by its author's own code, `import:mine:net`, which is not in this folder" in card
    assert 'from_pretrained("out", allow="import:mine:net")' in card
    assert "penult evaluate out --allow import:mine:net" in card and "`Maps` with 12 penultimate units" in card
    assert not any("mine.py" in path.name for path in Path("out").iterdir())
    _named.clear()
    assert penult("evaluate", "out").status == 2
    assert penult("evaluate", "out", *ALLOW).status == 0
    network = zoo.load(own, __import__("mine").Maps(10, (1, 8, 8)))
    kept = sum(int((weight != 0).sum()) for weight in weights("out").values() if weight.ndim > 1)
    assert kept < 0.6 * sum(weight.numel() for weight in network.parameters())


def test_an_inversion_keeps_the_network_of_a_run(penult, own):
    words = ["analyse", "invert", own, "--taps", "logits", "--epochs", 0.02, "--filters", 4, "--layers", 1]
    words += ["--decoder-epochs", 0, "--test-images", 4, "--validation", 16, "--shown", 0, "--name", "inverted"]
    said = penult(*words, "--device", "cpu", "--threads", 1, *ALLOW)
    assert said.status == 0, said.err
    assert zoo.describe("runs/inverted-logits/network")["wrapped"]["code"] == "import:mine:net"
    digit = sources.load("digits", "test").images[0, 0].numpy()
    from PIL import Image

    Image.fromarray(digit).save("digit.png")
    _named.clear()
    draw = ["sample", "runs/inverted-logits", "--image", "digit.png", "--n", 1]
    refused = penult(*draw)
    assert refused.status == 2 and "--allow import:mine:net" in refused.err
    assert penult(*draw, *ALLOW).status == 0


def test_a_page_shows_the_classes_and_runs_no_code(penult, own):
    Path("mine.py").write_text("raise SystemExit('it was run')")
    said = penult("report", own)
    assert said.status == 0, said.err
    page = (own / "report.html").read_text()
    assert "nearest" in page and "No prior" not in page and "import:mine:net" in page


def test_from_python_by_a_network_or_by_naming_its_code(penult, own):
    from mine import Maps

    images = torch.rand(3, 1, 8, 8)
    for refused in (apps.from_pretrained, lambda folder: apps.load_run(folder).model):
        with pytest.raises(InputError, match="name it as well, by allow='import:mine:net', to run it"):
            refused(own)
    with pytest.raises(InputError, match="which import:mine:net makes: give such a network"):
        zoo.load(own)
    given = apps.from_pretrained(own, network=Maps(10, (1, 8, 8)))
    named = apps.from_pretrained(own, allow="import:mine:net")
    with torch.no_grad():
        expected = zoo.load(own, Maps(10, (1, 8, 8)))(images)
        assert torch.equal(given(images), expected) and torch.equal(named(images), expected)
        _named.clear()
        assert torch.equal(apps.load_run(own, allow="import:mine:net").model(images), expected)
    assert penult(*TRAIN, "--arch", "import:mine:lazy", "--epochs", 0.1, "--name", "lazy").status == 0
    from mine import lazy  # shapes that come with the first images are those of the run

    unsettled = apps.from_pretrained("runs/lazy", network=lazy(10))
    assert torch.equal(unsettled.head.weight, weights("runs/lazy")["network.3.weight"])
    with pytest.raises(InputError, match="do not fit this network"):
        apps.from_pretrained(own, network=Maps(10, (1, 9, 9)))


def test_what_a_loop_of_ones_own_saved_says_what_makes_it(penult):
    from mine import Maps

    network, words = Maps(10, (1, 8, 8)), ["--data", "digits", "--device", "cpu", "--threads", 1]
    zoo.save(zoo.wrap(network), "bare")
    zoo.save(zoo.wrap(network, code="import:mine:net"), "shapeless")
    zoo.save(zoo.wrap(network, image_shape=(1, 8, 8), code="import:mine:net"), "mine-trained")
    said = penult("evaluate", "bare", *words)
    assert said.status == 2 and said.err.count("\n") == 1
    assert "does not say what makes such a network: save it as wrap(network, image_shape=" in said.err
    said = penult("evaluate", "shapeless", *words, *ALLOW)
    assert said.status == 2 and said.err.count("\n") == 1
    assert "does not say for which images import:mine:net is to make a network" in said.err
    _named.clear()  # another command line
    assert "by --allow import:mine:net" in penult("evaluate", "mine-trained", *words).err
    said = penult("evaluate", "mine-trained", *words, *ALLOW)
    assert said.status == 0, said.err
    with pytest.raises(InputError, match="give such a network to put them in"):
        zoo.load("bare")
    found = apps.from_pretrained("mine-trained", allow="import:mine:net")
    assert torch.equal(found.head.weight, network.out.weight)
    assert isinstance(apps.from_pretrained("bare", network=Maps(10, (1, 8, 8))), zoo.Classifier)
    with pytest.raises(InputError, match="allow='mine:net': expected import:package.module:factory"):
        apps.from_pretrained("mine-trained", allow="mine:net")


def test_a_network_for_what_says_itself_how_it_is_built_is_refused(trained):
    from mine import Maps

    with pytest.raises(InputError, match="says itself how its network is built: leave the Maps out"):
        apps.from_pretrained(trained / "classifier", network=Maps(10, (1, 8, 8)))
    with pytest.raises(InputError, match="is a generator.* leave the network out|built as its files say"):
        apps.from_pretrained(trained / "hvae", network=Maps(10, (1, 8, 8)))


def test_code_that_a_file_names_in_another_ones_place_is_not_run(penult, own):
    """Each file is asked by itself: neither the description nor the configuration may bring other code in."""
    Path("evil.py").write_text("from pathlib import Path\nPath('bad').touch()\nfrom mine import net\n")
    for file in ("model.json", "config.json"):
        text = (own / file).read_text()
        (own / file).write_text(text.replace("import:mine:net", "import:evil:net"))
        said = penult("prune", own, "--keep", 0.5, "--epochs", 0, "--name", "pruned", *ALLOW)
        assert said.status == 2 and said.err.count("\n") == 1
        assert not Path("bad").exists(), file
        (own / file).write_text(text)


def test_changed_code_is_said(penult, own):
    Path("mine.py").write_text(MINE.replace("nn.Conv2d(6, 4, 3, padding=1)", "nn.Conv2d(6, 4, 1)"))
    said = penult("evaluate", own, *ALLOW)
    assert said.status == 2 and said.err.count("\n") == 1
    assert "was made with import:mine:net, which may have changed since" in said.err
    assert "network.conv2.weight has shape (4, 6, 3, 3), expected (4, 6, 1, 1)" in said.err


def test_it_goes_on_where_it_stopped_and_not_with_other_code(penult, monkeypatch):
    words = [*NET, "--epochs", 1, "--ema", 0.9, "--checkpoint-every", 5, "--augment", "flip", "--name"]
    assert penult(*words, "whole").status == 0
    __import__("mine").CALLS[0] = 0
    monkeypatch.setenv("STOP_AT", "13")
    assert penult(*words, "stopped").status == 130
    monkeypatch.delenv("STOP_AT")
    assert not Path("runs/stopped/result.json").exists() and Path("runs/stopped/state").is_dir()
    Path("mine.py").write_text(MINE.replace("nn.Conv2d(6, 4, 3, padding=1)", "nn.Conv2d(6, 4, 1)"))
    del sys.modules["mine"]
    refused = penult(*words, "stopped")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert "cannot go on from" in refused.err and "do not fit this network: network.conv2" in refused.err
    Path("mine.py").write_text(MINE)
    del sys.modules["mine"]
    assert penult(*words, "stopped").status == 0
    one, other = weights("runs/whole"), weights("runs/stopped")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "more",
    [
        ["--precision", "bf16", "--ema", 0.9],
        ["--regularise", "bias-jacobian:1", "dropout:0.2@network.hidden", "--mixup", 0.2],
        ["--label-smoothing", 0.1, "--clip", 1, "--accumulate", 2, "--validation", 100],
    ],
)
def test_what_a_training_can_be_told(penult, more):
    said = penult(*NET, "--epochs", 0.2, *more, "--name", "own")
    assert said.status == 0, said.err
    assert all(torch.isfinite(tensor).all() for tensor in weights("runs/own").values())


def test_what_gives_no_logits_is_refused_or_remarked_upon(penult, caplog):
    said = penult(*TRAIN, "--arch", "import:mine:probable", "--epochs", 0.1, "--name", "probable")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "import:mine:probable: it gives probabilities, and logits are expected: leave its softmax out" in said.err
    said = penult(*TRAIN, "--arch", "import:mine:Summed", "--head", "one", "--epochs", 0.1, "--name", "summed")
    assert said.status == 0 and "is not what its head 'one' gives" in caplog.text
    caplog.clear()
    for name in ("logged", "lazy"):
        said = penult(*TRAIN, "--arch", f"import:mine:{name}", "--epochs", 0.1, "--name", name)
        assert said.status == 0 and "is not what its head" not in caplog.text, said.err


def test_a_plan_of_it(penult):
    for name in ("net", "Counting"):  # the second cannot be followed without data: its sizes are not known then
        said = penult(*TRAIN, "--arch", f"import:mine:{name}", "--epochs", 1, "--plan", "--name", "own")
        assert said.status == 0, said.err
        assert "images" in said.out and not Path("runs/own").exists()


def test_students_of_ones_own(penult, trained):
    words = ["distill", "ce+hinton+attention", "--teacher", trained / "classifier", *SHARED, "--epochs", 0.1]
    refused = penult("distill", "ce+fitnet", *words[2:], "--student", "import:mine:flat")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert penult(*NET, "--epochs", 0.1, "--name", "teacher").status == 0
    words = ["distill", "ce+hinton+attention", "--teacher", "runs/teacher", *SHARED, "--lr", 0.01, "--epochs", 0.2]
    refused = penult(*words, "--student", "import:mine:flat")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert "the student has no stages of its own to compare for attention" in refused.err
    assert "--student-taps" in refused.err
    student = ["--student", "import:mine:net", "--student-taps", "conv1", "conv2", "--student-mean", 0.25]
    said = penult(*words, *student, "--name", "student")
    assert said.status == 0, said.err
    assert said.out.rstrip().endswith("Next: penult evaluate runs/student --allow import:mine:net")
    described = zoo.describe("runs/student")["wrapped"]
    assert described["taps"] == ["conv1", "conv2"] and described["mean"] == [0.25]
    assert penult("evaluate", "runs/student", *ALLOW).status == 0


REFUSED = {
    "width": ([*NET, "--penultimate", 7], "--penultimate 7 with import:mine:net: your own code says"),
    "bias": ([*NET, "--no-head-bias"], "--no-head-bias with import:mine:net"),
    "dropout": ([*NET, "--dropout", 0.1], "--dropout 0.1 with import:mine:net"),
    "narrow": ([*NET, "--narrow", "conv1"], "--narrow conv1 with import:mine:net"),
    "student's width": (
        ["distill", "ce", "--student", "import:mine:net", "--penultimate", 7, *SHARED],
        "--penultimate 7 with import:mine:net",
    ),
    "taps of a known network": ([*TRAIN, "--arch", "mlp", "--taps", "body"], "--taps with mlp: it is known"),
    "student's mean": (
        ["distill", "ce", "--student", "mlp", "--student-mean", 0.5, *SHARED],
        "--student-mean with mlp: it is known",
    ),
    "auto-encoder": (
        ["train", "autoencoder", "--arch", "import:mine:net", *SHARED],
        "which layers of a network of your own come before its final one is not known",
    ),
    "classes": ([*TRAIN, "--arch", "import:mine:wide"], "cannot take images of 1x8x8"),
    "raises": ([*TRAIN, "--arch", "import:mine:raises"], "raised ZeroDivisionError: no classes today"),
    "no module": ([*TRAIN, "--arch", "import:mine:text"], "gave a str, expected a torch.nn.Module"),
    "nothing that is allowed": (["evaluate", "runs/own", "--allow", "mine.net"], "--allow mine.net: expected import:"),
    "no file": ([*TRAIN, "--arch", "import:mien:net"], "mien cannot be imported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line_before_there_is_a_folder(penult, case):
    words, expected = REFUSED[case]
    said = penult(*words)
    assert (said.status, said.err.count("\n")) == (2, 1) and expected in said.err, said.err
    assert not Path("runs").exists()


@pytest.mark.slow
def test_two_processes_are_one(machine, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    words = [*TRAIN, "--arch", "import:mine:plain", "--epochs", 0.3, "--name"]
    for name, processes in (("one", 1), ("two", 2)):
        finished = machine(list(map(str, [*words, name])), processes=processes, folder=tmp_path)
        assert finished["status"] == 0, finished["errors"]
    one, two = (weights(tmp_path / "runs" / name) for name in ("one", "two"))
    for name in one.keys() - {"network.seen"}:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
