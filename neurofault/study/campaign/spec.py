"""What a campaign file says: the record, its checks at file:line:column, and its cells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neurofault.engines import ENGINES
from neurofault.errors import NeurofaultError, SpecError
from neurofault.faults import Fault
from neurofault.faults.plan import models_of
from neurofault.rescue.budget import Budget
from neurofault.rescue.how import Plan
from neurofault.rescue.learners import check_learner
from neurofault.rescue.strategies import strategy_named
from neurofault.specfile import Node, at, checked
from neurofault.study.campaign.axes import Axis, Place, axes_of, choices, chosen, one_at_a_time, read_document
from neurofault.study.prepare import Setup
from neurofault.study.statistics import StopRule

_RECORD = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

MAX_TRIALS = 10_000_000
"""Most trials of one campaign."""

_Natural = Annotated[int, Field(ge=0, le=1 << 31)]
_Positive = Annotated[int, Field(ge=1, le=1 << 31)]


class Network(BaseModel):
    """Which network: exactly one of ``zoo``, ``torch`` and ``nir``.

    Attributes:
        zoo: name of a network of the zoo.
        torch: ``package.module:factory`` of a torch or snnTorch module.
        weights: state dict of that module, path from where the command runs.
        nir: a NIR file.
        dt: time step of a NIR file that does not say it, in the file's unit.
    """

    model_config = _RECORD
    zoo: str | None = None
    torch: str | None = None
    weights: str | None = None
    nir: str | None = None
    dt: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Network:
        given = [name for name in ("zoo", "torch", "nir") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of zoo, torch and nir, not {' and '.join(given) or 'none'}")
        if self.weights is not None and self.torch is None:
            raise ValueError("weights goes with torch")
        if self.dt is not None and self.nir is None:
            raise ValueError("dt goes with nir")
        if self.nir is not None and not self.nir.endswith(".nir"):
            raise ValueError(f"nir names a file *.nir, not {self.nir!r}")
        if self.torch is not None and ":" not in self.torch:
            raise ValueError(f"torch is package.module:factory, not {self.torch!r}")
        return self


class Data(BaseModel):
    """Which images.

    Attributes:
        name: data set; null: the zoo network's own (digits for another network).
        split: ``test`` to report, ``validation`` to tune.
        samples: how many, from the first; null: all.
        adapt: training images that a rescue adapts to; one pass over them is a cycle.
    """

    model_config = _RECORD
    name: str | None = None
    split: Literal["test", "validation"] = "test"
    samples: _Positive | None = None
    adapt: _Positive = 10_000


class Convert(BaseModel):
    """Conversion.

    Attributes:
        timesteps: steps that a sample is shown; null: the zoo network's own (32 for another).
        weight_bits: stored bits a weight.
    """

    model_config = _RECORD
    timesteps: Annotated[int, Field(ge=1, le=4096)] | None = None
    weight_bits: Annotated[int, Field(ge=1, le=8)] = 8


class Place_(BaseModel):
    """Placement.

    Attributes:
        strategy: ``pack``, ``spread`` or ``random``.
        neurons_per_core: of a layer; null: the zoo network's own grain.
        spare_cores: kept free for repair.
        chips: null: the fewest that fit.
        seed: of ``random``.
    """

    model_config = ConfigDict(**_RECORD, title="Place")
    strategy: Literal["pack", "spread", "random"] = "pack"
    neurons_per_core: _Positive | None = None
    spare_cores: _Natural = 0
    chips: _Positive | None = None
    seed: _Natural = 0


class Rescue(BaseModel):
    """One way of healing, with its budget; see :class:`neurofault.Budget` and :class:`neurofault.Plan`.

    Attributes:
        strategy: ``none``, ``remap``, ``batch``, ``iterative``, ``remap+learn``, ``embryonic``, or a control.
        learner: for a strategy that learns.
        cycles: passes over the adapt set in all, above 0.
        writes, writes_per_synapse: most changes of stored weights, in all and of each.
        energy: most joules (the profile's default table).
        time: most seconds on the chip.
        labels: share of labels known, 0 to 1.
        steps: equal damage steps (``iterative``, ``remap+learn``).
        watchdog: samples served broken before a strike is noticed.
        plastic: layers that may change; null: all that the learner can train.
    """

    model_config = _RECORD
    strategy: str
    learner: str | None = None
    cycles: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    writes: _Natural | None = None
    writes_per_synapse: _Natural | None = None
    energy: Annotated[float, Field(ge=0)] | None = None
    time: Annotated[float, Field(ge=0)] | None = None
    labels: Annotated[float, Field(ge=0, le=1)] = 1.0
    steps: _Positive = 1
    watchdog: _Natural = 0
    plastic: list[str] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Rescue:
        try:
            strategy = strategy_named(self.strategy)
            if self.learner is not None:
                check_learner(self.learner)
        except NeurofaultError as error:
            raise ValueError(str(error)) from None
        if strategy.learns and self.learner is None:
            raise ValueError(f"strategy {self.strategy} needs a learner")
        if not strategy.learns and self.learner is not None:
            raise ValueError(f"strategy {self.strategy} takes no learner")
        if self.steps > 1 and self.strategy not in ("iterative", "remap+learn"):
            raise ValueError(f"steps goes with iterative and remap+learn, not with {self.strategy}")
        return self

    @property
    def budget(self) -> Budget:
        """What it may use."""
        return Budget(
            cycles=self.cycles, writes=self.writes, writes_per_synapse=self.writes_per_synapse, energy=self.energy,
            time=self.time, labels=self.labels,
        )  # fmt: skip

    @property
    def plan(self) -> Plan:
        """How it goes about it."""
        return Plan(steps=self.steps, watchdog=self.watchdog)

    @property
    def label(self) -> str:
        """Return ``iterative · delta``."""
        return self.strategy if self.learner is None else f"{self.strategy} · {self.learner}"


class Stop(BaseModel):
    """Enough draws of a cell; see :class:`neurofault.study.statistics.StopRule`.

    Attributes:
        half_width: half of the 95 % interval of the final accuracy, as a fraction, 0 to 1.
        first: draws at the first look.
        every: draws between looks.
    """

    model_config = _RECORD
    half_width: Annotated[float, Field(gt=0, lt=1)]
    first: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 10

    @property
    def rule(self) -> StopRule:
        """The rule."""
        return StopRule(self.half_width, self.first, self.every)

    def __str__(self) -> str:
        return f"half width <= {self.half_width:g} at draws {self.first}, {self.first + self.every}, …"


class Repeats(BaseModel):
    """Draws: independent placements of the faults, the unit of all intervals.

    Attributes:
        draws: how many, at most.
        seed: of everything random.
        stop: a cell ends before ``draws`` once its answer is narrow enough; null: all are done.
    """

    model_config = _RECORD
    draws: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    seed: _Natural = 1
    stop: Stop | None = None


class Limits(BaseModel):
    """What one trial may take; beyond it the trial becomes a row with status ``timeout`` or ``memory``.

    Attributes:
        seconds: of wall time.
        megabytes: of memory that it takes beyond what its worker holds already, at least 128 (a compiler must fit).
    """

    model_config = _RECORD
    seconds: Annotated[float, Field(gt=0)] = 3600.0
    megabytes: Annotated[int, Field(ge=128)] = 8192


class CampaignSpec(BaseModel):
    """A campaign file with one value of each axis.

    Attributes:
        name: short; names the run folder.
        network, data, convert, place: what is broken.
        profile: bundled name, or a YAML file.
        engine: which simulator runs the chip.
        faults: plans; each is one fault, or ``{all: […]}`` for several at once.
        rescue: ways of healing, each tried on every plan.
        repeats: draws and seed.
        limits: of one trial.
    """

    model_config = _RECORD
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    network: Network
    data: Data = Data()
    profile: str = "loihi2"
    convert: Convert = Convert()
    place: Place_ = Place_()
    engine: str = "exact"
    faults: Annotated[list[dict[str, Any]], Field(min_length=1)]
    rescue: Annotated[list[Rescue], Field(min_length=1)] = [Rescue(strategy="none")]
    repeats: Repeats = Repeats()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _engine(self) -> CampaignSpec:
        if self.engine not in ENGINES:
            raise ValueError(f"engine {self.engine!r} is unknown; allowed: {', '.join(ENGINES)}")
        if self.engine != "exact" and any(one.strategy != "none" for one in self.rescue):
            raise ValueError(f"a rescue runs on engine exact, not on {self.engine}")
        return self

    def setup(self, data_dir: Path | None) -> Setup:
        """Return how the healthy chip is made."""
        network, place = self.network, self.place
        return Setup(
            network=network.zoo or network.torch or network.nir or "", profile=self.profile,
            weights=None if network.weights is None else Path(network.weights), data=self.data.name, data_dir=data_dir,
            timesteps=self.convert.timesteps, dt=network.dt, weight_bits=self.convert.weight_bits, place=place.strategy,
            neurons_per_core=place.neurons_per_core, spare_cores=place.spare_cores, chips=place.chips, place_seed=place.seed,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cell:
    """One combination of all axes, one plan of faults, one way of healing; its trials differ in the draw alone.

    Attributes:
        index: from 0, in the order of the file.
        spec: the file with the axes' values.
        plan: which item of ``faults``.
        faults: the models of that item.
        way: which item of ``rescue``.
        rescue: that item.
        axes: name → value of the axes that vary in this cell.
    """

    index: int
    spec: CampaignSpec
    plan: int
    faults: tuple[Fault, ...]
    way: int
    rescue: Rescue
    axes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Campaign:
    """A checked campaign.

    Attributes:
        path: its file.
        root: the document, includes and settings taken in, axes still in it.
        axes: in the order of the file.
        spec: with the first value of each axis.
    """

    path: Path
    root: Node
    axes: tuple[Axis, ...]
    spec: CampaignSpec

    @property
    def n_cells(self) -> int:
        """Number of cells, counted without making them."""
        common = _product(axis for axis in self.axes if axis.place[0] not in ("faults", "rescue"))

        def own(part: str, items: int) -> int:
            return sum(_product(axis for axis in self.axes if axis.place[:2] == (part, item)) for item in range(items))

        return common * own("faults", len(self.spec.faults)) * own("rescue", len(self.spec.rescue))

    @property
    def n_trials(self) -> int:
        """Most trials: cells times draws (an axis may vary the draws; the largest counts)."""
        draws = [axis.values for axis in self.axes if axis.place == ("repeats", "draws")]
        most = max(int(value) for value in draws[0]) if draws else self.spec.repeats.draws
        return self.n_cells * most

    def cells(self) -> Iterator[Cell]:
        """Yield the cells: common axes slowest, then plans and their axes, then ways of healing and theirs."""
        common = [axis for axis in self.axes if axis.place[0] not in ("faults", "rescue")]
        index = 0
        for shared in choices(common):
            for plan in range(len(self.spec.faults)):
                for broken in choices(_axes_in(self.axes, "faults", plan)):
                    for way in range(len(self.spec.rescue)):
                        for healed in choices(_axes_in(self.axes, "rescue", way)):
                            choice = {**shared, **broken, **healed}
                            yield self._cell(index, plan, way, choice)
                            index += 1

    def _cell(self, index: int, plan: int, way: int, choice: dict[Place, int]) -> Cell:
        root = chosen(self.root, choice)
        spec = CampaignSpec.model_validate(root.value)
        named = {axis.name: axis.values[choice[axis.place]] for axis in self.axes if axis.place in choice}
        return Cell(index, spec, plan, tuple(models_of(spec.faults[plan])), way, spec.rescue[way], named)


def _axes_in(axes: Sequence[Axis], part: str, item: int) -> list[Axis]:
    return [axis for axis in axes if axis.place[:2] == (part, item)]


def _product(axes: Iterator[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= len(axis.values)
    return total


def load_campaign(path: Path, settings: Sequence[str] = ()) -> Campaign:
    """Read and check a campaign file.

    Every value of every axis is checked, each beside the first values of the others.

    Args:
        path: a YAML file.
        settings: ``place=value`` each; see :func:`neurofault.study.campaign.axes.read_document`.

    Raises:
        SpecError: every mistake, at ``file:line:column``.
    """
    root = read_document(path, settings)
    axes = axes_of(root, str(path))
    if sum(len(axis.values) for axis in axes) > 10_000:
        raise SpecError([f"{path}: more than 10,000 values in sweeps"])
    whole = [axis for axis in axes if len(axis.place) == 1]
    if any(axis.place[0] in ("faults", "rescue", "name", "limits") for axis in whole):
        raise SpecError([f"{path}: {axis.name} itself cannot be a sweep" for axis in whole])
    mistakes: dict[str, None] = {}
    first: CampaignSpec | None = None
    for choice in one_at_a_time(axes):
        concrete = chosen(root, choice)
        try:
            spec = checked(concrete, CampaignSpec, filename=str(path))
            first = first or spec
        except SpecError as error:
            mistakes.update(dict.fromkeys(error.mistakes))
            continue
        for item, node in concrete.children["faults"].children.items():
            mistakes.update(dict.fromkeys(_fault_mistakes(node, f"faults[{item}]", str(path))))
    if mistakes:
        raise SpecError(sorted(mistakes, key=_order))
    assert first is not None
    campaign = Campaign(path, root, tuple(axes), first)
    if campaign.n_trials > MAX_TRIALS:
        raise SpecError([f"{path}: {campaign.n_trials:,} trials; at most {MAX_TRIALS:,} in one campaign"])
    return campaign


def _order(mistake: str) -> tuple[str, int, int, str]:
    found = re.match(r"(.*?):(\d+):(\d+): ", mistake)
    return (found[1], int(found[2]), int(found[3]), mistake) if found else ("", 0, 0, mistake)


def _fault_mistakes(node: Node, name: str, filename: str) -> Iterator[str]:
    """Yield what is wrong with one plan, at the key that a message names."""
    if set(node.value) == {"all"}:
        items = node.children["all"]
        if not isinstance(items.value, list) or not items.value or not all(isinstance(one, dict) for one in items.value):
            yield at(filename, items.mark, f"{name}.all: expected a list of faults")
            return
        for index, child in items.children.items():
            yield from _fault_mistakes(child, f"{name}.all[{index}]", filename)
        return
    try:
        models_of(node.value)
    except (NeurofaultError, TypeError, ValueError, OverflowError) as error:
        for line in str(error).split("\n"):
            words = re.findall(r"[A-Za-z_]+", line.partition(": ")[2] or line)
            key = next((word for word in words if word in node.keys), None)
            mark = node.mark if key is None else node.keys[key] if "unknown key" in line else node.children[key].mark
            yield at(filename, mark, f"{name}: {line}")
