"""Settings from elsewhere: a file's and another run's become words, and the command line goes before both."""

import json
import shlex
from dataclasses import replace

import pytest

from apps.command.cli import VERBS, completed, configured, verb_of
from apps.command.config import identity
from priors import InputError

SMALL = ["--device", "cpu", "--threads", "1"]


def config(line):
    """What a command line means."""
    return configured(*verb_of(shlex.split(line)))[1]


@pytest.fixture
def file(tmp_path):
    def write(text, name="settings.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_file_has_the_flags_names(file):
    settings = {
        "epochs": 3,
        "lr": "1e-2",
        "milestones": [0.2, 0.4],
        "head_bias": False,
        "train-images": None,
        "seed": 4,
        "name": "named",
    }
    yaml = "epochs: 3\nlr: 1e-2\nmilestones: [0.2, 0.4]\nhead_bias: false\ntrain-images:\nseed: 4\nname: named\n"
    wanted = config(
        "train classifier --epochs 3 --lr 1e-2 --milestones .2 .4 --no-head-bias --train-images none --seed 4 "
        "--name named"
    )
    assert config(f"train classifier --config {file(yaml)}") == wanted
    assert config(f"train classifier --config={file(json.dumps(settings), 'settings.json')}") == wanted


def test_the_command_line_goes_before_the_file_and_the_file_before_the_run(trained, file):
    own = file("epochs: 7\nlr: 0.5\n")
    line = f"train classifier --like {trained / 'classifier'} --config {own} --lr 0.25"
    found = config(line)
    assert (found.optimisation.lr, found.optimisation.epochs, found.penultimate) == (0.25, 7.0, 6)
    assert config(f"train classifier --like {trained / 'classifier'}").optimisation.epochs == 3.0
    reordered = f"train classifier --lr 0.25 --config {own} --like {trained / 'classifier'}"
    assert config(reordered) == found


def test_a_run_gives_all_that_decides_its_numbers_and_nothing_of_its_place(trained):
    for name, verb in (("classifier", "train classifier"), ("hvae-l", "train hvae")):
        found = config(f"{verb} --like {trained / name} --seed 5")
        stored = json.loads((trained / name / "config.json").read_text())["config"]
        now = identity(found)
        assert now == {key: stored[key] for key in now} | {"seed": 5}
        assert found.where == config(verb).where


def test_a_run_made_so_is_gone_on_with_by_the_same_command(copied, penult, tmp_path):
    run = copied("classifier")
    words = ["train", "classifier", "--like", run, "--epochs", "1", "--runs", tmp_path / "runs", "--name", "b", *SMALL]
    assert penult(*words).status == 0
    again = penult(*words)
    assert again.status == 0 and "is finished already" in again.out
    stored = json.loads((tmp_path / "runs" / "b" / "config.json").read_text())
    assert not {"--like", str(run)} & set(stored["command"]) and "--penultimate" in stored["command"]
    plain = ["train", "classifier", "--penultimate", "6", "--lr", "3e-3", "--epochs", "1", "--runs", tmp_path / "runs"]
    assert "is finished already" in penult(*plain, "--name", "b", *SMALL).out


def test_terms_come_from_a_run_or_a_file_and_their_options_go_with_them(file, tmp_path):
    own = file("terms: ce+hinton\nhinton:\n  weight: 2\nteacher: runs/t\n")
    found = config(f"distill --config {own}")
    assert found.terms == "ce+hinton" and found.hinton.weight == 2.0 and found.teacher == "runs/t"
    flat = file("hinton.weight: 3\n", "flat.yaml")
    assert config(f"distill ce+hinton --config {flat}").hinton.weight == 3.0
    with pytest.raises(InputError, match="unknown option --hinton.weight of penult distill: hinton is not among"):
        config(f"distill ce --config {own} --teacher x")
    run = tmp_path / "runs" / "student"
    run.mkdir(parents=True)
    stored = {"terms": "ce+hinton", "hinton.weight": 5.0, "hinton.temperature": 2.0, "epochs": 3.0, "student": "mlp"}
    (run / "config.json").write_text(json.dumps({"format": 2, "verb": "distill", "config": stored}))
    (run / "result.json").write_text("{}")
    found = config(f"distill --like {run}")
    assert found.hinton.weight == 5.0 and found.optimisation.epochs == 3.0 and found.student == "mlp"
    other = config(f"distill ce --like {run}")
    assert other.terms == "ce" and other.student == "mlp" and not hasattr(other, "hinton")


def test_words_by_their_places_come_from_a_file_where_they_are_not_given(file):
    own = file("model: runs/a\nkeep: 0.5\n")
    assert config(f"prune --config {own}") == config("prune runs/a --keep .5")
    assert config(f"prune --keep .2 runs/b --config {own}") == config("prune runs/b --keep .2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochss: 3", "unknown option --epochss of penult train classifier: did you mean --epochs"),
        ("batch: 3", "unknown option --batch of penult train classifier: did you mean --batch-size"),
        ("like: runs/a", "unknown option --like"),
        ("epochs: -3", "--epochs -3: expected a number above 0"),
        ("batch-size: 2.5", "--batch-size 2.5: expected a whole number"),
        ("epochs: many", "--epochs many: expected a number"),
        ("epochs: true", "--epochs True: expected a number"),
        ("epochs: [1, 2]", r"--epochs \[1, 2\]: expected a number above 0, .*and one value"),
        ("epochs:", "--epochs none: expected a number"),
        ("optimizer: adm", "unknown value of --optimizer 'adm': did you mean 'adam'"),
        ("head-bias: 1", "--head-bias 1: expected true or false"),
        ("lr: 2001-01-01", "--lr .*: expected a number"),
        ("lr: {a: 1}", "unknown option --lr.a"),
        ("head_bias: true\nhead-bias: true", "head-bias stands there twice"),
        ("epochs: 3\nseed: 1\nepochs: 4", "epochs stands there twice"),
        ("augment: &own {flip: *own}", "is nested too deeply"),
        ("3: 4", "3 is no name of a flag"),
        ("[1, 2]", r"expected names of flags with their values, as in epochs: 5; it holds \[1, 2\]"),
        ("", "it holds nothing"),
        ("a: [", "is no readable YAML at line 1"),
        ("arch: import:os:getcwd", "names import:os:getcwd, which is code: give --arch import:os:getcwd as well"),
        ("!!python/object/apply:os.getcwd []", "is no readable YAML at line 1: could not determine a constructor"),
    ],
)
def test_files_that_cannot_be_are_refused_in_a_line(file, text, said):
    path = file(text)
    with pytest.raises(InputError, match=said) as error:
        config(f"train classifier --config {path}")
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_flags_that_cannot_be_are_refused(file, trained, copied, tmp_path):
    twice = file('{"seed": 1, "seed": 2}', "two.json")
    for line, said in (
        ("--config", "--config has no value: expected a file that ends in .yaml"),
        ("--like --epochs 3", "--like has no value: expected a run's folder"),
        ("--like a --like b", "--like is given twice"),
        (f"--config {tmp_path}/none.yaml", "no file of settings at"),
        (f"--config {tmp_path}/none.toml", "expected a file of settings that ends in .yaml, .yml, .json"),
        (f"--config {file('{', 'cut.json')}", "is not a readable file of settings"),
        (f"--config {twice}", "seed stands there twice"),
        (f"--like {trained / 'clasifier'}", "unknown run .*did you mean"),
        (f"--like {trained / 'hvae'}", "was made by penult train hvae, expected a run of penult train classifier"),
        (f"--like {tmp_path}", "is not a run: it has no config.json"),
    ):
        with pytest.raises(InputError, match=said):
            config(f"train classifier {line}")
    run = copied("classifier")
    (run / "result.json").unlink()
    with pytest.raises(InputError, match="is not finished"):
        config(f"train classifier --like {run}")
    (run / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="is no run of penult: its config.json is another program's"):
        config(f"train classifier --like {run}")


