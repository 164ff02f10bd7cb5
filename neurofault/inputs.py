"""What is presented to a chip: biases of input neurons, or their spikes; and the state that a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.errors import UsageError, nearest
from neurofault.spikes import Bias, Spikes

__all__ = ["ONLY", "Bias", "Inputs", "Spikes", "State"]

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

    def __repr__(self) -> str:
        parts = [f"{name!r}: {part!r}" if name else repr(part) for name, part in self.parts.items()]
        return f"Inputs({', '.join([*parts, f'samples={len(self)}', *([f'first_sample={self.first_sample}'] if self.first_sample else [])])})"

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
        """Return the same samples, the first of them with another index in the whole data set.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> nf.Inputs(events=x).counted_from(100).first_sample
        100
        """
        return self._with(self.parts, first_sample, len(self))

    @classmethod
    def _with(cls, parts: Mapping[str, Bias | Spikes], first_sample: int, samples: int) -> Inputs:
        made = object.__new__(cls)
        made.parts, made.first_sample, made._samples = parts, first_sample, samples
        return made

    def of(self, name: str) -> Bias | Spikes:
        """Return what is presented to an input population.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> len(nf.Inputs(events={"eyes": x}).of("eyes"))
        2
        """
        return self.parts[name] if name in self.parts else self.parts[ONLY]

    def named(self, names: tuple[str, ...]) -> Inputs:
        """Return the same with every population by its name.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> list(nf.Inputs(events=x).named(chip.inputs).parts)
        ['eyes']

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
