"""What an input population is shown: constant biases, or events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.brief import brief
from neurofault.errors import UsageError
from neurofault.numerals import plural


@dataclass(frozen=True, eq=False)
class Bias:
    """Constant currents of an input population.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> len(nf.Bias(np.array([[64, 0], [0, 64]], np.int32)))
    2

    Attributes:
        mantissa: int32 [N, n_in], bias mantissa of each neuron, constant during a sample; any integer type is taken.

    Raises:
        UsageError: other numbers, or another shape.
    """

    mantissa: NDArray[np.int32]

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "mantissa", _mantissas(self.mantissa))

    def __len__(self) -> int:
        return len(self.mantissa)

    def __getitem__(self, window: slice) -> Bias:
        return Bias(self.mantissa[window])

    def take(self, samples: NDArray[np.integer]) -> Bias:
        """Return some samples, by number, in this order.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> nf.Bias(np.array([[64, 0], [0, 64]], np.int32)).take(np.array([1])).mantissa.tolist()
        [[0, 64]]
        """
        return Bias(self.mantissa[samples])


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of an input population, as events: those of sample k are [starts[k], starts[k + 1]), by step, then by neuron.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> len(x), x.timesteps, x.size
    (2, 4, 2)

    Attributes:
        starts: int64 [N + 1], rising from 0.
        steps: int32 [E], 0 to T − 1.
        neurons: int32 [E], 0 to n_in − 1.
        timesteps: T.
        size: n_in.

    Raises:
        UsageError: events out of range or between whole numbers, out of order, or twice in a step (:meth:`of` sorts them and drops the
            second).
    """

    starts: NDArray[np.int64]
    steps: NDArray[np.int32]
    neurons: NDArray[np.int32]
    timesteps: int
    size: int

    __repr__ = brief

    def __post_init__(self) -> None:
        starts, steps, neurons = self.starts, self.steps, self.neurons
        for what, values in (("starts", starts), ("steps", steps), ("neurons", neurons)):
            _check_whole(what, values)
        if starts.ndim != 1 or not len(starts) or starts[0] < 0 or np.any(np.diff(starts) < 0) or starts[-1] > len(steps):
            raise UsageError(f"events: starts must rise from 0 to at most {len(steps)}, the number of events")
        if len(steps) != len(neurons):
            raise UsageError(f"events: {plural(len(steps), 'step')}, but {plural(len(neurons), 'neuron')}")
        for what, values, end in (("steps", steps, self.timesteps), ("neurons", neurons, self.size)):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < end:
                raise UsageError(f"events: {what} lie in {values.min()} … {values.max()}; allowed: 0 to {end - 1}")
        rises = (np.diff(steps) > 0) | ((steps[1:] == steps[:-1]) & (np.diff(neurons) > 0))
        rises[starts[(starts > 0) & (starts < len(steps))] - 1] = True
        if not rises[int(starts[0]) : max(int(starts[-1]) - 1, int(starts[0]))].all():
            raise UsageError("events must rise by step, then by neuron, each once in a step; Spikes.of sorts them")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, window: slice) -> Spikes:
        first, stop, stride = window.indices(len(self))
        if stride != 1:
            raise UsageError("samples of events are taken in one run: a slice without a step")
        stop = max(first, stop)
        begin, end = int(self.starts[first]), int(self.starts[stop])
        return _unchecked(
            self.starts[first : stop + 1] - begin, self.steps[begin:end], self.neurons[begin:end], self.timesteps, self.size
        )

    def take(self, samples: NDArray[np.integer]) -> Spikes:
        """Return some samples, by number, in this order.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> import numpy as np
        >>> x.take(np.array([1])).to_dense().sum(axis=1).tolist()
        [[0, 4]]
        """
        counts = np.diff(self.starts)[samples]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        place = np.repeat(self.starts[samples] - starts[:-1], counts) + np.arange(starts[-1])
        return _unchecked(starts, self.steps[place], self.neurons[place], self.timesteps, self.size)

    @classmethod
    def joined(cls, parts: list[Spikes]) -> Spikes:
        """Return the samples of several, one after the other; the list is emptied on the way, so that memory holds the events about once.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> len(nf.Spikes.joined([x, x]))
        4

        Args:
            parts: at least one, of equal steps and size.

        Raises:
            UsageError: their steps or sizes differ.
        """
        kinds = {(part.timesteps, part.size) for part in parts}
        if len(kinds) != 1:
            raise UsageError(f"events of {len(kinds)} kinds (steps, lines) cannot be joined: {sorted(kinds)}")
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        steps, neurons = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
        at = 0
        while parts:
            part = parts.pop(0)
            begin, end = int(part.starts[0]), int(part.starts[-1])
            here = slice(at, at + end - begin)
            steps[here], neurons[here] = part.steps[begin:end], part.neurons[begin:end]
            at = here.stop
        ((timesteps, size),) = kinds
        return _unchecked(starts, steps, neurons, timesteps, size)

    @property
    def nbytes(self) -> int:
        """Bytes of the events."""
        return self.starts.nbytes + self.steps.nbytes + self.neurons.nbytes

    @classmethod
    def of(
        cls,
        sample: NDArray[np.integer],
        step: NDArray[np.integer],
        neuron: NDArray[np.integer],
        *,
        samples: int,
        timesteps: int,
        size: int,
    ) -> Spikes:
        """Return events given in any order, [E] each; two of one neuron in one step are one spike.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> two = nf.Spikes.of(np.array([0, 1]), np.array([2, 0]), np.array([1, 0]), samples=2, timesteps=4, size=2)
        >>> two.to_dense().sum(axis=1).tolist()
        [[0, 1], [1, 0]]

        Raises:
            UsageError: samples, steps or neurons out of range, or no whole numbers.
        """
        if not len(sample) == len(step) == len(neuron):
            raise UsageError(
                f"events: {plural(len(sample), 'sample')}, {plural(len(step), 'step')} and {plural(len(neuron), 'neuron')}"
            )
        for what, values, end in (("samples", sample, samples), ("steps", step, timesteps), ("neurons", neuron, size)):
            _check_whole(what, values)
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < end:
                raise UsageError(f"events: {what} lie in {values.min()} … {values.max()}; allowed: 0 to {end - 1}")
        key = (sample.astype(np.int64) * timesteps + step.astype(np.int64)) * size + neuron.astype(np.int64)
        key = np.unique(key) if np.any(np.diff(key) <= 0) else key
        rest, neurons = np.divmod(key, size)
        which, steps = np.divmod(rest, timesteps)
        starts = np.searchsorted(which, np.arange(samples + 1)).astype(np.int64)
        return _unchecked(starts, steps.astype(np.int32), neurons.astype(np.int32), timesteps, size)

    @classmethod
    def dense(cls, events: object) -> Spikes:
        """Return the events of an array or torch tensor [N, T, n_in] of 0 and 1 (of any type).

        >>> import numpy as np
        >>> import neurofault as nf
        >>> nf.Spikes.dense(np.eye(4, dtype=bool)[None]).neurons.tolist()
        [0, 1, 2, 3]

        Raises:
            UsageError: other values or another shape.
        """
        array = _binary(events)
        samples, timesteps, size = array.shape
        places = np.flatnonzero(array)  # several times as fast as np.nonzero in three dimensions
        row, neuron = np.divmod(places, max(size, 1))
        starts = np.searchsorted(places, np.arange(samples + 1) * (timesteps * size)).astype(np.int64)
        return _unchecked(starts, (row % max(timesteps, 1)).astype(np.int32), neuron.astype(np.int32), timesteps, size)

    def to_dense(self) -> NDArray[np.bool_]:
        """Return bool [N, T, n_in].

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> x.to_dense().shape
        (2, 4, 2)
        """
        out = np.zeros((len(self), self.timesteps, self.size), bool)
        sample = np.repeat(np.arange(len(self)), np.diff(self.starts))
        here = slice(int(self.starts[0]), int(self.starts[-1]))
        out[sample, self.steps[here], self.neurons[here]] = True
        return out


