"""Completion of command lines: a script for a shell, by tyro, and the names that come next, looked up when asked for.

The script holds all verbs with their options and choices. What changes with the folder and the data (runs, data sets,
classifiers, terms, tables) it asks `penult completion names` for.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from tyro.extras import SubcommandApp

from apps.command.cli import VERBS, kind_of, verb_of
from apps.command.console import say
from apps.command.flags import parser_settings
from apps.command.launch import is_first
from apps.command.options import Option, options_of
from apps.command.ranges import Choices
from apps.command.settings import name_of
from apps.pretrained_models.finding import PREFIX, pretrained_names
from priors.errors import InputError

SHELLS = ("bash", "zsh", "fish")
_DATA = {"data", "against"}
_RUNS = {"run", "runs", "model", "models", "teacher", "prior", "classifier", "classify-by", "extractor", "against"}
_RUNS |= {"like", "init"}
_NETWORKS = {"arch", "student"}
_OF_TABLES = {"row", "column", "against", "terms"}
"""By what an option is called, what its value may be."""

_ASKING = {
    "bash": """
# Names that are looked up when they are asked for: runs, data sets, classifiers, terms, tables.
_penult_with_names() {
  _tyro_penult
  local word="${COMP_WORDS[COMP_CWORD]}" given IFS=$'\\n' all
  local -a found=()
  for given in "${COMPREPLY[@]}"; do [[ -n "$given" ]] && found+=("$given"); done
  COMPREPLY=("${found[@]}")
  [[ "$word" == -* ]] && return 0
  found=($("${COMP_WORDS[0]}" completion names -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ -n "$word" || ${#found[@]} == 0 ]] || COMPREPLY=()
  all="$IFS${COMPREPLY[*]}$IFS"  # what the script knows itself is not to stand there twice
  for given in "${found[@]}"; do [[ "$all" == *"$IFS$given$IFS"* ]] || COMPREPLY+=("$given"); done
  [[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$word"))
  return 0
}
complete -o filenames -F _penult_with_names penult
""",
    "zsh": """
# Names that are looked up when they are asked for: runs, data sets, classifiers, terms, tables.
if [[ "${words[CURRENT]}" != -* ]]; then
  local -a _penult_found
  _penult_found=("${(@f)$("${words[1]}" completion names -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a _penult_found
fi
""",
    "fish": """
# Names that are looked up when they are asked for: runs, data sets, classifiers, terms, tables.
function _penult_names
    set -l words (commandline -opc) (commandline -ct)
    $words[1] completion names -- $words[2..-1] 2>/dev/null
end
complete --command penult --arguments "(_penult_names)"
""",
}
"""What goes behind tyro's script, by shell."""
_IN_ONE_WORD = ('($python_cmd -c "$pycode" $words', '(printf %s "$pycode" | $python_cmd - $words')
"""For fish tyro hands over all that it knows as one word, and Linux refuses one of 128 KiB: it is piped instead."""


def complete(what: str, words: Sequence[str]) -> None:
    """Print the script of a shell, or the names that may come next.

    Args:
        what: a shell, or "names".
        words: of the command line so far, after `penult`; the last one is what is completed, and may be empty.

    Raises:
        InputError: words for a shell.
    """
    if what == "names":
        for name in names(words):
            say(name)
        return
    if words:
        raise InputError(f"penult completion {what} {' '.join(words)}: words are for names alone; leave them out")
    if is_first():
        sys.stdout.write(script(what))  # as it is: what `say` would write out is the shell's to read


def script(shell: str) -> str:
    """What a shell is to run for `penult` to be completed.

    Args:
        shell: bash, zsh or fish.
    """
    from distill.terms import terms

    app, groups = SubcommandApp(), {}
    for verb, (_, summary) in VERBS.items():
        words = ["+".join(terms())] if verb == "distill" else []
        group, _, name = verb.rpartition(" ")
        if group and group not in groups:
            groups[group] = SubcommandApp()
            app.command(groups[group], name=group)
        (groups[group] if group else app).command(kind_of(verb, words), name=name, help=summary)
    written = StringIO()
    with redirect_stdout(written), suppress(SystemExit):
        app.cli(prog="penult", args=["--tyro-print-completion", shell], **parser_settings())
    return written.getvalue().replace(*_IN_ONE_WORD) + _ASKING[shell]


def names(words: Sequence[str]) -> list[str]:
    """What may come next on a command line, of what is looked up: none where there is nothing to look up.

    Args:
        words: as for `complete`.
    """
    *before, begun = words or [""]
    if not before or begun.startswith("-"):
        return []
    try:
        verb, rest = verb_of(before)
    except InputError:
        return []
    option = _completed(options_of(kind_of(verb, ())), rest)
    if option is None:
        return []
    head = ""
    if verb == "distill" and not option.named:
        plus = begun.rfind("+") + 1
        head, begun = begun[:plus], begun[plus:]
    found = _known(option, verb, rest, begun)
    return [head + name for name in dict.fromkeys(found) if name.startswith(begun)]


def _completed(options: Sequence[Option], words: Sequence[str]) -> Option | None:
    """The option that the word after these is a value of, or which word without a flag it is."""
    flags = {spelling: option for option in options if option.named for spelling in option.spellings}
    places = iter([option for option in options if not option.named])
    place, open_, left = next(places, None), None, 0
    for word in words:
        if word.startswith("--"):
            flag, equals, _ = word.partition("=")
            open_ = flags.get(flag.replace("_", "-"))
            left = 0 if equals or open_ is None or open_.switch else open_.count or len(words) + 1
        elif left:
            left -= 1
        elif place is not None and not place.several:
            place = next(places, None)
    return open_ if left else place


def _known(option: Option, verb: str, words: Sequence[str], begun: str) -> list[str]:
    """All that its value may be, of what can be looked up."""
    name = name_of(option)
    if isinstance(option.rule, Choices):
        return list(option.rule.names)
    if name == "runs" and option.named:  # the folder that they are in
        return []
    if verb == "table" and (not option.named or name in _OF_TABLES):
        return _of_tables(name, words)
    found: list[str] = []
    sources: Mapping[str, tuple[set[str], Callable[[], list[str]]]] = {
        "data sets": (_DATA, _data_sets),
        "runs": (_RUNS, lambda: _runs(words, begun)),
        "networks": (_NETWORKS, _networks),
        "terms": ({"terms"}, _terms),
    }
    for of, look in sources.values():
        found += look() if name in of else []
    return found


def _data_sets() -> list[str]:
    from apps.data.sources.catalogue import DATASETS

    return list(DATASETS)


def _networks() -> list[str]:
    from priors.zoo.catalogue import catalogue

    return [entry.name for entry in catalogue()]


def _terms() -> list[str]:
    from apps.distilling.listing import terms_by_file

    return [name for name, _ in terms_by_file()]


def _runs(words: Sequence[str], begun: str) -> list[str]:
    """Folders of runs: among the runs, and in the folder that the word begins with; and what comes with the package."""
    given = next((after for word, after in zip(words, words[1:], strict=False) if word == "--runs"), "runs")
    places = dict.fromkeys([Path(given), *([Path(begun.rpartition("/")[0] or "/")] if "/" in begun else [])])
    found = [str(path.parent) for place in places for path in sorted(place.glob("*/config.json"))]
    return found + [f"{PREFIX}{name}" for name in pretrained_names()]


def _of_tables(name: str, words: Sequence[str]) -> list[str]:
    from apps.recipes.table import papers, tables

    if name == "paper":
        return list(papers())
    paper = next((word for word in words if word in papers()), None)
    found = {} if paper is None else tables(paper)
    if name == "number":
        return list(found)
    recipe = next((found[word] for word in words if word in found), None)
    if recipe is None:
        return []
    known = () if recipe.choosing is None else recipe.choosing.known
    return list({"column": recipe.columns, "terms": known}.get(name, recipe.rows))
