"""What a campaign file may hold: one record a part, with its checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from neurofault.convert.networks import is_network_file
from neurofault.convert.nir_fields import NirReset
from neurofault.data.binning import Binning
from neurofault.data.datasets import NAMES
from neurofault.data.event_sets import EVENT_SETS
from neurofault.deploy.anneal_words import place_words
from neurofault.deploy.spares import spares_of
from neurofault.engines import ENGINES
from neurofault.errors import ConversionError, UsageError, nearest
from neurofault.graph.readout import readout_words
from neurofault.rescue.strategies import strategy_named
from neurofault.study.campaign.files import module_named, profile_named
from neurofault.study.campaign.ways import RECORD, Natural, Positive, Rescue
from neurofault.study.hardened import zoo_network
from neurofault.study.prepare import Setup
from neurofault.study.protect.spec import CodeSpec, OrderSpec, Protect, RangeSpec
from neurofault.study.statistics import LEAST_FIRST, SHARE, StopRule


class NetworkChoice(BaseModel):
    """Which network: exactly one of ``zoo``, ``torch``, ``nir`` and ``netx``.

    Attributes:
        zoo: name of a network of the zoo, and what it is trained for: ``mnist-mlp``, ``mnist-mlp+cores=6`` (:mod:`neurofault.zoo.hardening`).
        torch: ``package.module:factory`` of a torch or snnTorch module.
        weights: state dict of that module; paths are from the campaign file's folder.
        folder: in which Python finds the module, before where the command runs; null: the campaign file's.
        nir: a NIR file (``*.nir``).
        netx: a netx file of lava-dl (``*.net``).
        dt: time step of a NIR file that does not say it, in the file's unit.
        nir_reset: what a spike does to the potential in a NIR file that does not say it: ``zero``, ``subtract``, ``none``, or ``snntorch-zero`` and
            ``snntorch-subtract``, a step late.
        readout: how a network of spiking neurons answers: ``count``, ``potential``, ``largest``, ``mean``, or one of them with its steps, ``mean:10:50``
            (:class:`neurofault.graph.Readout`); null: the network's own.
    """

    model_config = RECORD
    zoo: str | None = None
    torch: str | None = None
    weights: str | None = None
    folder: str | None = None
    nir: str | None = None
    netx: str | None = None
    dt: Annotated[float, Field(gt=0)] | None = None
    nir_reset: NirReset | None = None
    readout: str | None = None

    @field_validator("zoo")
    @classmethod
    def _in_zoo(cls, name: str | None) -> str | None:
        if name is not None:
            if ":" in name or is_network_file(name):
                raise ValueError(f"zoo is the name of a network of the zoo, not {name!r}; a file is nir or netx, a factory torch")
            try:
                zoo_network(name)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def _one(self) -> NetworkChoice:
        given = [name for name in ("zoo", "torch", "nir", "netx") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of zoo, torch, nir and netx, not {' and '.join(given) or 'none'}")
        if self.weights is not None and self.torch is None:
            raise ValueError("weights goes with torch")
        if self.folder is not None and self.torch is None:
            raise ValueError("folder goes with torch")
        if self.dt is not None and self.nir is None:
            raise ValueError("dt goes with nir")
        if self.nir_reset is not None and self.nir is None:
            raise ValueError("nir_reset goes with nir")
        if self.readout is not None:
            try:
                readout_words(self.readout)
            except ConversionError as error:
                raise ValueError(str(error)) from None
        if self.nir is not None and not self.nir.endswith(".nir"):
            raise ValueError(f"nir names a file *.nir, not {self.nir!r}")
        if self.netx is not None and not self.netx.endswith(".net"):
            raise ValueError(f"netx names a file *.net, not {self.netx!r}")
        if self.torch is not None and ":" not in self.torch:
            raise ValueError(f"torch is package.module:factory, not {self.torch!r}")
        return self


class Data(Binning):
    """Which samples: at most one of ``name``, ``npz``, ``events`` and ``python``; and how recordings become steps (:class:`neurofault.data.binning.Binning`).

    Attributes:
        name: data set; null: the zoo network's own (digits for another network).
        npz: file of one's own (:mod:`neurofault.data.own`); paths are from the campaign file's folder.
        events: recordings of one's own: a folder or a file ``*.h5`` (:mod:`neurofault.data.event_sets`), likewise.
        python: ``package.module:factory`` of one's own (:mod:`neurofault.data.factories`).
        folder: in which Python finds that module, before where the command runs; null: the campaign file's.
        split: ``test`` to report, ``validation`` to tune.
        samples: how many, from the first; null: all.
        adapt: training samples that a rescue adapts to; one pass over them is a cycle.
        signed: how negative values are shown, ``bias`` or ``lines`` (:class:`neurofault.data.scaling.Scaling`).
        metric: what is measured: ``accuracy``, ``top-3`` …, ``accuracy-step``, ``mean-squared-error``, ``mean-squared-error-step`` (:mod:`neurofault.metrics`); null: what goes with the labels.
    """

    model_config = RECORD
    name: str | None = None
    npz: str | None = None
    events: str | None = None
    python: str | None = None
    folder: str | None = None
    split: Literal["test", "validation"] = "test"
    samples: Positive | None = None
    adapt: Positive = 10_000
    signed: Literal["bias", "lines"] = "bias"
    metric: str | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in NAMES:
            elsewhere = "a file is npz, recordings are events, a factory is python"
            if ":" in name or name.lower().endswith(".npz"):
                raise ValueError(f"name is that of a data set, not {name!r}; {elsewhere}")
            raise ValueError(f"unknown data set {name!r}{nearest(name, NAMES)}; known: {', '.join(NAMES)}; {elsewhere}")
        return name

    @model_validator(mode="after")
    def _one(self) -> Data:
        given = [name for name in ("name", "npz", "events", "python") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of name, npz, events and python, not {' and '.join(given)}")
        if self.folder is not None and self.python is None:
            raise ValueError("folder goes with python")
        if self.npz is not None and not self.npz.lower().endswith(".npz"):
            raise ValueError(f"npz names a file *.npz, not {self.npz!r}")
        if asked := self.binning:
            where = "events" if self.events is not None else self.name
            if where != "events" and where not in EVENT_SETS:
                raise ValueError(f"{next(iter(asked.asked()))} goes with recordings: events, or name of {', '.join(EVENT_SETS)}")
        if self.events is not None and (missing := [key for key in ("bins", "dt") if getattr(self, key) is None]):
            raise ValueError(f"events are recordings: {' and '.join(missing)} must be said, such as bins: 300, dt: 1e-3")
        if self.python is not None and ":" not in self.python:
            raise ValueError(f"python is package.module:factory, not {self.python!r}")
        return self

    @property
    def binning(self) -> Binning | None:
        """How recordings become steps; None: nothing is asked for."""
        asked = self.asked()
        return Binning(**asked) if asked else None

    def named(self, base: Path) -> str | None:
        """Return what :func:`neurofault.data.datasets.load` takes; None: the zoo network's own."""
        if self.npz is not None:
            return str(base / self.npz)
        if self.events is not None:
            return str(base / self.events)
        return self.name if self.python is None else module_named(self.python, base / (self.folder or "."))


