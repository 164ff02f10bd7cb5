"""On-chip learning of one dense connection: two engines that follow the same rules and are never mixed.

``lava_compat`` is bit-equal to the CPU model of Lava 0.10's ``LearningDense`` (``fixed_pt``), its random streams and quirks included:
one random number a step for all neurons and one an epoch for all synapses, fractions of impulses rounded up about twice as often as
they say and always at a repeated spike, weights that leave the grid of the stored width, a third factor of any sign.

``hardware_strict`` keeps the arithmetic and keeps to what a chip has: a random number for each neuron and each synapse
(:func:`neurofault.streams.counter_hash`), traces and third factors from 0 to the largest trace, weights rounded at random to the
stored width (so that a step smaller than the width is kept on average), delays and tags of the profile's width, and the write gate:
stuck bits stay, dead targets keep what they have. Defects of the learning engine act here.

Steps and epochs count from the first step of a state; a connection's traces can be cleared at the beginning of each sample. Spikes are
regular ones: Lava's graded-spike configurations 1 to 3 are not part of this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from neurofault.cores import usable_cores
from neurofault.errors import UsageError, nearest
from neurofault.learning import kernel as learning_kernel
from neurofault.learning import records
from neurofault.learning.drawn_sums import never_refused
from neurofault.learning.parts import Part
from neurofault.learning.rule import POST, LearningRule

Mode = Literal["lava_compat", "hardware_strict"]

RECORDS = ("weight", "delay", "tag", "x1", "x2", "y1", "y2", "y3")
"""What :meth:`LearningEngine.learn` can record."""


@final
@dataclass(frozen=True, eq=False)
class LearningState:
    """What a learning connection holds between two calls. Arrays are by source; the properties turn them.

    Attributes:
        mode: of the engine that made it.
        step: steps run so far.
        memory: the arrays; never changed once they are in a state.
    """

    mode: Mode
    step: int
    memory: records.Memory

    @property
    def weight(self) -> NDArray[np.int32]:
        """Weights as the chip reads them, int32 [n_out, n_in]."""
        return np.asarray(self.memory.weight.T)

    @property
    def delay(self) -> NDArray[np.int32]:
        """Delays (Lava: ``tag_2``), int32 [n_out, n_in]; no rows where the rule has none."""
        return np.asarray(self.memory.delay.T)

    @property
    def tag(self) -> NDArray[np.int32]:
        """Tags (Lava: ``tag_1``), int32 [n_out, n_in]; no rows where the rule has none."""
        return np.asarray(self.memory.tag.T)

    @property
    def writes(self) -> NDArray[np.int32]:
        """How often each synapse's memory was written, int32 [n_out, n_in] (``hardware_strict``; no rows otherwise)."""
        return np.asarray(self.memory.writes.T)

    def trace(self, name: str) -> NDArray[np.int32]:
        """Return a trace by name, int32 [n_in] or [n_out]."""
        return np.asarray((self.memory.x if name[0] == "x" else self.memory.y)[int(name[1]) - 1])

    def cleared(self) -> LearningState:
        """Return this state with all traces 0 and no spike in the present epoch, as at the beginning of a sample."""
        zeros = {name: np.zeros_like(getattr(self.memory, name)) for name in ("x", "y", "tx", "ty")}
        return replace(self, memory=self.memory._replace(**zeros))


