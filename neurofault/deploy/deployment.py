"""`Deployment`: a network on a chip — where it sits, in which integers, and what is broken."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.brief import brief
from neurofault.damage.damage import Damage
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.protection import Protection
from neurofault.errors import UsageError
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import SampleReset
from neurofault.graph.neurons import Encoding
from neurofault.graph.readout import Readout
from neurofault.graph.schedule import Schedule, Wiring
from neurofault.inputs import Inputs
from neurofault.numerals import plural


@dataclass(frozen=True, eq=False)
class Placement:
    """Which core each neuron sits on. Core ids count through the chips: ``chip · cores_per_chip + local``.

    Attributes:
        chips: number of chips in use.
        cores_per_chip: cores a chip has, usable or not (from the profile).
        core_of: population → int32 [n].
        spare_cores: ids kept free for repair, sorted.
        bad_cores: ids known bad before deployment (profile), sorted; never used.
        strategy: ``pack``, ``spread``, ``random`` or ``anneal``.
        spares_for: for whom spare cores are kept: ``all``, or what sits on the same ``chip`` or ``tile``, or in one ``layer``.
        spare_layers: of ``layer``, spare core → population.
    """

    chips: int
    cores_per_chip: int
    core_of: Mapping[str, NDArray[np.int32]]
    spare_cores: tuple[int, ...] = ()
    bad_cores: tuple[int, ...] = ()
    strategy: str = "pack"
    spares_for: Literal["all", "chip", "tile", "layer"] = "all"
    spare_layers: Mapping[int, str] = field(default_factory=dict)

    __repr__ = brief

    @property
    def used_cores(self) -> NDArray[np.int64]:
        """Sorted ids of the cores that hold at least one neuron."""
        return np.unique(np.concatenate(list(self.core_of.values()))).astype(np.int64)

    def cores_of(self, population: str) -> NDArray[np.int64]:
        """Sorted ids of the cores that hold neurons of a population."""
        return np.unique(self.core_of[population]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Deployment:
    """A placed, quantised, possibly damaged network. Frozen: ``inject`` and ``rescue`` return new ones.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> chip
    Deployment('reflex' on Intel Loihi 2 (Intel 4, 2021): eyes 2 on 1 core, hands 2 on 1 core; 4 steps, reads the count of hands; broken: nothing)
    >>> chip.inputs, chip.output.name, chip.timesteps
    (('eyes',), 'hands', 4)

    Attributes:
        name: the network's name.
        profile: the chip.
        populations: in the order of the network.
        connections: between them.
        placement: core of each neuron.
        timesteps: T, steps a sample is shown.
        readout: where the answer is read, and how.
        damage: what is broken.
        reset: when u, v and spikes on their way are cleared: ``sample`` or ``never`` (:data:`neurofault.graph.network.SampleReset`).
        protection: what the chip does about broken cells.
    """

    _repr_html_: ClassVar[Callable[[Deployment], str]]
    """The grid of cores, as notebooks show it; set in :mod:`neurofault.deploy`, for the drawing rests on this module."""

    name: str
    profile: HardwareProfile
    populations: tuple[ChipPopulation, ...]
    connections: tuple[ChipConnection, ...]
    placement: Placement
    timesteps: int
    readout: Readout
    damage: Damage = field(default_factory=Damage)
    reset: SampleReset = "sample"
    protection: Protection = field(default_factory=Protection)

    def __repr__(self) -> str:
        places = ", ".join(
            f"{one.name} {one.size} on {plural(len(self.placement.cores_of(one.name)), 'core')}" for one in self.populations
        )
        hits = [hit.kind for hit in self.damage.hits]
        kinds = ", ".join(f"{hits.count(kind)} × {kind}" for kind in dict.fromkeys(hits)) or "nothing"
        return (
            f"Deployment({self.name!r} on {self.profile.title}: {places}; {plural(self.timesteps, 'step')}, "
            f"reads the {self.readout.how} of {self.readout.population}; broken: {kinds})"
        )

    @cached_property
    def wiring(self) -> Wiring[ChipPopulation, ChipConnection]:
        """Populations and connections by name, and the schedule."""
        return Wiring(self.populations, self.connections)

    def population(self, name: str) -> ChipPopulation:
        """Return the population called ``name`` (UsageError: there is none).

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> chip.population("hands").size
        2
        """
        return self.wiring.population(name)

    def connection(self, name: str) -> ChipConnection:
        """Return the connection called ``name`` (UsageError: there is none).

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> chip.connection("hands").weight_bits
        8
        """
        return self.wiring.connection(name)

    def into(self, name: str) -> tuple[ChipConnection, ...]:
        """Return the connections that drive a population.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> [one.source for one in chip.into("hands")]
        ['eyes']
        """
        return self.wiring.into(name)

    def out_of(self, name: str) -> tuple[ChipConnection, ...]:
        """Return the connections that carry a population's spikes.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> [one.target for one in chip.out_of("eyes")]
        ['hands']
        """
        return self.wiring.out_of(name)

    @property
    def schedule(self) -> Schedule:
        """When populations step."""
        return self.wiring.schedule

    @property
    def output(self) -> ChipPopulation:
        """The population that is read."""
        return self.wiring.population(self.readout.population)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the populations that are driven from outside."""
        return tuple(one.name for one in self.populations if one.is_source)

    @property
    def encoding(self) -> Encoding | None:
        """Pixel → bias table of the only input; None where there are several, or where it takes events."""
        tables = [one.encoding for one in self.populations if one.is_source]
        return tables[0] if len(tables) == 1 else None

    def with_connection(self, connection: ChipConnection) -> Deployment:
        """Return the same chip with another connection in the place of the one of this name.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> from dataclasses import replace
        >>> slower = replace(chip.connection("hands"), delay=2)
        >>> chip.with_connection(slower).connection("hands").delay, chip.connection("hands").delay
        (2, 1)
        """
        return replace(self, connections=tuple(connection if one.name == connection.name else one for one in self.connections))

    def with_population(self, population: ChipPopulation) -> Deployment:
        """Return the same chip with another population in the place of the one of this name.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> chip.with_population(chip.population("hands")).output.size
        2
        """
        return replace(self, populations=tuple(population if one.name == population.name else one for one in self.populations))

    def with_damage(self, damage: Damage) -> Deployment:
        """Return the same chip with another damage; ``Damage()`` restores it exactly.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
        >>> nf.run(hurt, x, y).accuracy, nf.run(hurt.with_damage(chip.damage), x, y).accuracy
        (0.5, 1.0)
        """
        return replace(self, damage=damage)

    def encode(self, images: NDArray[np.generic] | Mapping[str, NDArray[np.generic]]) -> Inputs:
        """Turn images into bias currents of the input neurons.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> from neurofault.graph import Encoding
        >>> table = Encoding(np.arange(256, dtype=np.int32), 64, 0, 1.0)
        >>> layers = [nf.Population("eyes", (2,), nf.Source(table)), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> chip = nf.deploy(nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4))
        >>> chip.encode(np.array([[0, 255]], np.uint8)).of("eyes").mantissa.tolist()
        [[0, 255]]

        Args:
            images: array or torch tensor [N, …] with as many values a sample as there are input neurons; uint8 (0–255) or float in [0, 1].
                Where there are several inputs, one for each by name.

        Raises:
            UsageError: wrong shape, type or range, or an input that takes events.
        """
        if isinstance(images, Mapping):
            return Inputs(bias={name: self._mantissas(name, one) for name, one in images.items()})
        if not self.inputs:
            raise UsageError(f"network {self.name!r} has no input: nothing can be presented to it; pass Inputs(samples=N)")
        if len(self.inputs) != 1:
            raise UsageError(
                f"network {self.name!r} has {len(self.inputs)} inputs: {', '.join(self.inputs)}; pass {{name: images}}"
            )
        return Inputs(bias=self._mantissas(self.inputs[0], images))

    def _mantissas(self, name: str, images: NDArray[np.generic]) -> NDArray[np.int32]:
        """Return the bias mantissas of one input's neurons."""
        population = self.population(name)
        alone = self.inputs == (name,)
        if not population.is_source:
            raise UsageError(f"{name!r} is no input; inputs: {', '.join(self.inputs)}")
        if population.encoding is None:
            who = f"network {self.name!r}" if alone else f"input {name!r}"
            raise UsageError(f"{who} takes events, not images: pass Inputs(events=…)")
        images = as_array(images, "images")
        flat = images.reshape(len(images), math.prod(images.shape[1:]))
        if flat.shape[1] != population.size:
            whose = "the input" if alone else f"input {name!r}"
            raise UsageError(f"a sample has {plural(flat.shape[1], 'value')}, but {whose} has {plural(population.size, 'neuron')}")
        if flat.dtype != np.uint8:
            if not np.issubdtype(flat.dtype, np.floating):
                raise UsageError(f"images must be uint8 or float in [0, 1], not {flat.dtype}")
            if (problem := not_finite(flat)) is not None:
                raise UsageError(f"images: {problem}")
            if flat.size and not (float(flat.min()) >= 0.0 and float(flat.max()) <= 1.0):
                raise UsageError(f"float images must lie in [0, 1], not [{flat.min()}, {flat.max()}]")
            flat = np.rint(flat * 255).astype(np.uint8)
        return np.asarray(population.encoding.table[flat])
