"""`Network`: what computes, free of any framework and of any chip: populations of spiking neurons and the connections between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Literal, Protocol, get_args

import numpy as np

from neurofault.arrays import not_finite
from neurofault.errors import ConversionError, UnsupportedError, UsageError, nearest
from neurofault.graph.neurons import Encoding, Source
from neurofault.graph.populations import Connection, Population
from neurofault.graph.readout import How, Readout
from neurofault.graph.schedule import Schedule, Wiring
from neurofault.graph.synapses import MOST_DELAY, Stored, Synapses
from neurofault.numerals import plural

SampleReset = Literal["sample", "never"]
"""When a population starts anew. ``sample``: at its first step of each sample u = 0, v = v_init and no spike is on its way. ``never``: at
the first sample alone; the samples are one unbroken stream, in their order, and each starts from the u, v and spikes on their way that the
one before has left."""
STREAM_STEPS = 1 << 16
"""As good as without end: what has decayed with the slowest decay for so many steps is below the last bit."""


@dataclass(frozen=True)
class ConversionGap:
    """What a conversion cost, on the images that it was calibrated with.

    Attributes:
        samples: how many images.
        original: accuracy of the original on them; 1.0 where its own answers are the labels.
        chip: accuracy of the converted network, in the chip's integers.
        labelled: whether true labels were given, or the original's own answers taken.
    """

    samples: int
    original: float
    chip: float
    labelled: bool

    @property
    def points(self) -> float:
        """What was lost, in percentage points."""
        return 100 * (self.original - self.chip)


@dataclass(frozen=True, eq=False)
class Network:
    """A graph of spiking populations.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
    >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
    >>> [one.name for one in net.populations], net.timesteps
    (['eyes', 'hands'], 4)
    >>> net.schedule.lag
    {'hands': 0}

    Attributes:
        name: for display and for hashes of what was run.
        populations: at least one; those with a :class:`Source` are the inputs. A population that no connection reaches has a bias.
        connections: between them, any number, also from a population to itself.
        timesteps: T, steps a sample is shown, at least 1.
        readout: where the answer is read, and how; a population that an input or a bias reaches.
        peak_potential: largest magnitude of v of the readout met in calibration, in the threshold's unit; lets :func:`neurofault.deploy`
            choose an exponent at which it does not saturate. None: unknown.
        gap: what the conversion cost; None: not measured.
        notes: what whoever read it from a file had to assume, one text each; for people, it changes nothing.
        reset: see :data:`SampleReset`.

    Raises:
        ConversionError: names, sizes, delays or numbers that do not fit; the text names both ends.
    """

    name: str
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    timesteps: int
    readout: Readout
    peak_potential: float | None = None
    gap: ConversionGap | None = None
    notes: tuple[str, ...] = ()
    reset: SampleReset = "sample"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{one.name} {one.size}" for one in self.populations)
        return (
            f"Network({self.name!r}: {sizes}; {len(self.connections)} connection{'' if len(self.connections) == 1 else 's'}, "
            f"{plural(self.timesteps, 'step')}, reads the {self.readout.how} of {self.readout.population})"
        )

    def __post_init__(self) -> None:
        if self.reset not in get_args(SampleReset):
            raise ConversionError(
                f"network {self.name!r}: reset must be {' or '.join(get_args(SampleReset))}, is {self.reset!r:.80}"
                f"{nearest(str(self.reset), get_args(SampleReset))}"
            )
        if not self.populations:
            raise ConversionError(f"network {self.name!r} has no population")
        wiring = self.wiring
        for connection in self.connections:
            _check_connection(wiring, connection)
        for population in self.populations:
            _check_population(population, wiring.into(population.name))
        _check_readout(self)
        if not isinstance(self.timesteps, Integral):
            raise ConversionError(f"network {self.name!r}: timesteps must be a whole number, is {self.timesteps!r:.80}")
        if self.timesteps < 1:
            raise ConversionError(f"network {self.name!r}: timesteps must be at least 1, is {self.timesteps}")
        if (beyond := self.readout.beyond(self.timesteps)) is not None:
            raise ConversionError(f"network {self.name!r}: {beyond}")

    @cached_property
    def wiring(self) -> Wiring[Population, Connection]:
        """Populations and connections by name, and the schedule."""
        return Wiring(self.populations, self.connections)

    def population(self, name: str) -> Population:
        """Return the population called ``name`` (UsageError: there is none).

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> net.population("hands").size
        2
        """
        return self.wiring.population(name)

    def connection(self, name: str) -> Connection:
        """Return the connection called ``name`` (UsageError: there is none).

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> net.connection("hands").source
        'eyes'
        """
        return self.wiring.connection(name)

    def into(self, name: str) -> tuple[Connection, ...]:
        """Return the connections that drive a population.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> [one.name for one in net.into("hands")]
        ['hands']
        """
        return self.wiring.into(name)

    def out_of(self, name: str) -> tuple[Connection, ...]:
        """Return the connections that carry a population's spikes.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> [one.name for one in net.out_of("eyes")]
        ['hands']
        """
        return self.wiring.out_of(name)

    @property
    def schedule(self) -> Schedule:
        """When populations step."""
        return self.wiring.schedule

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the populations that are driven from outside."""
        return tuple(one.name for one in self.populations if one.is_source)

    @property
    def encoding(self) -> Encoding | None:
        """Pixel table of the only input; None where there are several, or where it takes events."""
        tables = [one.neuron.encoding for one in self.populations if isinstance(one.neuron, Source)]
        return tables[0] if len(tables) == 1 else None

    def with_timesteps(self, timesteps: int) -> Network:
        """Return the same network shown for another number of steps.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> net.with_timesteps(16).timesteps
        16
        """
        return replace(self, timesteps=timesteps, gap=None)

    def with_reset(self, reset: SampleReset) -> Network:
        """Return the same network with samples that start anew (``sample``), or that are one unbroken stream (``never``).

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> net.with_reset("never").reset
        'never'
        """
        return replace(self, reset=reset, gap=None)

    def with_readout(self, how: How, when: tuple[int, int] | None = None) -> Network:
        """Return the same network, whose answer is read in another way.

        >>> import neurofault as nf
        >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(None))
        >>> nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2))], timesteps=8).with_readout("mean", (2, 8)).readout
        Readout(population='hands', how='mean', when=(2, 8))

        Args:
            how: as of :class:`Readout`; ``largest`` and ``mean`` are of neurons that fire, too.
            when: likewise.

        Raises:
            ConversionError: spikes of neurons that never fire, the last potential of neurons that fire, steps that a sample has not.
        """
        name = self.readout.population
        neuron = self.population(name).neuron
        fires = isinstance(neuron, Source) or neuron.threshold is not None
        if how == "count" and not fires:
            raise ConversionError(
                f"population {name!r} never fires, so its spikes cannot be counted; use potential, largest or mean"
            )
        if how == "potential" and self.readout.how != "potential" and fires:
            raise ConversionError(
                f"population {name!r} fires, and potential is of neurons that never fire; use count, largest or mean"
            )
        return replace(self, readout=Readout(name, how, when), gap=None)


