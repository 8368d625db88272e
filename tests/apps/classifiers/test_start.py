"""How the weights of a training start, by the format of its run."""

import pytest
import toys
from accelerate import Accelerator

from apps.classifiers import training
from apps.classifiers.settings import ClassifierTraining
from apps.command.config import Data
from apps.runs.run import Run


@pytest.mark.parametrize(("arch", "format", "zero"), [("wrn-16-1", 2, True), ("wrn-16-1", 1, False), ("mlp", 2, False)])
def test_a_wide_resnets_head_starts_without_bias_in_runs_of_now(monkeypatch, tmp_path, arch, format, zero):
    monkeypatch.setattr(training, "train", lambda *, build, **_: {"bias": build().networks["model"].head.bias})
    config, run = ClassifierTraining(data=Data("toy"), arch=arch), Run(tmp_path / "run", format=format)
    made = training.train_on(config, run, Accelerator(cpu=True), toys.images(), toys.images(6, "test"), provenance={})
    assert bool((made["bias"] == 0).all()) == zero
