"""Inputs that are made for faults which no sample exposes: a search on the chip's own integers, every claim of it a run.

A made input is put together line by line (a line is an input neuron, with the current or the spikes that it gets): at random; of two others, samples or inputs that were made
before; and for a fault that is still hidden, with the lines lit that it sits on. Where the class alone is seen, an input is moved to the border between two answers: lines
of another one, which is answered otherwise, take the place of its own, as many as it takes for the answer to turn, found by bisection on the exact engine. What a batch exposes
is counted exactly, its useful inputs are kept, and the next batch is made for what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import NeuronEdit, SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.inputs import Bias, Inputs, Spikes
from neurofault.numerals import plural
from neurofault.progress import Progress
from neurofault.streams import generator
from neurofault.study.patterns.candidates import leads
from neurofault.study.patterns.cover import columns_of, greedy
from neurofault.study.patterns.fault_list import FaultList
from neurofault.study.patterns.matrix import Prober
from neurofault.study.patterns.seen import Observe

BATCH = 128
"""Inputs that are made at a time."""
ROUNDS = 12
PATIENCE = 3
"""Batches in a row that may expose nothing more before the search ends."""
_DENSITIES = (1.0, 0.5, 0.25, 0.1)
_RATES = (0.02, 0.05, 0.1, 0.2, 0.4)
_SHARES = (0.0, 0.05, 0.2, 0.5)

Lines = Mapping[str, NDArray[np.generic]]
"""Input → [N, n] mantissas, or bool [N, n, T] spikes."""


@dataclass(frozen=True, eq=False)
class InputLine:
    """What a line of an input may get.

    Attributes:
        values: int32 [m], mantissas that an image, or some sample, puts on a line, the least first; None: it gets spikes.
        size: n.
        timesteps: T.
    """

    values: NDArray[np.int32] | None
    size: int
    timesteps: int

    def drawn(self, random: np.random.Generator, number: int) -> NDArray[np.generic]:
        """Return lines at random: of each input a share of the lines is lit, of images at any brightness, of events at one rate."""
        lit = random.random((number, self.size)) < random.choice(_DENSITIES, number)[:, None]
        if self.values is not None:
            return np.where(lit, random.choice(self.values, (number, self.size)), self.dark)
        rate = random.choice(_RATES, number)[:, None, None]
        return (random.random((number, self.size, self.timesteps)) < rate) & lit[:, :, None]

    @property
    def dark(self) -> int:
        """The mantissa that lights a line least."""
        assert self.values is not None
        return int(self.values[np.argmin(np.abs(self.values))])

    def bright(self, random: np.random.Generator) -> NDArray[np.generic]:
        """Return one line that is lit: the largest mantissa, or spikes in most steps."""
        if self.values is not None:
            return np.asarray(self.values[np.argmax(np.abs(self.values))])
        return random.random(self.timesteps) < 0.7


def made_inputs(
    chip: Deployment,
    samples: Inputs,
    faults: FaultList,
    left: NDArray[np.int64],
    observe: Observe,
    number: int,
    seed: int,
    threads: int | None,
    progress: Progress,
) -> Inputs | None:
    """Make inputs that expose faults which some samples leave; None: nothing is left, or none of those that were tried does.

    Args:
        chip: healthy.
        samples: N samples, as the chip takes them; they say whether an input gets currents or spikes, and are what others are put together of.
        faults: the list.
        left: int64 [k], rising, the faults that no sample exposes.
        observe: what of an answer is seen.
        number: most inputs, at least 1.
        seed: key of what is drawn.
        threads: worker threads; None: one for each usable core. Results do not depend on it.
        progress: called as work goes on.

    Raises:
        UsageError: the chip has no input.
    """
    samples = samples.named(chip.inputs)
    if not samples.parts:
        raise UsageError(f"network {chip.name!r} has no input: nothing can be made that would be shown to it")
    if not len(left):
        return None
    kinds = {name: _line(chip, name, part) for name, part in samples.parts.items()}
    kept: list[Lines] = []
    hidden, idle = left, 0
    for turn in range(ROUNDS):
        random = generator(seed, "testset", "made", turn)
        batch = (
            _batch(chip, kinds, samples, kept, faults, hidden, observe, random, threads) if turn else _drawn(kinds, random, BATCH)
        )
        found = Prober(chip, _inputs(batch), observe, threads).exposed(faults, hidden)
        progress(
            "made inputs",
            turn + 1,
            ROUNDS,
            f"{len(left) - len(hidden) + len(found):,} of {plural(len(left), 'hidden fault')} exposed",
        )
        idle = 0 if len(found) else idle + 1
        if len(found):
            useful = np.array(greedy(columns_of(found.bits, found.samples), len(found)).samples, np.int64)
            kept.append({name: part[useful] for name, part in batch.items()})
            hidden = np.setdiff1d(hidden, found.faults)
        if not len(hidden) or idle == PATIENCE:
            break
    if not kept:
        return None
    every = _stacked(kept)
    rows = Prober(chip, _inputs(every), observe, threads).exposed(faults, left)
    chosen = np.array(greedy(columns_of(rows.bits, rows.samples), len(rows), number).samples, np.int64)
    return _inputs({name: part[chosen] for name, part in every.items()})


def joined_inputs(first: Inputs, second: Inputs) -> Inputs:
    """Return the samples of two, one after the other; both present the same kinds to the same inputs."""
    biases: dict[str, object] = {}
    spikes: dict[str, object] = {}
    for name, part in first.parts.items():
        match part, second.of(name):
            case Bias(mantissa=one), Bias(mantissa=two):
                biases[name] = Bias(np.concatenate([one, two]))
            case Spikes() as one, Spikes() as two:
                spikes[name] = Spikes.joined([one, two])
    return Inputs(bias=biases or None, events=spikes or None)


def _line(chip: Deployment, name: str, part: Bias | Spikes) -> InputLine:
    size, encoding = chip.population(name).size, chip.population(name).encoding
    if isinstance(part, Spikes):
        return InputLine(None, size, chip.timesteps)
    values = np.unique(part.mantissa if encoding is None else np.asarray(encoding.table)).astype(np.int32)
    return InputLine(values, size, chip.timesteps)


def _drawn(kinds: Mapping[str, InputLine], random: np.random.Generator, number: int) -> Lines:
    return {name: kinds[name].drawn(random, number) for name in sorted(kinds)}


def _stacked(parts: list[Lines]) -> Lines:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _inputs(lines: Lines) -> Inputs:
    """Return lines as inputs."""
    biases: dict[str, object] = {}
    spikes: dict[str, object] = {}
    for name, part in lines.items():
        if part.ndim == 2:
            biases[name] = Bias(part.astype(np.int32))
        else:
            spikes[name] = Spikes.dense(part.transpose(0, 2, 1))
    return Inputs(bias=biases or None, events=spikes or None)


def _lines(inputs: Inputs) -> Lines:
    """Return inputs as lines."""
    return {
        name: part.mantissa if isinstance(part, Bias) else part.to_dense().transpose(0, 2, 1) for name, part in inputs.parts.items()
    }


def _bases(samples: Inputs, kept: list[Lines], random: np.random.Generator, number: int) -> Lines:
    """Return inputs to put others together of: half samples, half those that were made before, as far as there are any."""
    real = _lines(samples.take(random.integers(0, len(samples), number)))
    if not kept:
        return real
    before = _stacked(kept)
    other = random.random(number) < 0.5
    which = random.integers(0, len(next(iter(before.values()))), number)
    return {name: _either(other, before[name][which], real[name]) for name in real}


def _either(first: NDArray[np.bool_], one: NDArray[np.generic], two: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return ``one`` where ``first`` says so, bool [N] or [N, n], else ``two``."""
    return np.where(first.reshape(first.shape + (1,) * (one.ndim - first.ndim)), one, two)


