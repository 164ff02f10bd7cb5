"""What docs/architecture.md promises to whoever adds something: what does not know it refuses it by name, and nothing forgets it silently."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pydantic import Field

import neurofault as nf
from neurofault.damage.edits import EDITS, Detour, Stall, mistake, sites
from neurofault.damage.neuron_edits import Force, InputNoise, SetField, Silence, StuckCounter, Upset
from neurofault.damage.synapse_edits import Drop, LearningDefect, SetDelays, SetSynapses, SetTerms
from neurofault.digest import digest_of
from neurofault.engines import get_engine
from neurofault.errors import FaultError, UnsupportedError, UsageError
from neurofault.faults import Fault
from neurofault.faults.context import FaultOutcome
from neurofault.faults.places import core_blocks
from neurofault.faults.plan_file import plan_hash
from neurofault.faults.sites import Ids
from neurofault.graph.law import Law
from neurofault.study.chain_identity import chip_record


@dataclass(frozen=True, eq=False)
class Tired(Law):
    """A law with something that no engine knows."""

    tiredness: NDArray[np.int32] | None = None


def chip() -> nf.Deployment:
    populations = [
        nf.Population("eyes", (3,), nf.Source()),
        nf.Population("mind", (4,), nf.CubaLif(1.0)),
        nf.Population("hands", (2,), nf.CubaLif(1.0)),
    ]
    random = np.random.default_rng(1)
    return nf.deploy(
        nf.chain(
            "reflex",
            populations,
            [nf.Dense(random.normal(0.5, 0.5, shape)) for shape in ((4, 3), (2, 4))],
            timesteps=6,
            how="count",
        )
    )


EVENTS = np.random.default_rng(2).random((3, 6, 3)) < 0.4


def tired(law: Law) -> nf.Deployment:
    whole = chip()
    return whole.with_population(replace(whole.population("mind"), law=law))


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_a_law_that_an_engine_does_not_know_is_refused_by_name(engine):
    assert get_engine(engine).supports(tired(Tired())) is None
    reason = get_engine(engine).supports(tired(Tired(tiredness=np.ones(4, np.int32))))
    assert reason.startswith("layer 'mind': ")
    assert "tiredness" in reason


def test_a_law_that_no_kernel_knows_is_stepped_as_the_law_says(monkeypatch):
    from neurofault.engines.exact import stepwise

    met = []
    usual = stepwise.step_of_law
    monkeypatch.setattr(stepwise, "step_of_law", lambda *given: met.append(given[7]) or usual(*given))
    nf.run(tired(Tired()), EVENTS)
    assert not met
    nf.run(tired(Tired(tiredness=np.ones(4, np.int32))), EVENTS)
    assert any(isinstance(law, Tired) for law in met)


def test_a_law_of_another_version_is_not_read_in_part(tmp_path):
    nf.save(tired(Tired(tiredness=np.ones(4, np.int32))), tmp_path / "chip.npz")
    with pytest.raises(UsageError, match="tiredness"):
        nf.load(tmp_path / "chip.npz")


def test_two_laws_never_share_an_identity():
    laws = [
        Law(),
        Law("none"),
        Law("subtract"),
        Law(delayed=True),
        Law(floor=np.zeros(4, np.int32)),
        Tired(tiredness=np.ones(4, np.int32)),
    ]
    assert len({digest_of(*chip_record(tired(law))) for law in laws}) == len(laws)


@pytest.mark.parametrize("engine", ["exact", "lava", "brian2"])
def test_what_an_edit_does_to_a_step_is_applied_or_refused(engine, monkeypatch):
    hurt = nf.inject(chip(), {"kind": "neuron_dead", "neurons": [1], "layer": "mind"})
    assert get_engine(engine).supports(hurt) is None
    monkeypatch.setattr(Silence, "does", frozenset({"silent", "sulking"}))
    assert get_engine(engine).supports(hurt) == "layer 'mind': Silence is not applied there"


def test_every_kind_of_edit_says_how_it_is_dealt_out_and_what_its_numbers_may_be():
    ones = {
        "neurons": np.arange(2),
        "sources": np.arange(2),
        "targets": np.arange(2),
        "destinations": np.arange(2),
        "extra_hops": np.arange(2),
        "delays": np.arange(2),
        "cores": (0, 1),
        "values": np.zeros(2, np.int32),
        "masks": np.ones(2, np.int32),
        "flips": np.ones(2, np.int32),
    }
    said = {
        "population": "mind",
        "connection": "mind",
        "rate": 1,
        "field": "vth",
        "state": "u",
        "at": 0,
        "value": 0,
        "core": 0,
        "sigma": 1.0,
        "key": 1,
        "part": "frozen",
        "axon": 0,
        "longest": 3,
    }
    for name, kind in EDITS.items():
        edit = kind(**{field: {**ones, **said}[field] for field in kind.__dataclass_fields__ if field in {**ones, **said}})
        assert mistake(edit) is None, name
        assert sites(edit) in (None, 2), name


def test_the_hash_of_a_plan_knows_the_numbers_of_an_edit():
    plans = [
        nf.faults.plan(chip(), {"kind": "neuron_stuck", "neurons": [1], "layer": "mind", "spike_rate": rate})
        for rate in (0.25, 0.5)
    ]
    assert plan_hash(plans[0]) != plan_hash(plans[1])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "neuron_stuck", "spike_rate": 0.5},
        {"kind": "spike_reset_lost"},
        {"kind": "state_kept", "when": {"kind": "permanent"}},
    ],
)
def test_what_an_edit_holds_is_not_drawn_again(fault):
    two = {**fault, "count": 2, "layer": "mind"}
    hurt = nf.inject(chip(), [two, two], seed=3)
    first, second = (edit.neurons.tolist() for edit in hurt.damage.edits)
    assert sorted(first + second) == [0, 1, 2, 3]
    with pytest.raises(FaultError, match="has only 4, 0 of them not broken for good already"):
        nf.inject(hurt, {**two, "count": 1, "again": "never"}, seed=4)


def test_what_is_no_part_of_a_core_goes_along_when_its_neurons_move(monkeypatch):
    from neurofault.rescue.remap.damage import damage_after

    hurt = nf.inject(chip(), {"kind": "neuron_stuck", "neurons": [1, 2], "layer": "mind", "spike_rate": 0.5})
    moved = {one.name: np.zeros(one.size, bool) for one in hurt.populations}
    moved["mind"][1] = True
    (left,) = damage_after(hurt, moved, []).edits
    assert left.neurons.tolist() == [2]
    monkeypatch.setattr(type(left), "of_core", False)
    (left,) = damage_after(hurt, moved, []).edits
    assert left.neurons.tolist() == [1, 2]


@pytest.mark.parametrize(("mended_by", "left"), [("weights", 0), (None, 1)])
def test_a_write_mends_what_says_so(mended_by, left, monkeypatch):
    from neurofault.damage.synapse_edits import SetSynapses
    from neurofault.deploy.memory import write

    hurt = nf.inject(chip(), {"kind": "synapse_bit_flip", "count": 1, "layer": "mind"}, seed=1)
    monkeypatch.setattr(SetSynapses, "mended_by", mended_by)
    (edit,) = write(hurt, "mind", np.zeros((4, 3), np.int64)).damage.edits
    assert len(edit.targets) == left


@dataclass(frozen=True, eq=False)
class Adaptive(Law):
    """A law whose threshold rises with each spike and falls back: a state of its own, ``raised``."""

    rise: NDArray[np.int32] | None = None

    @property
    def states(self) -> tuple[str, ...]:
        return ("raised",)


def adaptive(monkeypatch: pytest.MonkeyPatch) -> nf.Deployment:
    from neurofault.engines.exact import stepwise

    usual = stepwise.step_of_law

    def step(u, v, drive, du, dv, vth, bias, law, own, kept):
        if not isinstance(law, Adaptive):
            return usual(u, v, drive, du, dv, vth, bias, law, own, kept)
        fired = usual(u, v, drive, du, dv, vth + own["raised"], bias)
        own["raised"][:] = own["raised"] // 2 + np.where(fired, law.rise, 0)
        return fired

    monkeypatch.setattr(stepwise, "step_of_law", step)
    return tired(Adaptive(rise=np.full(4, 1 << 14, np.int32)))


def test_a_state_of_a_law_of_its_own_is_kept_carried_cut_and_cleared(monkeypatch):
    from neurofault.engines.exact.engine import ExactEngine

    made, engine, inputs = adaptive(monkeypatch), ExactEngine(1), nf.Inputs(events=EVENTS)
    whole = engine.run(made, inputs, record=("spikes",))
    plain = engine.run(chip(), inputs, record=("spikes",))
    assert whole.traces["mind"].spikes.sum() < plain.traces["mind"].spikes.sum()
    first = engine.run(made, inputs, stop=3, record=("spikes",))
    assert first.state.own["mind"]["raised"].any()
    second = engine.run(made, inputs, state=first.state, record=("spikes",))
    joined = np.concatenate([part.traces["mind"].spikes for part in (first, second)], axis=1)
    np.testing.assert_array_equal(joined, whole.traces["mind"].spikes)
    np.testing.assert_array_equal(second.scores, whole.scores)
    alone = engine.run(made, nf.Inputs(events=EVENTS[1:2]), record=("spikes",))
    np.testing.assert_array_equal(alone.traces["mind"].spikes[0], whole.traces["mind"].spikes[1])
    with pytest.raises(UsageError, match="the state's own 'raised' of population 'mind': it lacks it"):
        engine.run(made, inputs, state=replace(first.state, own={}))


def test_a_law_that_nir_does_not_say_is_not_written():
    with pytest.raises(UnsupportedError, match=r"population 'mind': tiredness .* which a NIR file does not say"):
        nf.to_nir(tired(Tired(tiredness=np.ones(4, np.int32))))


class Weary(Fault):
    """A kind of somebody's own, whose edits are handed to it."""

    kind: ClassVar[str] = "weary"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "vth"
    mechanism: ClassVar[str] = "none"
    sources: ClassVar[tuple[str, ...]] = ("a test",)
    edits: ClassVar[tuple[object, ...]] = ()

    cores: Ids | None = None

    def resolve(self, context):
        out = FaultOutcome()
        out.edits += self.edits
        return out


