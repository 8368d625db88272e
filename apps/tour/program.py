"""The program of `penult demo`: the whole path, or with --tour an idea of each paper after the other, on one page."""

import shlex
from pathlib import Path

from apps.command.console import say
from apps.command.launch import is_first
from apps.generators.whole_path import go_the_whole_path
from apps.generators.whole_path_settings import WholePath
from apps.recipes.expected import all_expected
from apps.report.contents import read_picture
from apps.report.page import is_page
from apps.runs.outputs import check_file
from apps.runs.run import Run
from apps.tour.page import GENERATOR, Shown, by_idea, page
from apps.tour.sentences import accuracy
from apps.tour.stops import STUDENTS, Step, stops
from apps.tour.students import draw_students
from apps.training.session import from_first
from priors.errors import InputError
from priors.files.regular import write_bytes

PAGE, PREFIX = "tour.html", "tour-"
"""The page in the folder of runs, and how the names of its runs begin."""


def demonstrate(config: WholePath) -> int:
    """Go the whole path, or on the tour; the exit status.

    Raises:
        InputError: a folder that holds something else, or images that cannot be had.
    """
    if not config.tour:
        go_the_whole_path(config)
        return 0
    return _tour(config)


def _tour(config: WholePath) -> int:
    """Go to all stops, those that are behind one excepted, and write the page."""
    out = config.place.runs / PAGE
    if is_first():
        check_file(out, (".html",), is_page(out, GENERATOR))
    every = stops(config)
    for number, stop in enumerate(every, 1):
        say(f"{number}/{len(every)}  {stop.title}")
        for step in stop.steps:
            status = _go(step, config)
            if status:
                return status
    if not is_first():
        return 0
    runs = config.place.runs
    _draw_students(runs)
    expected = by_idea(all_expected())
    shown = [
        Shown(
            stop,
            [f"penult {line(step, config)}" for step in stop.steps],
            read_picture(runs / stop.picture, stop.shows),
            stop.said(runs),
            expected.get(stop.key, []),
        )
        for stop in every
    ]
    write_bytes(out, page(shown, *_took(runs)).encode(errors="replace"))
    say(f"The tour is in {out}: open it in a browser. Runs: {runs}/{PREFIX}*.")
    return 0


def line(step: Step, config: WholePath) -> str:
    """A step's command as one types it after `penult`."""
    return step.line.format(runs=shlex.quote(str(config.place.runs))) + config.place.flags()


def _go(step: Step, config: WholePath) -> int:
    """Run a command that is not done, by its own verb; its exit status."""
    from apps.command.cli import main  # which imports no verb before it is called

    runs = config.place.runs

    def find() -> bool:
        """Whether it is done; what was stopped goes, to be made anew."""
        done = all((runs / product).is_file() for product in step.products)
        for draft in (path for pattern in step.drafts for path in runs.glob(pattern)):
            if not done:
                draft.unlink()
        return done

    if step.products and from_first(config.place.where(), find):
        return 0
    return main(shlex.split(line(step, config)))


def _draw_students(runs: Path) -> None:
    network = Run(runs / "tour-network")
    found = {name: accuracy(runs / run) for name, (run, _, _) in STUDENTS.items()}
    draw_students(runs / "tour-students.png", found, accuracy(network.folder), int(network.result()["test/images"]))


def _took(runs: Path) -> tuple[float | None, str]:
    """Seconds of all trainings of the tour, and the machine that the first was made on."""
    seconds, machine = [], "a machine that is not kept"
    for path in sorted(runs.glob(f"{PREFIX}*/config.json")):
        run = Run(path.parent)
        try:
            seconds.append(run.result().get("seconds"))
            environment = run.config().get("environment")
            machine = environment.get("machine", machine) if isinstance(environment, dict) else machine
        except InputError:
            return None, machine
    return (sum(seconds) if seconds and all(isinstance(one, int | float) for one in seconds) else None), machine
