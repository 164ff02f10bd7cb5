"""What is presented to a chip: biases of input neurons, or their spikes; and the state that a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.brief import brief
from neurofault.errors import UsageError, nearest


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
        """Return some samples, by number, in this order."""
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
            raise UsageError(f"events: {len(steps)} steps, but {len(neurons)} neurons")
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
            raise UsageError(f"events: {len(sample)} samples, {len(step)} steps and {len(neuron)} neurons")
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


ONLY = ""
"""Stands for the name of the only input population."""


class Inputs:
    """Encoded samples: what every engine receives.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> nf.Inputs(events=x).named(chip.inputs).of("eyes") is x
    True

    Attributes:
        parts: input population → what is presented to it; the name ``""`` is that of the only one.
        first_sample: index of sample 0 in the whole data set, for faults that are random in time.

    Args:
        bias: int [N, n_in], bias mantissas of the only input population; or name → such an array.
        events: its spikes: :class:`Spikes`, or 0 and 1 as an array or torch tensor [N, T, n_in]; or name → such spikes.
        first_sample: see above.
        samples: how many, at least 1, of a network without an input (its biases drive it); else None.

    Raises:
        UsageError: nothing is given, one population twice, other numbers than these, or different numbers of samples.
    """

    parts: Mapping[str, Bias | Spikes]

    __repr__ = brief

    def __init__(
        self,
        bias: object | Mapping[str, object] | None = None,
        events: object | Mapping[str, object] | None = None,
        first_sample: int = 0,
        *,
        samples: int | None = None,
    ) -> None:
        if samples is not None:
            if bias is not None or events is not None:
                raise UsageError("Inputs takes samples where there is no input only: what is presented has its number of samples")
            self.parts, self.first_sample, self._samples = {}, first_sample, _how_many(samples)
            return
        if not _given(bias) and not _given(events):
            raise UsageError("Inputs takes either bias or events; for a network without an input, samples")
        biases = bias if isinstance(bias, Mapping) else {} if bias is None else {ONLY: bias}
        spikes = events if isinstance(events, Mapping) else {} if events is None else {ONLY: events}
        if ONLY in biases and ONLY in spikes:
            raise UsageError("Inputs takes either bias or events")
        if both := sorted(set(biases) & set(spikes)):
            raise UsageError(f"input {both[0]!r} has both bias and events; it takes either")
        self.parts = {
            **{name: one if isinstance(one, Bias) else Bias(one) for name, one in biases.items()},  # type: ignore[arg-type]  # checked there
            **{name: one if isinstance(one, Spikes) else Spikes.dense(one) for name, one in spikes.items()},
        }
        self.first_sample, self._samples = first_sample, len(next(iter(self.parts.values())))
        lengths = {name: len(part) for name, part in self.parts.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
            raise UsageError(f"inputs have different numbers of samples: {said}")

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, window: slice) -> Inputs:
        chosen = range(len(self))[window]
        return self._with({name: part[window] for name, part in self.parts.items()}, self.first_sample + chosen.start, len(chosen))

    def take(self, samples: NDArray[np.integer]) -> Inputs:
        """Return some samples, by number, in this order; they count from 0 in the data set.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> import numpy as np
        >>> len(nf.Inputs(events=x).take(np.array([1])))
        1
        """
        return self._with({name: part.take(samples) for name, part in self.parts.items()}, 0, len(samples))

    def counted_from(self, first_sample: int) -> Inputs:
        """Return the same samples, the first of them with another index in the whole data set."""
        return self._with(self.parts, first_sample, len(self))

    @classmethod
    def _with(cls, parts: Mapping[str, Bias | Spikes], first_sample: int, samples: int) -> Inputs:
        made = object.__new__(cls)
        made.parts, made.first_sample, made._samples = parts, first_sample, samples
        return made

    def of(self, name: str) -> Bias | Spikes:
        """Return what is presented to an input population."""
        return self.parts[name] if name in self.parts else self.parts[ONLY]

    def named(self, names: tuple[str, ...]) -> Inputs:
        """Return the same with every population by its name.

        Raises:
            UsageError: an input gets nothing, or something is given for what is no input.
        """
        parts = dict(self.parts)
        if ONLY in parts and len(names) == 1:
            parts[names[0]] = parts.pop(ONLY)
        if ONLY in parts:
            if not names:
                raise UsageError("the network has no input: nothing can be presented to it; pass Inputs(samples=N)")
            raise UsageError(f"there are {len(names)} inputs: {', '.join(names)}; say whose each is: {{name: array}}")
        for name in parts:
            if name not in names:
                if not names:
                    raise UsageError(f"the network has no input {name!r}, nor any other: pass Inputs(samples=N)")
                raise UsageError(f"no input {name!r}{nearest(name, names)}; inputs: {', '.join(names)}")
        if without := [name for name in names if name not in parts]:
            raise UsageError(f"input {without[0]!r} gets nothing: pass bias or events for it")
        return self._with({name: parts[name] for name in names}, self.first_sample, len(self))

    @property
    def bias(self) -> NDArray[np.int32] | None:
        """Mantissas of the only input population, if it is driven by a bias, int32 [N, n_in]."""
        only = self._only()
        return only.mantissa if isinstance(only, Bias) else None

    @property
    def events(self) -> NDArray[np.bool_] | None:
        """Spikes of the only input population, if they are given, bool [N, T, n_in]; made anew, for a few samples at a time."""
        only = self._only()
        return only.to_dense() if isinstance(only, Spikes) else None

    def _only(self) -> Bias | Spikes | None:
        if len(self.parts) > 1:
            raise UsageError(f"there are {len(self.parts)} inputs: {', '.join(self.parts)}; say which")
        return next(iter(self.parts.values()), None)


@dataclass(frozen=True, eq=False)
class State:
    """What a run leaves, and a run that goes on starts from.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> nf.run(chip, x, stop=2).activity.state is not None
    True

    Attributes:
        step: steps of the sample that have been run.
        u, v: population → int32 [N, n], after that step.
        flying: connection → bool [N, d, n_in] (uint8, how many, of neurons that may fire several times a step): the source's spikes of the last d steps, oldest first, that may still be on their way.
        counts: int64 [N, n_out], spikes of the readout so far, in the steps that are read.
        sample: of a stream (a deployment with ``reset: never``; N is 1): index in the whole data set of the sample that the step is of.
        own: population whose law has states of its own (:attr:`neurofault.graph.law.Law.states`) → name → int32 [N, n]; of ``waiting`` how many
            refractory steps are left of each neuron's.
        read: int64 [N, n_out], what has been read of the readout's potentials so far, where it is not v after the last step alone; else None.
    """

    step: int
    u: Mapping[str, NDArray[np.int32]]
    v: Mapping[str, NDArray[np.int32]]
    flying: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    counts: NDArray[np.int64] | None = None
    sample: int = 0
    own: Mapping[str, Mapping[str, NDArray[np.int32]]] = field(default_factory=dict)
    read: NDArray[np.int64] | None = None

    __repr__ = brief


def _given(part: object) -> bool:
    """Whether anything is presented: an array, or a mapping with one."""
    return bool(part) if isinstance(part, Mapping) else part is not None


def _how_many(samples: object) -> int:
    """Return a number of samples (UsageError: it is none)."""
    if isinstance(samples, bool) or not isinstance(samples, Integral) or samples < 1:
        raise UsageError(f"samples must be a whole number of at least 1, is {samples!r:.80}")
    return int(samples)


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
