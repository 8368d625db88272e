"""Processes that think they are on two machines."""

import json

PROGRAM = """
import contextlib, io, json, os, sys
import toys

rank, folder = int(os.environ["RANK"]), sys.argv[1]
os.environ["LOCAL_WORLD_SIZE"], os.environ["LOCAL_RANK"] = "1", "0"
os.makedirs(f"{folder}/{rank}")
os.chdir(f"{folder}/{rank}")
found = {}
for runs in ("runs", f"{folder}/shared"):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        words = ["--device", "cpu", "--threads", "1", "--batch-size", "12", "--epochs", "0.5", "--runs", runs]
        status = toys.penult("train", "toy", *words)
    found[runs] = [status, errors.getvalue()]
json.dump(list(found.values()), open(f"{folder}/found-{rank}.json", "w"))
"""


def test_a_folder_of_runs_that_they_do_not_share_is_refused(machine, tmp_path):
    """Nothing is left of the look; in one that they share they train, and the first writes all."""
    (tmp_path / "program.py").write_text(PROGRAM)
    ran = machine([tmp_path], program=tmp_path / "program.py", processes=2)
    assert ran["status"] == 0, ran["errors"]
    (refused, shared), (other_refused, other_shared) = (
        json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in range(2)
    )
    assert refused[0] == other_refused[0] == 2 and other_refused[1] == ""
    assert refused[1].startswith("penult: --runs runs: process 1 is on a machine that has another folder there; give")
    assert shared == other_shared == [0, ""]
    assert not list((tmp_path / "0").iterdir()) and not list((tmp_path / "1").iterdir())
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["plain"]
