"""Arrays as people hand them over: NumPy's, torch tensors, nested lists; and what is wrong with their numbers, in words."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError
from neurofault.numerals import names_hint

_Record = TypeVar("_Record")


def dtype_of_hint(hint: object) -> np.dtype[Any] | None:
    """Return what the arrays of a type hint hold; None: it is no hint of an array.

    ``NDArray[np.int64]`` is another name of ``ndarray[…, dtype[np.int64]]``, and a type of its own from NumPy 2.5 on.

    >>> dtype_of_hint(NDArray[np.int32]), dtype_of_hint(tuple[int, ...])
    (dtype('int32'), None)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is not NDArray and origin is not np.ndarray:
        return None
    held: np.dtype[Any] = np.dtype(inner[0] if origin is NDArray else get_args(inner[1])[0])
    return held


def as_array(value: object, what: str) -> NDArray[np.generic]:
    """Return numbers as a NumPy array, without a copy where it can be avoided.

    Args:
        value: an array, a torch tensor of any device and type (bfloat16 becomes float32), or nested lists of numbers.
        what: its name, for the message.

    Raises:
        UsageError: it holds something else than booleans, integers or real numbers, or is a single number.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    try:
        array: NDArray[np.generic] = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{what}: a {type(value).__name__} is no array of numbers ({' '.join(str(error).split())})") from error
    if array.dtype.kind not in "buif":
        raise UsageError(
            f"{what}: an array or a tensor of numbers is taken, not {array.dtype} ({type(value).__name__}){names_hint(what) if _texts(array) else ''}"
        )
    if array.ndim == 0:
        raise UsageError(f"{what}: an array [N, …] is taken, not a single number")
    return array


def _texts(array: NDArray[Any]) -> bool:
    """Return whether an array holds texts."""
    return array.dtype.kind in "US" or (array.dtype.kind == "O" and all(isinstance(one, str) for one in array.flat))


def one_hot_hint(labels: NDArray[np.integer] | NDArray[np.floating]) -> str:
    """Return how labels become classes that hold one 1 in each row and 0 elsewhere; else nothing.

    >>> one_hot_hint(np.eye(3)[[0, 2, 2]])
    '; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them'
    >>> one_hot_hint(np.array([[0, 1, 1], [0, 0, 1]]))
    ''

    Args:
        labels: numbers of any shape.
    """
    found = labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all() and bool((labels.sum(axis=1) == 1).all())
    return "; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them" if found else ""


def as_labels(value: object, what: str = "labels") -> NDArray[np.int64]:
    """Return labels as int64.

    Raises:
        UsageError: they are not whole numbers.
    """
    array = as_array(value, what)
    if array.dtype.kind == "f" and not (np.all(np.isfinite(array)) and np.all(array == np.rint(array))):
        raise UsageError(f"{what} must be whole numbers: {not_finite(array) or f'{array.dtype} with fractions was given'}")
    if array.size and array.dtype.kind in "fu" and float(np.abs(array).max()) >= 2.0**63:
        raise UsageError(f"{what} must be whole numbers of 64 bits, and the largest is {np.abs(array).max():g}")
    return array.astype(np.int64, copy=False)


def not_finite(array: object) -> str | None:
    """Return what is not a finite number in an array and where the first stands; None if nothing is.

    >>> not_finite(np.array([[1.0, float("nan")], [float("inf"), 0.0]]))
    '2 of 4 values are not finite (the first: nan at [0, 1])'
    >>> not_finite(np.array([1, 2])) is None
    True
    """
    values = np.asarray(array)
    if values.dtype.kind != "f":
        return None
    finite = np.isfinite(values)
    if finite.all():
        return None
    at = tuple(int(each) for each in np.argwhere(~finite)[0]) if values.ndim else ()
    place = f" at [{', '.join(map(str, at))}]" if at else ""
    return f"{int(np.count_nonzero(~finite))} of {values.size} values are not finite (the first: {values[at]:g}{place})"


def within(array: NDArray[np.integer], low: int, high: int) -> bool:
    """Return whether every number of an array lies in low … high."""
    return not array.size or low <= int(array.min()) <= int(array.max()) <= high


def beyond(record: object, **ranges: tuple[float, float]) -> str | None:
    """Return which field of a record holds a number outside its range, ends included; None: none does.

    >>> from types import SimpleNamespace
    >>> beyond(SimpleNamespace(rate=70_000, bit=None), rate=(0, 65536), bit=(0, 31))
    'rate must be from 0 to 65536, is 70000'

    Args:
        record: has the fields: numbers, arrays of them, or None, which is left out.
        ranges: field → smallest and largest.
    """
    for name, (low, high) in ranges.items():
        value = getattr(record, name)
        if value is None or not np.size(value):
            continue
        least, most = (value.min(), value.max()) if isinstance(value, np.ndarray) else (value, value)
        if not (low <= least and most <= high):
            holds = "must hold numbers" if isinstance(value, np.ndarray) else "must be"
            return f"{name} {holds} from {low} to {high}, {'not' if isinstance(value, np.ndarray) else 'is'} {most if low <= least else least}"
    return None


def only(record: _Record, chosen: NDArray[np.bool_]) -> _Record:
    """Return a frozen record with some of its entries: of each field that is an array of the shape of ``chosen``, what bool [k] names."""
    arrays = {
        name: value[chosen] for name, value in vars(record).items() if isinstance(value, np.ndarray) and value.shape == chosen.shape
    }
    return replace(record, **arrays)  # type: ignore[type-var]  # every dataclass is taken; typeshed's own protocol for them is private