def _batch(
    chip: Deployment, kinds: Mapping[str, InputLine], samples: Inputs, kept: list[Lines], faults: FaultList, hidden: NDArray[np.int64], observe: Observe,
    random: np.random.Generator, threads: int | None,
) -> Lines:  # fmt: skip
    """Return a batch made for what is hidden: a quarter at random, a quarter of two others, half with the lines of hidden faults lit."""
    quarter = BATCH // 4
    mixed = BATCH - quarter
    one, two = _bases(samples, kept, random, mixed), _bases(samples, kept, random, mixed)
    meant = random.choice(hidden, mixed - quarter)
    lit: list[dict[str, NDArray[np.int64]]] = [{}] * quarter + [_lines_of(chip, faults, int(fault)) for fault in meant]
    for part in (one, two):
        for at, own in enumerate(lit):
            for name, neurons in own.items():
                part[name][at, neurons] = kinds[name].bright(random)
    ranks = {name: random.random((mixed, kinds[name].size)) for name in sorted(kinds)}
    share = _border(chip, one, two, ranks, threads) if observe == "class" else random.choice(_SHARES, mixed)
    return _stacked([_drawn(kinds, random, quarter), _crossed(one, two, ranks, share)])


def _lines_of(chip: Deployment, faults: FaultList, fault: int) -> dict[str, NDArray[np.int64]]:
    """Return the lines that a fault sits on: source neurons of a synapse, or neurons, of an input."""
    found: dict[str, NDArray[np.int64]] = {}
    for edit in faults.edits(fault):
        if isinstance(edit, SetSynapses):
            place, neurons = chip.connection(edit.connection).source, edit.sources
        elif isinstance(edit, NeuronEdit):
            place, neurons = edit.population, edit.neurons
        else:
            continue
        if place in chip.inputs:
            found[place] = np.union1d(found.get(place, np.empty(0, np.int64)), neurons)
    return found


def _crossed(one: Lines, two: Lines, ranks: Mapping[str, NDArray[np.float64]], share: NDArray[np.float64]) -> Lines:
    """Return inputs with a share of the lines, float64 [N], of the second, the others of the first."""
    return {name: _either(ranks[name] < share[:, None], two[name], one[name]) for name in one}


def _border(
    chip: Deployment, one: Lines, two: Lines, ranks: Mapping[str, NDArray[np.float64]], threads: int | None
) -> NDArray[np.float64]:
    """Return with which share of the second input's lines the answer to the first turns, on the side where the winner leads less; a half where both are answered alike."""
    engine = ExactEngine(threads)

    def scores(share: NDArray[np.float64]) -> NDArray[np.int64]:
        return engine.run(chip, _inputs(_crossed(one, two, ranks, share))).scores

    number = len(next(iter(one.values())))
    low, high = np.zeros(number), np.ones(number)
    first = scores(low).argmax(axis=1)
    apart = first != scores(high).argmax(axis=1)
    size = sum(part.shape[1] for part in one.values())
    for _ in range(int(np.ceil(np.log2(size + 1)))):
        middle = (low + high) / 2
        same = scores(middle).argmax(axis=1) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    share = np.where(leads(scores(low)) < leads(scores(high)), low, high)
    return np.where(apart, share, 0.5)
