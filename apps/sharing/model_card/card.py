"""The whole model card."""

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from apps.command.console import counted
from apps.command.own_code import allowing
from apps.sharing.model_card.about import about, limitations
from apps.sharing.model_card.front_matter import front_matter
from apps.sharing.model_card.markdown import code, folded, items, table, text
from apps.sharing.model_card.scores import Group, Score, evaluated, trained
from priors.model.provenance import PAPERS

_MOST_LISTED = 20
_FILES = {
    "model.safetensors": "the weights; with a class prior, its tensors are among them",
    "model.json": "how to build the model",
    "config.json": "the settings, versions and command of its training",
    "result.json": "what the training came to",
    "evaluation.json": "scores with their protocols",
    "samples.png": "the samples above",
}
_UNITS = {
    "classifier": ("Cross-entropies are in nats an image.",),
    "hvae": ("Likelihoods and their parts are means in nats an image; ±: the standard error over the images.",),
    "sngan": ("Deviations are over the chunks, splits or subsets of the protocol.",),
}
_CITATION = """@inproceedings{seo2021penultimate,
  title     = {On The Distribution of Penultimate Activations of Classification Networks},
  author    = {Seo, Minkyo and Lee, Yoonho and Kwak, Suha},
  booktitle = {Proceedings of the Thirty-Seventh Conference on Uncertainty in Artificial Intelligence},
  series    = {Proceedings of Machine Learning Research},
  volume    = {161},
  pages     = {1141--1151},
  year      = {2021}
}"""


@dataclass(frozen=True)
class Grid:
    """The picture of samples."""

    classes: int | None
    """How many of the classes it shows, a row each; None of an unconditional model."""
    n: int
    """Images a class; of an unconditional model, in all."""
    seed: int
    """Of the draws."""

    @property
    def flags(self) -> str:
        """What `penult sample` is told to draw it."""
        labels = (
            "" if self.classes is None else "--labels 0 " if self.classes == 1 else f"--labels 0-{self.classes - 1} "
        )
        return f"{labels}--n {self.n} --seed {self.seed} --out samples.png"