def test_code_that_a_run_names_is_run_where_the_command_line_names_it(copied):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["config"]["arch"] = "import:never.given:made"
    (run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="give --arch import:never.given:made as well"):
        config(f"train classifier --like {run}")
    assert config(f"train classifier --like {run} --arch mlp").arch == "mlp"


def test_what_is_not_named_for_the_verb_is_left_alone():
    words = ["runs/a", "--json"]
    assert completed("evaluate", words) == words
    assert completed("train classifier", ["--name", "x"]) == ["--name", "x"]


def test_the_verbs_that_train_take_them():
    taking = {verb for verb in VERBS if verb.startswith("train ")} | {"distill", "prune"}
    taking |= {"analyse invert", "analyse discard", "analyse coherency"}
    from importlib import import_module

    assert {verb for verb, (module, _) in VERBS.items() if hasattr(import_module(module), "like")} == taking


def test_a_place_is_not_taken_but_snapshots_are(copied):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["config"]["snapshots"] = [0, 20]
    stored["command"] += ["--log-every", "7", "--tracker", "tensorboard"]
    (run / "config.json").write_text(json.dumps(stored))
    found = config(f"train classifier --like {run}")
    assert found.where == replace(config("train classifier").where, snapshots=(0, 20))


def test_what_is_wrong_with_a_setting_from_elsewhere_says_where_it_is_from(copied, trained, penult, file):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["config"]["patience"] = 3
    (run / "config.json").write_text(json.dumps(stored))
    said = penult("train", "classifier", "--like", run, *SMALL)
    assert said.status == 2 and said.err.count("\n") == 1 and "--patience counts validations" in said.err
    assert said.err.endswith(f" (--patience is from --like {run}, and --patience none leaves it out)\n")
    said = penult("train", "classifier", "--like", run, "--patience", "3", *SMALL)  # the command line says it itself
    assert said.status == 2 and "--patience counts validations" in said.err and "is from" not in said.err
    own = file(f"teacher: {trained / 'classifier'}")
    said = penult("distill", "ce", "--config", own, *SMALL)
    assert said.status == 2 and said.err.count("\n") == 1
    assert said.err.endswith(f"leave it out (--teacher is from --config {own}, and --teacher none leaves it out)\n")