class Convert(BaseModel):
    """Conversion.

    Attributes:
        timesteps: steps that a sample is shown; null: the zoo network's own (32 for another).
        weight_bits: stored bits a weight; null: the most that the profile stores.
        reset: ``sample``: u, v and spikes on their way are cleared before each sample; ``never``: the samples are one stream;
            null: the network's own (``sample`` for what is converted).
        calibrate: which conversions of a torch network are compared, ``usual``, ``settled`` or ``subtract`` (:func:`neurofault.study.calibrate.choose`).
    """

    model_config = RECORD
    timesteps: Annotated[int, Field(ge=1, le=4096)] | None = None
    weight_bits: Annotated[int, Field(ge=1, le=8)] | None = None
    reset: Literal["sample", "never"] | None = None
    calibrate: Literal["usual", "settled", "subtract"] = "usual"


class KeptSpares(BaseModel):
    """Spare cores that are kept for what sits on a chip or tile, or in a layer, alone: one of the three.

    Attributes:
        per_chip: of each chip.
        per_tile: of each tile.
        per_layer: of each layer.
    """

    model_config = RECORD
    per_chip: Positive | None = None
    per_tile: Positive | None = None
    per_layer: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> KeptSpares:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give one of per_chip, per_tile and per_layer")
        return self

    def __str__(self) -> str:
        return str(spares_of(self.model_dump(exclude_none=True)))


