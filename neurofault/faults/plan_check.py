"""What the parts of a plan file may hold: a stored edit becomes a record only if every field has its type, length and range."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import dtype_of_hint
from neurofault.damage.damage import Detour, LearningDefect, NeuronEdit, Stall
from neurofault.damage.edits import EDITS, Edit, mistake
from neurofault.damage.synapse_edits import Drop, SingleSynapses
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.errors import nearest
from neurofault.numerals import plural

R = TypeVar("R")

_RANGES: Mapping[str, tuple[float, float]] = {"probability": (0, 1), "level": (0, 1)}
"""Fields whose range is narrower than that of their type."""
_PLAIN: Mapping[Any, str] = {
    str: "text",
    int: "a whole number (int)",
    float: "a finite number",
    bool: "True or False",
    type(None): "None",
}
"""Plain types in words."""


def record(kind: type[R], stored: Mapping[str, Any]) -> R:
    """Return a record of one of the kinds that a plan holds.

    Args:
        kind: a frozen dataclass.
        stored: name of a field → plain value or array.

    Raises:
        ValueError: a field is missing or unknown, or not what the record says of it.
    """
    hints = get_type_hints(kind)
    if unknown := set(stored) - set(hints):
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    for name, value in stored.items():
        if not _fits(hints[name], value):
            raise ValueError(
                f"{kind.__name__}: {name} must be {_wanted(kind, name, hints)}, is {_given(value)}{_nearest(hints[name], value)}"
            )
        if kind.__name__ not in EDITS and not _in_range(name, value):
            raise ValueError(f"{kind.__name__}: {name} is out of range")
    made = kind(**stored)
    if isinstance(made, When):
        _check_when(made)
    elif kind.__name__ in EDITS:
        _check_edit(kind.__name__, made)  # type: ignore[arg-type]  # its kind is one of an edit
    return made


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of a type hint."""
    if (held := dtype_of_hint(hint)) is not None:
        return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == held
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(one, value) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(inner[0], one) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(isinstance(key, str) and _fits(inner[1], one) for key, one in value.items())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is hint or (hint is not int and hint is not bool and isinstance(value, hint))


def _wanted(kind: type, name: str, hints: Mapping[str, Any]) -> str:
    """Return in words what a field of a record may hold."""
    words = _words(hints[name])
    arrays = [one for one, hint in hints.items() if dtype_of_hint(hint) is not None]
    if (
        kind.__name__ in EDITS
        and name not in arrays[:1]
        and name != "when"
        and "array of" in words
        and not (kind is Drop and name == "targets")
    ):
        return words.removesuffix(" or None") + f", as many as {arrays[0]}" + (", or None" if words.endswith(" or None") else "")
    return words


def _words(hint: Any) -> str:
    """Return a type hint in words."""
    if (held := dtype_of_hint(hint)) is not None:
        return f"a one-dimensional array of {held}"
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        return f"a tuple, each entry {_words(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a dict of text, each value {_words(inner[1])}"
    return _PLAIN.get(hint) or (hint.__name__ if isinstance(hint, type) else str(hint))


def _given(value: Any) -> str:
    """Return in words what stands in a field."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return f"{value!r:.40} ({type(value).__name__})"


def _nearest(hint: Any, value: Any) -> str:
    """Return the nearest of the words that a field may hold, as :func:`neurofault.errors.nearest` says it."""
    return nearest(value, get_args(hint)) if get_origin(hint) is Literal and isinstance(value, str) else ""


def _in_range(name: str, value: Any) -> bool:
    low, high = _RANGES.get(name, (0, 1 << 64))
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return finite and (not value.size or bool(low <= value.min() and value.max() <= high))
    if isinstance(value, tuple):
        return all(_in_range(name, one) for one in value)
    if isinstance(value, Mapping):
        return all(_in_range(name, one) for one in value.values())
    return not isinstance(value, int | float) or low <= value <= high


def _check_when(when: When) -> None:
    if when.stop is not None and when.stop <= when.start:
        raise ValueError(f"stop {when.stop} does not come after start {when.start}")
    if when.period is not None and not 1 <= when.on <= when.period:
        raise ValueError(f"{when.on} active steps of a cycle of {when.period}")
    if max(when.start, when.stop or 0, when.period or 0) >= 1 << 62:
        raise ValueError("a step beyond 62 bits")


def _check_edit(kind: str, edit: Edit) -> None:
    if (problem := mistake(edit)) is not None:
        raise ValueError(f"{kind}: {problem}")
    for name, value in vars(edit).items():
        ids = name in ("core", "cores", "neurons", "sources", "targets", "destinations")
        if ids and np.size(value) and int(np.min(value)) < 0:
            raise ValueError(f"{kind}: {name} must be numbers from 0, not {int(np.min(value))}")
        if isinstance(value, np.ndarray) and (name == "neurons" or kind == "Drop") and np.any(np.diff(value) <= 0):
            raise ValueError(f"{kind}: {name} are not sorted, or one stands there twice")
    if isinstance(edit, SingleSynapses):
        pairs = np.stack([edit.sources, edit.targets], axis=1)
        if len(np.unique(pairs, axis=0)) < len(pairs):
            raise ValueError(f"{kind}: a synapse stands there twice")


def missing(deployment: Deployment, edit: Edit) -> str | None:
    """Return which population, connection or neuron of an edit a chip does not have; None: it has them all."""
    if isinstance(edit, Stall | Detour):
        return None
    if isinstance(edit, NeuronEdit):
        return _without(deployment, edit.population, edit.neurons)
    known = [one.name for one in deployment.connections]
    if edit.connection not in known:
        return f"it hits connection {edit.connection!r}, but here connections are {', '.join(known) or 'none'}"
    own = deployment.connection(edit.connection)
    if isinstance(edit, LearningDefect):
        return _without(deployment, own.target, edit.neurons)
    return _without(deployment, own.target, edit.targets) or _without(deployment, own.source, edit.sources)


def _without(deployment: Deployment, population: str, neurons: NDArray[np.int64]) -> str | None:
    known = [one.name for one in deployment.populations]
    if population not in known:
        return f"it hits layer {population!r}, but here layers are {', '.join(known)}"
    size = deployment.population(population).size
    if neurons.size and not 0 <= int(neurons.min()) <= int(neurons.max()) < size:
        beyond = int(neurons.min() if neurons.min() < 0 else neurons.max())
        return f"it hits neuron {beyond} of layer {population!r}, but here that has {plural(size, 'neuron')}, 0 to {size - 1}"
    return None
