"""The structure of the sources in numbers, read from their imports: `python tests/house.py [FOLDER]`.

It prints, for each package, how many files stand loose in it and how many rooms (folders) it has; and for all of them
how many floors the rooms take when each stands above all that it imports, the circles among files, and the arrows.
Imports inside functions and those for type checking count like any other.
"""

import ast
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("priors", "analysis", "distill", "apps")
Arrows = Mapping[str, frozenset[str]]
"""By name of a file or a room, all that it imports."""


def modules(root: Path) -> dict[str, Path]:
    """The files of the packages by the name that they are imported by; a package's own file by the package's."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """A file as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def named(path: Path) -> set[str]:
    """Dotted names of all that a file imports, with the names taken from it: `a.b` and `a.b.c` of `from a.b import c`.

    Modules that are imported by a string count where the string stands in the call.
    """
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            literal = node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
            if name in ("import_module", "__import__") and literal:
                found.add(node.args[0].value)
    return found


def arrows(root: Path) -> dict[str, frozenset[str]]:
    """By file, the files of the packages that it imports.

    Importing a file of a package is no import of what the package's own file exports.
    """
    known = modules(root)
    found = {}
    for name, path in known.items():
        given = named(path)
        hit = {one for one in given if one in known}
        inside = {one for one in hit if any(other.startswith(f"{one}.") for other in hit)}
        taken = {one for one in inside if any(_exported(one, other, known) for other in given)}
        found[name] = frozenset(hit - (inside - taken) - {name})
    return found


def _exported(package: str, name: str, known: Mapping[str, Path]) -> bool:
    """Whether a dotted name is one that a package's own file gives, and no file in it."""
    return name.rpartition(".")[0] == package and name not in known


def room(name: str) -> str:
    """The room of a file: its folder below the package; a loose file is a room of its own."""
    parts = name.split(".")
    return ".".join(parts[:2])


def between_rooms(files: Arrows) -> dict[str, frozenset[str]]:
    """By room, the other rooms that its files import."""
    found: dict[str, set[str]] = {room(name): set() for name in files}
    for name, others in files.items():
        found[room(name)] |= {room(other) for other in others} - {room(name)}
    return {name: frozenset(others) for name, others in found.items()}


def circles(arrows: Arrows) -> list[tuple[str, ...]]:
    """The sets of files, or of rooms, that import one another in a circle, directly or by others (Tarjan, 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            start = stack.index(name)
            if len(stack) - start > 1:
                found.append(tuple(sorted(stack[start:])))
            del stack[start:]

    for name in sorted(arrows):
        if name not in number:
            visit(name)
    return sorted(found)


def floors(arrows: Arrows) -> dict[str, int]:
    """By file or room, its floor: 0 where it imports none, else one above the highest of all that it imports.

    What is in a circle stands on the floor of the whole circle.
    """
    together = {name: circle for circle in circles(arrows) for name in circle}

    @cache
    def floor(name: str) -> int:
        circle = together.get(name, (name,))
        below = {other for one in circle for other in arrows[one]} - set(circle)
        return 1 + max(map(floor, below), default=-1)

    return {name: floor(name) for name in arrows}


def _of_apps(room: str) -> bool:
    return room.startswith("apps.")


def main(root: Path) -> None:
    """Print the numbers."""
    files = arrows(root)
    rooms = between_rooms(files)
    print(f"{'package':<10} {'files':>5} {'loose':>5} {'rooms':>5}")
    for package in PACKAGES:
        own = [path for path in modules(root).values() if path.relative_to(root).parts[0] == package]
        loose = [path for path in own if path.parent == root / package and not path.stem.startswith("__")]
        folders = {path.relative_to(root).parts[1] for path in own if len(path.relative_to(root).parts) > 2}
        print(f"{package:<10} {len(own):>5} {len(loose):>5} {len(folders):>5}")
    standing = floors(rooms)
    print("\nrooms             all   of apps alone")
    of_apps = {name: frozenset(filter(_of_apps, others)) for name, others in rooms.items() if _of_apps(name)}
    for what, count in (
        ("rooms", len),
        ("floors", lambda arrows: 1 + max(floors(arrows).values())),
        ("arrows", lambda arrows: sum(map(len, arrows.values()))),
    ):
        print(f"{what:<14} {count(rooms):>6} {count(of_apps):>15}")
    print(f"\narrows between files: {sum(map(len, files.values()))}")
    for kind, found in (("files", circles(files)), ("rooms", circles(rooms))):
        print(f"circles of {kind}: {len(found)}")
        for circle in found:
            print(f"  {', '.join(circle)}")
    if "-v" in sys.argv:
        for height in range(1 + max(standing.values()), 0, -1):
            print(f"\nfloor {height - 1}")
            for name in sorted(one for one in rooms if standing[one] == height - 1):
                print(f"  {name} -> {', '.join(sorted(rooms[name])) or 'nothing'}")


if __name__ == "__main__":
    main(Path(next((word for word in sys.argv[1:] if word != "-v"), Path(__file__).parents[1])).resolve())