class Place_(BaseModel):
    """Placement.

    Attributes:
        strategy: ``pack``, ``spread``, ``random`` or ``anneal``: searched for few hops and a low worst loss of dead cores.
        damage: of ``anneal``: weight of that loss, 0 to 1.
        dying: of ``anneal``: cores that die.
        neurons_per_core: of a layer; null: the zoo network's own grain.
        spare_cores: kept free for repair: so many, for all; or ``{per_chip: 1}``, ``{per_tile: 1}``, ``{per_layer: 1}``.
        chips: null: the fewest that fit.
        seed: of ``random`` and ``anneal``.
    """

    model_config = ConfigDict(**RECORD, title="Place")
    strategy: Literal["pack", "spread", "random", "anneal"] = "pack"
    damage: Annotated[float, Field(ge=0, le=1)] = 0.5
    dying: Positive = 1
    neurons_per_core: Positive | None = None
    spare_cores: Natural | KeptSpares = 0
    chips: Positive | None = None
    seed: Natural = 0


class Stop(BaseModel):
    """Enough draws of a cell; see :class:`neurofault.study.statistics.StopRule`.

    Attributes:
        half_width: half of the 95 % interval of the final accuracy, as a fraction, 0 to 1; with ``most`` of the final mean squared error, above 0.
        first: draws at the first look, at least 10.
        every: draws between looks.
        most: of a mean squared error, which has no largest value: the error that no draw will exceed, in the targets' unit squared, above half_width.
    """

    model_config = RECORD
    half_width: Annotated[float, Field(gt=0)]
    first: Annotated[int, Field(ge=LEAST_FIRST, le=1_000_000)] = 10
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    most: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Stop:
        if self.half_width >= (self.most or 1.0):
            raise ValueError(
                f"half_width must be below {'1' if self.most is None else f'most ({self.most:g})'}, is {self.half_width:g}"
            )
        return self

    @property
    def rule(self) -> StopRule:
        """The rule."""
        return StopRule(self.half_width, self.first, self.every, SHARE if self.most is None else (0.0, self.most))

    def __str__(self) -> str:
        return f"half width <= {self.half_width:g} at draws {self.first}, {self.first + self.every}, …"


class Repeats(BaseModel):
    """Draws: independent placements of the faults, the unit of all intervals.

    Attributes:
        draws: how many, at most.
        seed: of everything random.
        stop: a cell ends before ``draws`` once its answer is narrow enough; null: all are done.
    """

    model_config = RECORD
    draws: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    seed: Natural = 1
    stop: Stop | None = None

    @model_validator(mode="after")
    def _fits(self) -> Repeats:
        if self.stop is not None and self.stop.first > self.draws:
            raise ValueError(f"stop.first must be at most draws ({self.draws}), is {self.stop.first}")
        return self


class Limits(BaseModel):
    """What one trial may take; beyond it the trial becomes a row with status ``timeout`` or ``memory``.

    Attributes:
        seconds: of wall time.
        megabytes: of memory that it takes beyond what its worker holds already, at least 128 (a compiler must fit).
    """

    model_config = RECORD
    seconds: Annotated[float, Field(gt=0)] = 3600.0
    megabytes: Annotated[int, Field(ge=128)] = 8192