class Drawing(Weary):
    """A kind that draws its sites whatever it lists."""

    def resolve(self, context):
        list(context.choose(self, core_blocks(context.deployment, context.populations(self))))
        return FaultOutcome()


def test_a_kind_that_draws_sites_where_they_are_listed_is_refused():
    said = "weary: it lists its cores, and its resolve draws sites all the same; take fault.sites where they are listed, or for cores neurofault.faults.cores.chosen_cores, which does both"
    assert not nf.inject(chip(), Drawing(count=1, layer="any")).damage.edits
    with pytest.raises(FaultError, match=re.escape(said)):
        nf.inject(chip(), Drawing(cores=[0]))


class Parched(Weary):
    """Neurons that were not watered."""

    kind: ClassVar[str] = "parched"

    drop: float = Field(default=0.3, description="of the threshold", gt=0, le=1, json_schema_extra={"unit": "vth"})
    days: int = Field(default=1, description="without water", le=90)
    at_once: Literal[1, 2, 4] = Field(default=1, description="neurons that dry at mostgether")
    soil: Literal["sand", "clay"] | None = Field(default=None, description="what they stand in")
    pot: str = Field(default="a1", description="which pot", pattern="^[a-z][0-9]$")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("drop: 7", "drop must be above 0, at most 1, is 7"),
        ("drop: 0", "drop must be above 0, at most 1, is 0"),
        ("drop: low", "drop must be a number, is 'low'"),
        ("days: 91", "days must be at most 90, is 91"),
        ("days: 1.5", "days must be a whole number, is 1.5"),
        ("at_once: 3", "at_once must be 1 or 2 or 4, is 3"),
        ("soil: sandd", "soil must be sand or clay, is 'sandd' (did you mean 'sand'?)"),
        ("pot: 11", "pot must be a name, is 11"),
        ("pot: '11'", "pot must be given otherwise: String should match pattern '^[a-z][0-9]$'; it is '11'"),
        ("drp: 0.5", "unknown key 'drp' (did you mean 'drop'?); allowed: count, rate, where, layer, at, when, again, cores, drop, days, at_once, soil, pot"),
    ],
)  # fmt: skip
def test_parameters_of_a_kind_of_ones_own_are_checked_at_their_place_like_those_of_the_package(given, said, monkeypatch, tmp_path):
    from neurofault.faults import models
    from neurofault.study.campaign.spec import load_campaign

    monkeypatch.setitem(models.KINDS, "parched", Parched)
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\nnetwork: {{zoo: digits-mlp}}\nfaults:\n  - {{kind: parched, count: 1, {given}}}\n")
    column = 31 if said.startswith("unknown key") else 33 + given.index(":")
    with pytest.raises(nf.errors.SpecError) as refused:
        load_campaign(file)
    assert str(refused.value) == f"{file}:4:{column}: faults[0]: parched: {said}"
    with pytest.raises(FaultError) as refused:
        nf.faults.fault_from_mapping({"kind": "parched", "count": 1, **yaml.safe_load(f"{{{given}}}")})
    assert str(refused.value) == f"parched: {said}"


