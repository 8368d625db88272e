"""What the rooms of apps offer to one another by a module's name, so that nobody below has to import them.

A method that adds a kind of thing (a model that runs hold, a task that a concentration can be chosen for) has a module
of an agreed name in its own room. It is found by that name when it is asked for.
"""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import apps


@cache
def offered(name: str) -> tuple[ModuleType, ...]:
    """The modules of that name in all rooms, in the order of the rooms' names.

    Args:
        name: such as "kinds": `apps/generators/kinds.py` and its like in other rooms.
    """
    rooms = sorted(module.name for module in pkgutil.iter_modules(apps.__path__) if module.ispkg)
    places = [f"{apps.__name__}.{room}.{name}" for room in rooms]
    return tuple(import_module(place) for place in places if find_spec(place) is not None)
