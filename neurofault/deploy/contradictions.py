"""What a profile's sections say against each other: numbers that are each allowed, and cannot be true of one chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from neurofault.deploy.arithmetic_spec import AnyArithmetic, ArithmeticSpec
from neurofault.deploy.core_ids import core_range
from neurofault.deploy.profile_sections import Chip, Core, NeuronRanges, Synapse
from neurofault.deploy.quantity import Quantity
from neurofault.deploy.topology import Board, HexagonalLinks, Links, SharedMemory
from neurofault.numerals import plural

Place = tuple[str | int, ...]
"""Keys and indices on the way to a value of the document."""


class Sections(Protocol):
    """What is compared of a profile."""

    @property
    def arithmetic(self) -> AnyArithmetic:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def chip(self) -> Chip:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def core(self) -> Core:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def synapse(self) -> Synapse:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def neuron(self) -> NeuronRanges:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def facts(self) -> Mapping[str, Quantity[float, str]]:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def links(self) -> Links | None:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def board(self) -> Board | None:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def shared_memory(self) -> SharedMemory | None:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""

    @property
    def dead_cores(self) -> tuple[int | str, ...]:
        """See :class:`neurofault.deploy.profile.HardwareProfile`."""


def contradictions(profile: Sections) -> list[tuple[Place, str]]:
    """Return the values that others of the same profile rule out: where each stands, and why.

    Args:
        profile: whose sections are each valid by themselves.
    """
    found = [*_ids(profile), *_joined(profile), *_memory(profile)]
    if isinstance(profile.arithmetic, ArithmeticSpec):
        found += [*_weights(profile, profile.arithmetic), *_neurons(profile, profile.arithmetic)]
    return found


def _value(quantity: Any) -> Any:
    return None if quantity is None else quantity.value


def _ids(profile: Sections) -> Iterator[tuple[Place, str]]:
    """Cores beyond the only chip that is known of."""
    if profile.chip.max_chips.value is not None:
        return  # the record itself refuses those beyond
    chips = len(profile.links.places) if isinstance(profile.links, HexagonalLinks) else 1
    cores = profile.chip.cores.known * chips
    for index, entry in enumerate(profile.dead_cores):
        if not (isinstance(entry, str) and "," in entry) and core_range(entry)[-1] >= cores:
            what = "of the machine" if chips > 1 else "of one chip"
            yield (
                ("dead_cores", index),
                f"core {entry} does not exist; ids {what} go from 0 to {cores - 1}, and chip.max_chips, which says how many can be joined, is not known",
            )


def _joined(profile: Sections) -> Iterator[tuple[Place, str]]:
    """Groups of chips or cores that are larger than the whole."""
    board, most = _value(profile.board and profile.board.chips), profile.chip.max_chips.value
    if board is not None and most is not None and board > most:
        yield ("board", "chips", "value"), f"a board of {board} chips is more than chip.max_chips {most}"
    sharing, cores = _value(profile.shared_memory and profile.shared_memory.cores), profile.chip.cores.known
    if sharing is not None and sharing > cores:
        yield ("shared_memory", "cores", "value"), f"{sharing} cores share a memory, and a chip has {cores} (chip.cores)"


def _memory(profile: Sections) -> Iterator[tuple[Place, str]]:
    """A synapse memory that has no room for a synapse of each neuron."""
    core, synapse = profile.core, profile.synapse
    stored, neurons, least = core.synapse_bits.value, core.neurons.value, min(synapse.weight_bits.known)
    if stored is None or neurons is None or synapse.shared_kernels.value or core.layers is not None:
        return
    if stored < neurons * least:
        yield (
            ("core", "synapse_bits", "value"),
            f"{stored} bits of synapse memory hold less than one weight of {plural(least, 'bit')} for each of core.neurons {neurons}",
        )


def _weights(profile: Sections, law: ArithmeticSpec) -> Iterator[tuple[Place, str]]:
    """A register that takes sums of weights, and does not hold one of them."""
    if profile.synapse.format != "signed":
        return
    bits = max(profile.synapse.weight_bits.known)
    name, spec = ("v", law.v) if law.u is None else ("u", law.u)
    register = spec.register_of()
    low, high = ((-(1 << bits - 1)) << law.shift, ((1 << bits - 1) - 1) << law.shift)
    if high > register.high or (register.signed and low < register.low):
        shift = f" shifted by {law.shift}" if law.shift else ""
        yield (
            ("arithmetic", name, "bits"),
            f"{register.bits} bits hold {register.low} to {register.high}, and one weight of {plural(bits, 'bit')} (synapse.weight_bits){shift} "
            f"counts {low} to {high}",
        )


def _neurons(profile: Sections, law: ArithmeticSpec) -> Iterator[tuple[Place, str]]:
    """Ranges of a neuron's parameters that its law does not hold."""
    neuron, v = profile.neuron, law.v.register_of()
    shift = f" · 2**{law.shift}" if law.shift else ""
    if (threshold := neuron.threshold_max.value) is not None and threshold << law.shift > v.high:
        yield (
            ("neuron", "threshold_max", "value"),
            f"a threshold of {threshold}{shift} is never reached: the largest v of {plural(v.bits, 'bit')} (arithmetic.v) is {v.high}",
        )
    for name, each in (("v", law.v), ("u", law.u)):
        if each is not None and each.decay.kind == "shift" and each.decay.most > each.bits:
            yield (
                ("arithmetic", name, "decay", "most"),
                f"a shift by {each.decay.most} is more than the {plural(each.bits, 'bit')} of arithmetic.{name}: at most {each.bits}",
            )
    decays = [each.decay for each in (law.v, law.u) if each is not None]
    most = max(each.most for each in decays)
    if (decay := neuron.decay_max.value) is not None and decay > most:
        yield ("neuron", "decay_max", "value"), f"{decay} is more than the largest number that a decay of arithmetic stores, {most}"
    for key in ("bias_mantissa_min", "bias_mantissa_max"):
        if (bias := getattr(neuron, key).value) is not None and not min(v.low, -v.high) <= bias <= v.high:
            yield (
                ("neuron", key, "value"),
                f"a bias of {bias} is beyond v, whose {plural(v.bits, 'bit')} (arithmetic.v) hold {v.low} to {v.high}",
            )
    counted = profile.facts.get("refractory_max")
    if counted is not None and counted.value is not None and law.refractory > counted.value - 1:
        after = max(int(counted.value) - 1, 0)
        yield (
            ("arithmetic", "refractory"),
            f"{law.refractory} steps after a spike are more than facts.refractory_max {counted.value:g} leaves, which counts the step of the spike too: "
            f"{after}",
        )