class CampaignSpec(BaseModel):
    """A campaign file with one value of each axis.

    Attributes:
        name: short; names the run folder.
        network: which network is broken.
        data: which samples it is shown.
        profile: the chip: a bundled name, or a YAML file.
        convert: how it becomes spikes and integers.
        place: where it sits.
        engine: which simulator runs the chip.
        faults: plans; each is one fault, or ``{all: […]}`` for several at once.
        rescue: ways of healing, each tried on every plan.
        protect: what guards the stored weights, all of it together (:mod:`neurofault.study.protect.spec`); bits are chosen on training samples.
        repeats: draws and seed.
        limits: what one trial may take.
    """

    model_config = RECORD
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    network: NetworkChoice
    data: Data = Data()
    profile: str = "loihi2"
    convert: Convert = Convert()
    place: Place_ = Place_()
    engine: str = "exact"
    faults: Annotated[list[dict[str, Any]], Field(min_length=1)]
    rescue: Annotated[list[Rescue], Field(min_length=1)] = [Rescue(strategy="none")]
    protect: list[Protect] = []
    repeats: Repeats = Repeats()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _engine(self) -> CampaignSpec:
        if self.engine not in ENGINES:
            raise ValueError(f"engine {self.engine!r} is unknown; allowed: {', '.join(ENGINES)}")
        if self.engine != "exact" and any(one.strategy != "none" for one in self.rescue):
            raise ValueError(f"a rescue runs on engine exact, not on {self.engine}")
        return self

    @model_validator(mode="after")
    def _holds_its_maps(self) -> CampaignSpec:
        files = [
            one.defects for one in self.protect if isinstance(one, OrderSpec) and isinstance(one.defects, str) and not one.tested
        ]
        if files:
            raise ValueError(
                f"protect remap_bits: defects is {files[0]!r:.80}; a campaign holds its defect map itself, as a list such as [{{kind: synapse_bit_stuck, layer: output, synapse_bits: [[0, 0, 7]]}}], or says tested"
            )
        return self

    @model_validator(mode="after")
    def _moves(self) -> CampaignSpec:
        guards = [str(one) for one in self.protect if isinstance(one, CodeSpec | RangeSpec | OrderSpec)]
        moving = [one.strategy for one in self.rescue if strategy_named(one.strategy).spares]
        if guards and moving:
            raise ValueError(
                f"protect {guards[0]} guards stored weights, and rescue {moving[0]} moves them away from their code words, ranges and orders of bits, of which no new ones are made; "
                "make two campaigns of them, or protect neurons (potentials, tmr, mute)"
            )
        return self

    def setup(self, data_dir: Path | None, base: Path = Path()) -> Setup:
        """Return how the healthy chip is made.

        Args:
            data_dir: folder of published data files.
            base: folder that the paths of the campaign start from.

        Raises:
            UsageError: the profile is neither a file there nor a bundled one.
        """
        network, place = self.network, self.place
        given = network.nir or network.netx
        file = None if given is None else str(base / given)
        torch = None if network.torch is None else module_named(network.torch, base / (network.folder or "."))
        return Setup(
            network=network.zoo or torch or file or "", profile=profile_named(self.profile, base),
            weights=None if network.weights is None else base / network.weights, data=self.data.named(base), data_dir=data_dir,
            timesteps=self.convert.timesteps, dt=network.dt, weight_bits=self.convert.weight_bits, place=place_words(place.strategy, place.damage, place.dying),
            neurons_per_core=place.neurons_per_core,
            spare_cores=place.spare_cores if isinstance(place.spare_cores, int) else str(place.spare_cores), chips=place.chips, place_seed=place.seed,
            reset=self.convert.reset, signed=self.data.signed, binning=self.data.binning, nir_reset=network.nir_reset, readout=network.readout, calibrate=self.convert.calibrate,
            metric=self.data.metric,
        )  # fmt: skip