@dataclass(frozen=True)
class Card:
    """All that a card is made of; JSON is that of the exported files."""

    name: str
    """The model's."""
    repository: str | None
    """OWNER/NAME on the Hub, where it goes there."""
    licence: str | None
    """Of the weights, by the Hub's identifier."""
    model: Any
    """Loaded."""
    described: dict[str, Any]
    """model.json."""
    stored: dict[str, Any]
    """config.json."""
    result: dict[str, Any]
    """result.json."""
    evaluations: tuple[dict[str, Any], ...]
    """evaluation.json."""
    grid: Grid | None
    """Of a generator's samples."""

    @property
    def kind(self) -> str:
        """What the run holds: "classifier", or a generator by its name."""
        return str(self.described.get("model", "classifier"))

    @property
    def own_code(self) -> str:
        """The code of its author's own that makes its network; empty where there is none."""
        return str((self.described.get("wrapped") or {}).get("code") or "")

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the training."""
        return self.stored["config"]


def card(exported: Card) -> str:
    """The text of README.md."""
    kind, config, model, result = exported.kind, exported.config, exported.model, exported.result
    prior = exported.described.get("prior")
    scores, groups = evaluated(exported.evaluations)
    scores += trained(config, result, kind)
    top = front_matter(
        exported.name,
        kind,
        conditional=exported.grid is not None and model.conditional,
        vmf=kind == "classifier" or isinstance(prior, dict) or getattr(model, "posterior", "") == "vmf",
        data=str(config.get("data")),
        licence=exported.licence,
        evaluations=exported.evaluations,
        result=result,
    )
    parts = [f"# {text(exported.name)}", about(kind, model, exported.described)]
    if exported.grid is not None:
        parts += ["![Samples](samples.png)", _samples(exported, exported.grid)]
    parts += ["## How to load it", _loading(exported), "## Classes", _classes(model.class_names)]
    parts += ["## Scores", *_scores(kind, scores, groups), "## Training", *_training(exported)]
    if isinstance(prior, dict):
        parts += ["## The class prior", _prior(exported, prior)]
    scored = bool(exported.evaluations) or any("test images" in score.protocol for score in scores)
    parts += ["## Limitations", items(limitations(kind, config, scored, bool(result.get("best"))))]
    parts += ["## Files", _files(exported), "## Citation", _citation()]
    return f"---\n{top}---\n\n" + "\n\n".join(parts) + "\n"


def _samples(exported: Card, grid: Grid) -> str:
    again = f"`penult sample {shlex.quote(exported.name)} {grid.flags}`"
    classes = len(exported.model.class_names)
    rows = ""
    if grid.classes is not None:
        rows = " A row a class" + (f", the first {grid.classes} of {classes}." if grid.classes < classes else ".")
    return f"Samples as they come, none picked.{rows} They are those of {again}."


def _loading(exported: Card) -> str:
    model, source = exported.model, json.dumps(exported.repository or exported.name, ensure_ascii=False)
    own = exported.own_code
    allow = f", allow={json.dumps(own, ensure_ascii=False)}" if own else ""
    if exported.grid is None:
        shape = ", ".join(map(str, model.image_shape or (3, 224, 224)))
        use = f"logits = from_pretrained({source}{allow})(torch.rand(1, {shape}))  # images in [0, 1]"
        shell = f"penult evaluate {shlex.quote(exported.name)}{allowing(own, str(exported.config.get('data')))}"
    else:
        labels = f"torch.arange({len(model.class_names)})" if model.conditional else "torch.zeros(8, dtype=torch.int64)"
        what = "one a label" if model.conditional else "as many as there are zeros"
        use = f"images = from_pretrained({source}).generate({labels})  # in [0, 1], {what}"
        shell = f"penult sample {shlex.quote(exported.name)} {exported.grid.flags}"
    if exported.repository:
        shell = f"hf download {exported.repository} --local-dir {shlex.quote(exported.name)} && {shell}"
    where = "from the Hub (huggingface_hub installed)" if exported.repository else "from the folder that holds this one"
    python = f"import torch\nfrom apps.pretrained import from_pretrained\n\n{use}"
    needed = ""
    if own:
        needed = (
            f"The network is made by its author's own code, `{text(own)}`, which is not in this folder. It has to be "
            "among what Python can import, and is run only where you name it, as below.\n\n"
        )
    return (
        f"{needed}In Python, with penult installed, {where}; only JSON and safetensors are read:\n\n"
        f"{code(python, 'python')}\n\n"
        f"In a shell, where this folder is a MODEL for every verb of penult:\n\n{code(shell, 'sh')}"
    )


def _classes(names: tuple[str, ...]) -> str:
    if list(names) == [str(number) for number in range(len(names))]:
        return f"{len(names)}, called by their labels, {names[0]} to {names[-1]}."
    listed = table(("label", "class"), enumerate(names), numbers=(0,))
    return listed if len(names) <= _MOST_LISTED else folded(f"{len(names)} classes", listed)


def _scores(kind: str, scores: list[Score], groups: list[Group]) -> list[str]:
    """A table a protocol, which is said once above it: it would be the longest cell of every row."""
    parts = []
    for said in dict.fromkeys(score.protocol for score in scores):
        rows = [(score.name, score.value) for score in scores if score.protocol == said]
        on = "On" if re.match(r"\d|the first|test|an? ", said) else "By"
        parts += [f"{on} {text(said)}:", table(("score", "value"), rows, numbers=(1,))]
    parts += _UNITS.get(kind, ()) if scores else ()
    return parts + [_group(group) for group in groups] or ["None: the run holds no scores."]


def _group(group: Group) -> str:
    listed = table(("", text(group.name)), group.values, numbers=(1,))
    return folded(f"{text(group.name)}: {text(group.protocol)}", listed)


def _training(exported: Card) -> list[str]:
    stored, config, result = exported.stored, exported.config, exported.result
    words = [str(word) for word in stored.get("command") or ()]
    environment = stored.get("environment") if isinstance(stored.get("environment"), dict) else {}
    rows = [
        ("made by", f"penult {stored.get('verb')}"),
        ("data set", config.get("data")),
        ("digest of the data", config.get("data_digest", "not stored")),
        *environment.items(),
        *((name, result[name]) for name in ("steps", "epochs", "seconds") if name in result),
        ("exported by", f"penult {stored['export']['penult']}"),
    ]
    settings = [(name, "unset" if value is None else _setting(value)) for name, value in config.items()]
    average = config.get("ema")
    of = f"the moving average, of decay {average} a step, of the weights" if average else "the weights"
    chosen = bool(result.get("best"))
    step = result.get("best step" if chosen else "steps")
    when = ("" if step is None else f" after {counted(step, 'update')}") + ", chosen by the validations" * chosen
    parts = [code(f"penult {shlex.join(words)}", "sh")] if words else []
    parts += [
        f"`model.safetensors` holds {of}{when}.{_rounded(stored['export'])}",
        table(("", ""), rows),
        folded("All settings", table(("setting", "value"), settings)),
    ]
    return parts


def _rounded(export: dict[str, Any]) -> str:
    dtype = export.get("rounded") or export.get("dtype")
    if dtype in (None, "float32"):
        return ""
    return (
        f" Its matrices and filters are rounded to {dtype}, and float32 again where it is loaded. Scores after the "
        "training, and after its last step, are of the weights before that; evaluations are of these."
    )


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _prior(exported: Card, prior: dict[str, Any]) -> str:
    config, learnt = exported.config, exported.described.get("learn") or ()
    rows = [
        ("classifier", prior.get("network")),
        ("trained on", prior.get("dataset")),
        ("concentration", prior.get("concentration")),
        ("gauge (space, directions)", prior.get("gauge")),
        ("given as", config.get("classifier")),
        ("digest of the prior", config.get("prior_digest", None if learnt else "not stored")),
    ]
    papers = prior.get("gauge", PAPERS) == PAPERS
    directions = "the weights' directions are the mean directions" if papers else "see its gauge for the directions"
    begin = f"One von Mises-Fisher distribution a class, read off a classifier's final layer: {directions}."
    if learnt:
        begin = (
            f"One von Mises-Fisher distribution a class. Its {' and '.join(learnt)} were learnt with the model"
            + (_span(exported.result.get("concentrations")) if "concentrations" in learnt else "")
            + "; before the training it was this:"
        )
    return f"{begin}\n\n{table(('', ''), [row for row in rows if row[1] is not None])}"


def _span(concentrations: Any) -> str:
    """Where learnt concentrations came to, as far as that is stored."""
    stored = concentrations.values() if isinstance(concentrations, dict) else ()
    values = [value for value in stored if isinstance(value, float)]
    return f" (concentrations of {min(values):.4g} to {max(values):.4g})" if values else ""


def _files(exported: Card) -> str:
    there = dict(_FILES)
    if not exported.evaluations:
        del there["evaluation.json"]
    if exported.grid is None:
        del there["samples.png"]
    return (
        f"{table(('file', 'what it holds'), there.items())}\n\n"
        "Of paths on the machine of the training only the last part was kept, as `./NAME`."
    )


def _citation() -> str:
    return (
        "The model follows [On The Distribution of Penultimate Activations of Classification "
        f"Networks](https://arxiv.org/abs/2107.01900) (Seo, Lee and Kwak, 2021):\n\n{code(_CITATION, 'bibtex')}"
    )