def check_reset(reset: str | None) -> None:
    """Refuse a word that is neither ``sample`` nor ``never``, nor None (UsageError, with the nearest)."""
    if reset is not None and reset not in (known := get_args(SampleReset)):
        raise UsageError(f"reset is {' or '.join(known)}, not {reset!r}{nearest(reset, known)}")


class _Presented(Protocol):
    """A network or a deployment, as far as samples go."""

    @property
    def timesteps(self) -> int: ...

    @property
    def reset(self) -> SampleReset: ...


def horizon(graph: _Presented) -> int:
    """Return for how many steps a current may add up: T, or :data:`STREAM_STEPS` where nothing is cleared between samples."""
    return graph.timesteps if graph.reset == "sample" else STREAM_STEPS


def samples_apart(graph: _Presented, what: str) -> None:
    """Make sure that samples do not depend on each other, for what can do nothing else.

    Args:
        graph: a network or a deployment.
        what: what needs it, for the message.

    Raises:
        UnsupportedError: the network's state is never reset.
    """
    if graph.reset == "never":
        raise UnsupportedError(
            f"{what} takes samples that start anew (reset: sample), and this network keeps its state between them (reset: never); "
            "--reset sample, or convert: {reset: sample}, shows it such samples"
        )


def chain(
    name: str,
    populations: Sequence[Population],
    synapses: Sequence[Synapses],
    *,
    timesteps: int,
    how: How = "potential",
    stored: Sequence[Stored | None] | None = None,
    peak_potential: float | None = None,
    notes: tuple[str, ...] = (),
) -> Network:
    """Return a feed-forward chain: each population drives the next one, the last is the readout.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> net = chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count")
    >>> [(one.name, one.source, one.target) for one in net.connections]
    [('hands', 'eyes', 'hands')]

    Args:
        name: the network's.
        populations: the first is a source.
        synapses: those into the second population, the third ….
        timesteps: T.
        how: how the last population is read.
        stored: format of the integers of each of the synapses; None: real weights.
        peak_potential: as in :class:`Network`.
        notes: likewise.

    Raises:
        ConversionError: numbers or sizes that do not fit.
    """
    if len(synapses) != len(populations) - 1:
        raise ConversionError(
            f"a chain of {plural(len(populations), 'population')} has {len(populations) - 1} sets of synapses, not {len(synapses)}"
        )
    formats: Sequence[Stored | None] = [None] * len(synapses) if stored is None else stored
    connections = tuple(
        Connection(target.name, source.name, target.name, own, 1, form)
        for source, target, own, form in zip(populations[:-1], populations[1:], synapses, formats, strict=True)
    )
    return Network(
        name, tuple(populations), connections, timesteps, Readout(populations[-1].name, how), peak_potential, notes=notes
    )