def test_parameters_of_a_kind_of_ones_own_are_described_with_their_range_and_their_choices(monkeypatch):
    from neurofault.faults import models

    monkeypatch.setitem(models.KINDS, "parched", Parched)
    monkeypatch.setattr(models, "FAMILIES", {**models.FAMILIES, "own": (Parched,)})
    found = {one.name: (one.allowed, one.unit, one.text) for one in nf.faults.describe("parched").parameters}
    assert [found[name] for name in ("drop", "days", "at_once", "soil")] == [
        ("above 0, at most 1", "vth", "of the threshold"),
        ("at most 90", "", "without water"),
        ("1, 2, 4", "", "neurons that dry at mostgether"),
        ("sand, clay", "", "what they stand in"),
    ]


@pytest.mark.parametrize("hint", [float, int, float | None])
def test_a_number_without_a_range_is_refused_where_the_kind_is_made(hint):
    said = r"^weary: parameter 'drop' is a number without a range; say its smallest and largest: drop: … = Field\(default=…, ge=…, le=…\), of pydantic$"
    with pytest.raises(FaultError, match=said):
        type("Dry", (Weary,), {"__annotations__": {"drop": hint}, "drop": 1, "__module__": __name__})


ONE = np.ones(1, np.int64)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (SetField("mind", "vth", np.arange(2), np.zeros(2, np.int32)), None),
        (SetField("mind", np.arange(2), "vth", np.zeros(2, np.int32)), "an edit that is not right: SetField: field must be one of vth, du, dv, bias_mantissa, is an array of int64 of shape (2,)"),
        (SetField("mind", "vthh", np.arange(2), np.zeros(2, np.int32)), "an edit that is not right: SetField: field must be one of vth, du, dv, bias_mantissa, is 'vthh' (str) (did you mean 'vth'?)"),
        (SetField("mind", "vth", np.arange(2), np.zeros(2)), "an edit that is not right: SetField: values must be a one-dimensional array of int32, as many as neurons, is an array of float64 of shape (2,)"),
        (SetField("mind", "vth", np.arange(2), np.full(2, 10**9)), "an edit that is not right: SetField: values must be a one-dimensional array of int32, as many as neurons, is an array of int64 of shape (2,)"),
        (SetField("mind", "vth", [0, 1], np.zeros(2, np.int32)), "an edit that is not right: SetField: neurons must be a one-dimensional array of int64, is [0, 1] (list)"),
        (SetField("mind", "vth", np.arange(2), np.zeros(2, np.int32), low=0), "an edit that is not right: SetField: low and high go together: give both, or neither"),
        (SetField("mind", "vth", np.arange(2), np.zeros(2, np.int32), low=9, high=0), "an edit that is not right: SetField: low must be at most high, 0, is 9"),
        (SetField("mind", "vth", np.arange(2), np.zeros(2, np.int32), low=0, high=9, bit=32), "an edit that is not right: SetField: bit must be from 0 to 31, is 32"),
        (Force("mind", np.arange(2), 65537), "an edit that is not right: Force: rate must be from 0 to 65536, is 65537"),
        (Force("mind", np.arange(2), 0.5), "an edit that is not right: Force: rate must be a whole number (int), is 0.5 (float)"),
        (Upset("mind", "w", np.arange(1), np.ones(1, np.int32), 3), "an edit that is not right: Upset: state must be one of u, v, is 'w' (str)"),
        (Upset("mind", "v", np.arange(2), np.array([1, 1 << 24], np.int32), 3), "an edit that is not right: Upset: masks must hold numbers from 0 to 16777215, not 16777216"),
        (StuckCounter("mind", np.arange(2), 2), "an edit that is not right: StuckCounter: value must be from 0 to 1, is 2"),
        (InputNoise("eyes", np.arange(2), -1.0, 0), "an edit that is not right: InputNoise: sigma must be from 0 to 1000000000, is -1.0"),
        (SetSynapses("mind", ONE, ONE, ONE.astype(np.int32), keep=ONE.astype(np.int32)), "an edit that is not right: SetSynapses: keep and force go together: give both, or neither"),
        (SetSynapses("mind", ONE, ONE, ONE.astype(np.int32), flips=ONE), "an edit that is not right: SetSynapses: flips must be a one-dimensional array of int32, as many as sources, or None, is an array of int64 of shape (1,)"),
        (SetDelays("mind", ONE, ONE, -ONE), "an edit that is not right: SetDelays: delays must hold numbers from 0 to "),
        (SetTerms("mind", ONE, ONE, ONE.astype(np.int32), ONE.astype(np.int32)), "an edit that is not right: SetTerms: give axon or entry, one of the two"),
        (Drop("mind", 0, ONE, ONE, 0.0), "an edit that is not right: Drop: probability must be above 0 and at most 1, is 0.0"),
        (LearningDefect("mind", "frosen", ONE), "an edit that is not right: LearningDefect: part must be one of frozen, stuck_trace, third_factor, rounding, error, feedback, is 'frosen' (str) (did you mean 'frozen'?)"),
        (LearningDefect("mind", "frozen", ONE, value=-1), "an edit that is not right: LearningDefect: value must be from 0 to 2147483647, is -1"),
        (Stall((0.5,)), "an edit that is not right: Stall: cores must be a tuple, each entry a whole number (int), is (0.5,) (tuple)"),
        (Detour(ONE, ONE, -ONE), "an edit that is not right: Detour: extra_hops must hold numbers from 0 to 2147483648, not -1"),
        (SetField("mind", "vth", np.arange(2), np.zeros(3, np.int32)), "an edit that is not right: SetField: values must be as many as neurons, 2, not 3"),
        (Silence("mind", np.array([2, 1])), "an edit that is not right: Silence: neurons are not sorted, or one stands there twice"),
        (Silence("mind", np.array([-1, 2])), "an edit that is not right: Silence: neurons must be numbers from 0, not -1"),
        (Silence("mind", np.array([4])), "an edit of what is not there: it hits neuron 4 of layer 'mind', but here that has 4 neurons, 0 to 3"),
        (Silence("mine", np.array([0])), "an edit of what is not there: it hits layer 'mine', but here layers are eyes, mind, hands"),
        ("silence", "a str; allowed are edits: "),
    ],
)  # fmt: skip
def test_an_edit_of_a_kind_of_ones_own_is_right_or_refused_before_anything_runs(edit, said, monkeypatch):
    monkeypatch.setattr(Weary, "edits", (edit,))
    if said is None:
        assert nf.inject(chip(), [Weary(count=1)]).damage.edits == (edit,)
        return
    with pytest.raises(FaultError) as refused:
        nf.inject(chip(), [Weary(count=1)])
    assert str(refused.value).startswith(f"weary: its resolve gives {said}")