def _check_whole(what: str, values: NDArray[np.generic]) -> None:
    """Refuse what would be cut off to whole numbers, and what is no array."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise UsageError(f"events: {what} are {kind}; an array of whole numbers is taken")


def _unchecked(
    starts: NDArray[np.int64], steps: NDArray[np.int32], neurons: NDArray[np.int32], timesteps: int, size: int
) -> Spikes:
    """Return events that are known to be in order, without looking at each again."""
    made = object.__new__(Spikes)
    for name, value in (("starts", starts), ("steps", steps), ("neurons", neurons), ("timesteps", timesteps), ("size", size)):
        object.__setattr__(made, name, value)
    return made


def _mantissas(given: object) -> NDArray[np.int32]:
    array = as_array(given, "bias")
    if array.dtype == np.int32:
        return array  # type: ignore[return-value]  # its type is this
    if array.dtype.kind not in "iu":
        raise UsageError(f"bias holds the integers of the chip, not {array.dtype}; Deployment.encode makes them of images")
    if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        raise UsageError(f"bias lies in {array.min()} … {array.max()}; allowed: 32-bit integers")
    return array.astype(np.int32)


def _binary(given: object) -> NDArray[np.bool_]:
    array = as_array(given, "events")
    if array.ndim != 3:
        raise UsageError(f"events have the shape {array.shape}; [N, T, n_in] is taken")
    if array.dtype == np.bool_:
        return array  # type: ignore[return-value]  # its type is this
    spikes: NDArray[np.bool_] = np.not_equal(array, 0)
    if not np.array_equal(spikes, array):
        lowest, highest = array.min(), array.max()
        raise UsageError(
            f"events: {not_finite(array) or f'values lie in {lowest:g} … {highest:g}'}; a line spikes or not in a step: 0 or 1. "
            "Of counts, pass events > 0"
        )
    return spikes