def _check_connection(wiring: Wiring[Population, Connection], connection: Connection) -> None:
    source, target, synapses = wiring.population(connection.source), wiring.population(connection.target), connection.synapses
    ends = f"connection {connection.name!r} ({source.name!r} → {target.name!r})"
    if isinstance(target.neuron, Source):
        raise ConversionError(f"{ends}: {target.name!r} is driven from outside; nothing else may drive it")
    if (problem := synapses.mistake()) is not None:
        raise ConversionError(f"{ends}: {problem}")
    if (synapses.n_in, synapses.n_out) != (source.size, target.size):
        raise ConversionError(
            f"{ends}: synapses join {synapses.n_in} → {plural(synapses.n_out, 'neuron')}, "
            f"but {source.name!r} has {source.size} and {target.name!r} has {target.size}"
        )
    if (problem := not_finite(synapses.weight)) is not None:
        raise ConversionError(f"{ends}: weight: {problem}; did training diverge?")
    delay = synapses.delay
    if delay is not None:
        if delay.shape != synapses.weight.shape:
            raise ConversionError(f"{ends}: delays have the shape {delay.shape}, but weights {synapses.weight.shape}")
        if delay.size and not 0 <= int(delay.min()) <= int(delay.max()) <= MOST_DELAY:
            raise ConversionError(
                f"{ends}: delays of synapses lie in {delay.min()} … {delay.max()}; allowed: 0 to {MOST_DELAY} extra steps"
            )


def _check_population(population: Population, into: Sequence[Connection]) -> None:
    neuron, name = population.neuron, population.name
    wrong = neuron.mistake() if isinstance(neuron, Source) else neuron.mistake(population.size)
    if wrong is not None:
        raise ConversionError(f"population {name!r}: {wrong}")
    if isinstance(neuron, Source):
        return
    for what, array in vars(neuron).items():
        known = array is None or isinstance(array, str) or what in ("du", "dv")  # whole numbers, checked as such
        problem = None if known else not_finite(array)
        if problem is not None:
            raise ConversionError(f"population {name!r}: {what}: {problem}; did training diverge?")
    whole = neuron.bias_exponent is not None
    if not whole and neuron.threshold is not None and not np.all(np.asarray(neuron.threshold) > 0):
        raise ConversionError(f"population {name!r}: thresholds must be above 0 (integers of a chip may be lower)")
    if not into and not np.any(np.asarray(neuron.bias)):
        raise ConversionError(f"population {name!r}: no connection drives it and it has no bias, so it never does anything")
    for connection in into:
        if (connection.stored is not None) != whole:
            said, other = ("integers", "real numbers") if whole else ("real numbers", "integers")
            raise ConversionError(
                f"connection {connection.name!r} ({connection.source!r} → {name!r}): population {name!r} has {said}, the weights {other}"
            )


def _check_readout(network: Network) -> None:
    name = network.readout.population
    wiring = network.wiring
    wiring.population(name)
    driving = {one.name for one in network.populations if isinstance(one.neuron, Source) or np.any(np.asarray(one.neuron.bias))}
    if name not in wiring.downstream(driving):
        raise ConversionError(f"network {network.name!r}: no input and no bias reaches its readout {name!r}")
