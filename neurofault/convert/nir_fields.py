"""What the fields of a NIR file's nodes may hold, checked before any of them is used: finite numbers, whole sizes, no empty arrays.

A file may say anything: a threshold that is not a number, a stride of 0, a matrix without rows, an input of 10¹⁸ neurons. ``nir`` takes
these; each is refused here by node and field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import ConversionError, DataError
from neurofault.numerals import plural

MAX_NEURONS = 1 << 22
"""Neurons of one population, the padding of a convolution counted in."""
MAX_SYNAPSES = 1 << 28
"""Synapses into one population, a convolution's counted one by one."""
MAX_SIZE = 1 << 22
"""Largest size, stride, padding or dilation."""
MAX_NUMBER = 1e30
"""Largest weight, bias, threshold or constant."""

NirReset = Literal["zero", "subtract", "none", "snntorch-zero", "snntorch-subtract"]
"""What a spike does to ``v``: it becomes 0, loses the threshold, or stays, at once; or as snnTorch's neurons do it by default, a step later."""
NIR_RESETS: tuple[NirReset, ...] = get_args(NirReset)

_REAL = {
    "Affine": ("weight", "bias"), "Linear": ("weight",), "Scale": ("scale",), "Conv1d": ("weight", "bias"), "Conv2d": ("weight", "bias"),
    "Delay": ("delay",), "Threshold": ("threshold",), "IF": ("r", "v_threshold", "v_reset"), "I": ("r",),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"), "LI": ("tau", "r", "v_leak"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"), "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
}  # fmt: skip
_WHOLE = {
    "Conv1d": {"input_shape": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    "Conv2d": {"input_shape": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    "SumPool2d": {"kernel_size": 1, "stride": 1, "padding": 0}, "AvgPool2d": {"kernel_size": 1, "stride": 1, "padding": 0},
    "Input": {"shape": 1}, "Output": {"shape": 1}, "Flatten": {"input_type": 1, "start_dim": -8, "end_dim": -8},
}  # fmt: skip
"""Kind → field of whole numbers → the least that it may be."""
_KERNELS = ("Conv1d", "Conv2d")


def check_fields(where: str, name: str, node: Mapping[str, Any]) -> None:
    """Refuse a node whose fields are not what its kind needs.

    Args:
        where: file name, for messages.
        name: of the node.
        node: its fields, ``type`` among them.

    Raises:
        DataError: a field is of another type, empty, not finite, or out of range.
    """
    kind = str(node["type"])
    said = f"{where}: node {name!r} ({kind})"
    for field in _REAL.get(kind, ()):
        if field in node:
            _check_real(f"{said}: {field}", field, node[field])
    for field, least in _WHOLE.get(kind, {}).items():
        if field in node and not (kind in _KERNELS and isinstance(node[field], str) and node[field] in ("valid", "same")):
            _check_whole(f"{said}: {field}", node[field], least)
    if kind in _KERNELS and "groups" in node and "weight" in node:
        outputs, groups = len(np.atleast_1d(node["weight"])), int(np.asarray(node["groups"]).reshape(-1)[0])
        if outputs % groups:
            raise DataError(f"{said}: groups {groups} does not divide its {plural(outputs, 'channel')}")
    known = {"type", "metadata", "input_type", "output_type", *_REAL.get(kind, ()), *_WHOLE.get(kind, {})}
    for field, value in node.items():
        if isinstance(value, dict) and field in known - {"metadata"}:
            raise DataError(f"{said}: {field} is a group; numbers are expected")


def _check_real(said: str, field: str, value: Any) -> None:
    array = _numbers(said, value)
    if array.dtype.kind == "b":
        raise DataError(f"{said} holds true and false; numbers are expected")
    if not array.size:
        raise DataError(f"{said} has the shape {array.shape}: it is empty")
    wide = array.astype(np.float64)
    never = np.isposinf(wide) & (
        field in ("v_threshold", "threshold", "tau", "tau_mem", "r")
    )  # a neuron that never fires; one without a leak
    wrong = np.flatnonzero(~(np.abs(wide) <= MAX_NUMBER) & ~never)
    if wrong.size:
        found = wide.reshape(-1)[wrong[0]]
        reason = f"beyond ±{MAX_NUMBER:g}" if np.isfinite(found) else "not a finite number"
        raise DataError(f"{said} holds {found:g} at position {wrong[0]}: {reason}")


def _check_whole(said: str, value: Any, least: int) -> None:
    array = _numbers(said, value)
    if array.dtype.kind == "b" or not 1 <= array.size <= 8 or array.ndim > 1:
        raise DataError(f"{said} must be one to eight whole numbers, not {array.dtype} of shape {array.shape}")
    for number in array.reshape(-1).tolist():
        if not (least <= number <= MAX_SIZE and number == int(number)):
            raise DataError(f"{said} must be whole numbers from {least} to {MAX_SIZE:,}, holds {number}")


def _numbers(said: str, value: Any) -> NDArray[Any]:
    if isinstance(value, str | bytes | dict) or np.asarray(value).dtype.kind not in "biuf":
        raise DataError(f"{said} is {'a group' if isinstance(value, dict) else 'text'}; numbers are expected")
    return np.asarray(value)


@dataclass(frozen=True)
class Extent:
    """How large a value is, and how many synapses lead to it from the neurons before it, roughly; nothing is allocated for it.

    Attributes:
        shape: of a sample.
        root: values of the neurons (or inputs) that it is made of.
        fan: synapses of a value in the window of one value.
        reach, jump: (vertical, horizontal) window on these neurons, and its stride.
    """

    shape: tuple[int, ...]
    root: int
    fan: int = 1
    reach: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, where: str, what: str, shape: Sequence[int]) -> Extent:
        """Return that of neurons (ConversionError: too many)."""
        _refuse(where, what, "neurons", _product(shape), MAX_NEURONS)
        return cls(tuple(shape), _product(shape))

    def joined(self, other: Extent) -> Extent:
        """Return that of a sum of two values of one shape."""
        root, fan = max(self.root, other.root), max(self.fan, other.fan)
        reach, jump = ((max(a[0], b[0]), max(a[1], b[1])) for a, b in ((self.reach, other.reach), (self.jump, other.jump)))
        return Extent(self.shape, root, fan, reach, jump)

    def through(self, where: str, name: str, node: Any) -> Extent:
        """Return that of what a node without neurons makes of the value; shapes that do not fit are left to the conversion, which says it better.

        Args:
            where: file name, for messages.
            name: of the node.
            node: it.

        Raises:
            ConversionError: too many values or synapses to build; the text names the node and the number.
        """
        kind, shape, root, fan, reach, jump = type(node).__name__, list(self.shape), self.root, self.fan, self.reach, self.jump
        if kind in ("Affine", "Linear") and node.weight.ndim == 2:
            shape, fan, reach = [int(node.weight.shape[0])], root, (1, 1)
        elif kind in (*_KERNELS, "SumPool2d", "AvgPool2d") and len(shape) == (2 if kind == "Conv1d" else 3):
            window, stride, padding, dilation = window_of(node)
            size = [1, shape[1]] if kind == "Conv1d" else shape[1:]
            padded = [size[axis] + 2 * padding[axis] for axis in (0, 1)]
            _refuse(where, f"node {name!r} with its padding", "neurons", shape[0] * _product(padded), 4 * MAX_NEURONS)
            span = [dilation[axis] * (window[axis] - 1) for axis in (0, 1)]
            if any(span[axis] >= padded[axis] for axis in (0, 1)):
                raise ConversionError(
                    f"{where}: node {name!r}: {kind} with a window of {span[0] + 1} × {span[1] + 1} on {padded[0]} × {padded[1]} values"
                )
            if kind in _KERNELS:
                fan *= int(node.weight.shape[1])
                shape[0] = int(node.weight.shape[0])
            size = [(padded[axis] - span[axis] - 1) // stride[axis] + 1 for axis in (0, 1)]
            shape[1:] = size[1:] if kind == "Conv1d" else size
            reach = (reach[0] + span[0] * jump[0], reach[1] + span[1] * jump[1])
            jump = (jump[0] * stride[0], jump[1] * stride[1])
        elif kind == "Flatten":
            shape = [_product(shape)]
        _refuse(where, f"node {name!r}", "neurons", _product(shape), MAX_NEURONS)
        _refuse(where, f"node {name!r}", "synapses", _product(shape) * min(root, fan * _product(reach)), MAX_SYNAPSES)
        return Extent(tuple(shape), root, fan, reach, jump)


Pair = tuple[int, int]


def window_of(node: Any) -> tuple[Pair, Pair, Pair, Pair]:
    """Return window, stride, padding and dilation of a convolution or pooling, (vertical, horizontal) each; a 1-D one has height 1.

    ``same`` becomes the padding that it is; where both sides differ, that of the smaller side.
    """
    kind = type(node).__name__
    if kind not in _KERNELS:
        return _two(node.kernel_size), _two(node.stride), _two(node.padding), (1, 1)
    window, stride, dilation = (_both(kind, value) for value in (node.weight.shape[2:], node.stride, node.dilation))
    match padding_of(node):
        case str() as word if word != "same":
            padding = (0, 0)
        case str():
            padding = (dilation[0] * (window[0] - 1) // 2, dilation[1] * (window[1] - 1) // 2)
        case numbers:
            padding = (0, _two(numbers)[1]) if kind == "Conv1d" else _two(numbers)
    return window, stride, padding, dilation


def padding_of(node: Any) -> Any:
    """Return the padding of a convolution as it says it, a word as text."""
    return node.padding.decode() if isinstance(node.padding, bytes) else node.padding


def _both(kind: str, value: Any) -> Pair:
    return (1, _two(value)[1]) if kind == "Conv1d" else _two(value)


def _refuse(where: str, what: str, things: str, number: int, most: int) -> None:
    if number > most:
        raise ConversionError(f"{where}: {what} has {number:,} {things}; at most {most:,} can be built")


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= int(size)
    return total


def _two(value: Any) -> tuple[int, int]:
    flat = np.asarray(value).reshape(-1)
    return int(flat[0]), int(flat[-1])
