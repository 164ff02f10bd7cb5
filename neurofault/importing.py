"""Things of a user's own by name: what ``package.module:factory`` or ``file.py:factory`` makes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from neurofault.errors import NeurofaultError, UsageError, nearest

_SHOWN = 5
"""Most names that a message lists."""


def made_by(path: str, what: str, failed: type[NeurofaultError], otherwise: str) -> object:
    """Import a factory, call it, and return what it makes.

    Args:
        path: ``package.module:factory``, or ``file.py:factory``. The current folder is searched too.
        what: of which kind it is, ``network`` or ``data``, for messages.
        failed: raised where the factory itself raises.
        otherwise: what else could have been written, for the message.

    Raises:
        UsageError: no such module or factory.
        NeurofaultError: ``failed``.
    """
    module_name, _, factory_name = path.partition(":")
    if not module_name or not factory_name:
        raise UsageError(f"{what} {path!r}: write package.module:factory, or {otherwise}")
    module = _module(module_name, path, what)
    factory = getattr(module, factory_name, None)
    if factory is None:
        raise UsageError(f"{what} {path!r}: module {module_name} has no {factory_name!r}{_instead(module, factory_name)}")
    if not callable(factory):
        raise UsageError(
            f"{what} {path!r}: {factory_name} is {type(factory).__name__}, not a class or function that makes the {'module' if what == 'network' else what}"
        )
    try:
        made: object = factory()
    except Exception as error:  # the user's own code may raise anything; it is reported as theirs
        raise failed(f"{what} {path!r}: {factory_name}() raised {type(error).__name__}: {error}") from error
    return made


def _instead(module: ModuleType, name: str) -> str:
    """Return the nearest name of what a module itself defines and can be called; where none is near, all of them."""
    own = [
        each for each, value in vars(module).items() if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    return nearest(name, own) or (f"; it defines {', '.join(own[:_SHOWN])}" if own else "; it defines nothing that can be called")


def _module(name: str, path: str, what: str) -> ModuleType:
    """Import a user's module by its name, or from a file if the name is one.

    Raises:
        UsageError: there is none, or importing it fails.
    """
    file = Path(name if name.endswith(".py") else f"{name}.py")
    folder = Path.cwd()
    if name.endswith(".py") or "/" in name:
        if not file.is_file():
            raise UsageError(f"{what} {path!r}: there is no file {file}; write package.module:factory, or file.py:factory")
        folder, name = file.resolve().parent, file.stem
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = nearest(name, [each.stem for each in folder.glob("*.py")]) if error.name == name else ""
        raise UsageError(f"{what} {path!r}: {error}{here}; run where Python finds {name}, or set PYTHONPATH") from error
    except Exception as error:  # the user's own code may raise anything; it is reported as theirs
        raise UsageError(f"{what} {path!r}: importing {name} raised {type(error).__name__}: {error}") from error
    if folder != Path.cwd() and found.__file__ is not None and Path(found.__file__).resolve() != file.resolve():
        raise UsageError(f"{what} {path!r}: another module of the name {name} is loaded, from {found.__file__}; rename one of them")
    return found