@dataclass(frozen=True, eq=False)
class Learned:
    """What a call of :meth:`LearningEngine.learn` gave.

    Attributes:
        state: after the last step.
        records: name → values after each step, [S, …] or [N, T, …] as the spikes were; weight, delay, tag int16 [.., n_out, n_in],
            traces int32 [.., n_in] or [.., n_out].
    """

    state: LearningState
    records: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Chance:
    """Where random numbers come from.

    Attributes:
        seed: of Lava's streams (``lava_compat``).
        keys: uint64 [7], see :class:`neurofault.learning.records.Noise` (``hardware_strict``).
    """

    seed: int = 0
    keys: NDArray[np.uint64] | None = None

    def numbers(self, step: int, steps: int, epoch: int) -> records.Noise:
        """Return the numbers of ``steps`` steps after ``step``.

        Lava draws each trace stream once at the start and twice a step, the stream of the synapses (seed 2) once at the start and once
        an epoch; a 64-bit word gives one fraction or two integers.
        """
        if self.keys is not None:
            zeros = np.zeros((steps, 3), np.int64)
            return records.Noise(zeros[:, :2].astype(np.float64), zeros, zeros[:, 0].copy(), self.keys, True, 0)
        fractions = [_stream(self.seed + k, 2 * step).random(2 * steps + 1)[2::2] for k in (0, 2)]
        integers = [_stream(self.seed + k, step).integers(0, 128, 2 * steps + 1) for k in (1, 3)]
        impulse = np.stack([integers[0][2::2], integers[1][2::2], integers[1][1::2]], axis=1)
        past = step // epoch
        rounding = np.floor(_stream(2, past + 1).random((step + steps) // epoch - past) * 128).astype(np.int64)
        return records.Noise(np.stack(fractions, axis=1), impulse, rounding, np.zeros(7, np.uint64), False, 0)


def _stream(seed: int, words: int) -> np.random.Generator:
    """Numpy's default generator after it gave ``words`` words."""
    source = np.random.PCG64(seed)
    source.advance(words)
    return np.random.Generator(source)


@final
@dataclass(frozen=True, eq=False)
class LearningEngine:
    """One dense connection that learns; made by :func:`lava_engine` and :func:`strict_engine`.

    Attributes:
        mode: ``lava_compat`` or ``hardware_strict``.
        rule: what it follows.
        start: state before the first step.
        program, dynamics, cells: the rule and the memory as the kernel reads them.
        chance: random numbers.
        defects: of the learning engine, for the epochs of a call (first step before it, number of steps).
    """

    mode: Mode
    rule: LearningRule
    start: LearningState
    program: records.Program
    dynamics: records.TraceDynamics
    cells: records.Cells
    chance: Chance
    defects: DefectSchedule

    def learn(
        self,
        state: LearningState,
        pre: NDArray[np.bool_],
        post: NDArray[np.bool_] | None = None,
        third: Mapping[str, NDArray[np.integer]] | None = None,
        *,
        record: Collection[str] = (),
        clear: bool = False,
        threads: int | None = None,
    ) -> Learned:
        """Run the connection's learning for some steps.

        Args:
            state: :attr:`start`, or what an earlier call returned.
            pre: bool [S, n_in], or [N, T, n_in] for samples one after the other: spikes of the sources as they arrive.
            post: bool [S, n_out] or [N, T, n_out], spikes of the targets; None: none.
            third: with a third factor, ``y1``, ``y2``, ``y3`` → int, shaped as ``post``: what the targets write in each step; those
                that are missing are 0.
            record: which of :data:`RECORDS` to keep for each step.
            clear: clear the traces before each sample ([N, T, n_in] only).
            threads: how many share the sources (one where a budget of writes could end, which serves sources in order); None: one for
                each core of the machine where that pays. Results do not depend on it.

        Raises:
            UsageError: a state of the other mode, arrays that do not fit, a third factor that the rule has not, or an unknown record.
        """
        if state.mode != self.mode:
            raise UsageError(f"the state is of mode {state.mode!r}, the engine of {self.mode!r}; the two are never mixed")
        if state.memory.weight.shape != self.start.memory.weight.shape:
            raise UsageError(f"the state has {state.weight.shape} weights, the engine {self.start.weight.shape} [n_out, n_in]")
        for name in record:
            if name not in RECORDS:
                raise UsageError(f"no record {name!r}; records: {', '.join(RECORDS)}{nearest(name, RECORDS)}")
        n_in, n_out = self.start.memory.weight.shape
        shape = np.shape(pre)
        if len(shape) not in (2, 3) or shape[-1] != n_in:
            raise UsageError(f"pre has the shape {shape}, but {n_in} sources need [S, {n_in}] or [N, T, {n_in}]")
        if clear and len(shape) == 2:
            raise UsageError("clear needs samples: pre of the shape [N, T, n_in]")
        steps = int(np.prod(shape[:-1]))
        before = self._flat("pre", pre, shape, np.bool_)
        after = np.zeros((steps, n_out), np.bool_) if post is None else self._flat("post", post, (*shape[:-1], n_out), np.bool_)
        written = self._third(third, (*shape[:-1], n_out), steps)
        memory = records.Memory(*(array.copy() for array in state.memory))
        kept = {name: steps if name in record else 0 for name in RECORDS}
        traces = {side: steps if any(name[0] == side for name in record) else 0 for side in "xy"}
        rec = records.StepRecord(
            np.empty((traces["x"], 2, n_in), np.int32),
            np.empty((traces["y"], 3, n_out), np.int32),
            *(np.empty((kept[name], *getattr(memory, name).shape), np.int16) for name in ("weight", "delay", "tag")),
        )
        if steps:
            defects = self.defects.rows(state.step, steps, self.rule.t_epoch)
            noise = self.chance.numbers(state.step, steps, self.rule.t_epoch)
            clearing, updates = shape[1] if clear else 0, steps * n_in * n_out
            strict = self.mode == "hardware_strict"
            free = strict and never_refused(self.program, self.cells, defects, memory, updates)

            def run(part: Part) -> None:
                work = records.room(self.program, defects, part.pre.shape[1], n_out, strict=strict, free=free)
                learning_kernel.run(
                    self.program, self.dynamics, part.cells, defects, noise._replace(first=part.first), part.memory, part.record, work,
                    state.step, clearing, part.pre, after, written,
                )  # fmt: skip

            whole = Part(memory, rec, before, self.cells)
            budget = int(memory.left[0])
            cuts = _parts(threads, n_in, updates) if not strict or budget >= 3 * updates else 1
            if cuts == 1:
                run(whole)
            else:
                edges = [n_in * cut // cuts for cut in range(cuts + 1)]
                sources = [slice(*edge) for edge in pairwise(edges)]
                parts = [whole.of(part) for part in sources]
                with ThreadPoolExecutor(cuts) as pool:
                    list(pool.map(run, parts))
                whole.fill(sources, parts)
                memory.left[0] = budget - sum(budget - int(part.memory.left[0]) for part in parts)
        recorded = {}
        for name in record:
            if name in ("weight", "delay", "tag"):
                flat = getattr(rec, name).swapaxes(1, 2)
            else:
                flat = (rec.x if name[0] == "x" else rec.y)[:, int(name[1]) - 1]
            recorded[name] = flat.reshape(*shape[:-1], *flat.shape[1:])
        return Learned(LearningState(self.mode, state.step + steps, memory), MappingProxyType(recorded))

    def _flat(self, name: str, array: NDArray[Any], shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
        """Check an array and return it as [S, n]."""
        if np.shape(array) != shape:
            raise UsageError(f"{name} has the shape {np.shape(array)}, but must have {shape}")
        if kind is np.bool_ and array.dtype != np.bool_:
            raise UsageError(f"{name} must be bool, not {array.dtype}")
        return np.require(array, kind, ["C", "W"]).reshape(-1, shape[-1])

    def _third(self, third: Mapping[str, NDArray[np.integer]] | None, shape: tuple[int, ...], steps: int) -> NDArray[np.int32]:
        """Stack what the targets write, int32 [S, 3, n_out]; no rows without a third factor."""
        if not self.rule.third_factor:
            if third is not None:
                raise UsageError("the rule has no third factor, so its targets cannot write y1, y2, y3")
            return np.zeros((0, 3, shape[-1]), np.int32)
        written = np.zeros((steps, 3, shape[-1]), np.int32)
        for name, values in (third or {}).items():
            if name not in POST:
                raise UsageError(f"no third factor {name!r}; third factors: {', '.join(POST)}{nearest(name, POST)}")
            if not np.issubdtype(np.asarray(values).dtype, np.integer):
                raise UsageError(f"{name} must be of an integer type, not {np.asarray(values).dtype}")
            written[:, POST.index(name)] = self._flat(name, values, shape, np.int32)
        return written


_LEAST_SOURCES, _LEAST_WORK = 128, 1 << 22
"""A thread takes at least so many sources, and so many updates in all."""


def _parts(threads: int | None, n_in: int, updates: int) -> int:
    """Return how many threads share the sources of a call."""
    if threads is not None:
        return max(1, min(threads, n_in))
    return max(1, min(usable_cores(), n_in // _LEAST_SOURCES, updates // _LEAST_WORK))


@dataclass(frozen=True, eq=False)
class DefectSchedule:
    """Defects of a connection's learning engine.

    Attributes:
        alive: bool [n_out], targets whose synapses can be written at all.
        edits: defects of the connection, in order.
        third: whether the rule has a third factor.
        phase: of the target population, with
        timesteps: T, for the clocks.
    """

    alive: NDArray[np.bool_]
    edits: tuple[Any, ...] = ()
    third: bool = False
    phase: int = 0
    timesteps: int = 1

    def rows(self, step: int, steps: int, epoch: int) -> records.Defects:
        """Return them for the epochs that end within ``steps`` steps after ``step``; a defect counts that is active at an epoch's end."""
        n_out = self.alive.size
        lasting = all(edit.when.always for edit in self.edits)
        ends = np.arange(step // epoch + 1, (step + steps) // epoch + 1, dtype=np.int64) * epoch - 1
        ends = ends[:1] if lasting and ends.size else ends
        count = max(1, ends.size)
        plastic = np.broadcast_to(self.alive, (count, n_out)).astype(np.uint8, order="C")
        rounding, post = np.full((count, n_out), -1, np.int64), np.full((count, 3, n_out), -1, np.int64)
        source = np.full((count, n_out, 2), -1, np.int64)
        for edit in self.edits:
            clock = ends % self.timesteps if edit.when.clock == "presentation" else ends + self.phase + 1
            place = np.ix_(np.flatnonzero(edit.when.active(clock)), edit.neurons)
            match edit.part:
                case "frozen":
                    plastic[place] = 0
                case "rounding":
                    rounding[place] = edit.value
                case "third_factor" if self.third:
                    for k in range(3):
                        post[:, k][place] = 0
                case "stuck_trace" if edit.trace[0] == "x":
                    source[:, :, int(edit.trace[1]) - 1][place] = edit.value
                case "stuck_trace":
                    post[:, int(edit.trace[1]) - 1][place] = edit.value
                case _:
                    pass
        groups, group = np.unique(np.concatenate([[[-1, -1]], source.reshape(-1, 2)]), axis=0, return_inverse=True)
        return records.Defects(
            plastic, rounding, post, group.ravel()[1:].reshape(count, n_out).astype(np.int64), groups.astype(np.int64)
        )
