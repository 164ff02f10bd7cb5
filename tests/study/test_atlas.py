from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chips import chip, connection, conv, dense, graph_chip, neurons, population, sparse

import neurofault as nf
from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError, UnsupportedError, UsageError
from neurofault.faults import fault_from_mapping, inject
from neurofault.graph.chains import not_a_chain
from neurofault.inputs import Inputs
from neurofault.study import atlas as module
from neurofault.study import atlas_follow
from neurofault.study.atlas import Atlas, atlas, picture, write_parquet
from neurofault.study.atlas_sites import KINDS, all_sites


def _small() -> tuple[Deployment, Inputs, np.ndarray]:
    rng = np.random.default_rng(8)
    layers = [population("input", (9,)), population("hidden", (6,), dense(rng, 6, 9), vth=200)]
    layers.append(population("output", (3,), dense(rng, 3, 6), vth=131072))
    return chip(layers, 10, readout="potential"), Inputs(events=rng.random((8, 10, 9)) < 0.3), np.arange(8) % 3


def _as_fault(kind: str, found, row: int) -> dict[str, object]:
    at = {name: int(column[row]) for name, column in found.sites.items()}
    layer = found.layers[at["layer"]]
    match kind:
        case "synapse_dead":
            return {"kind": kind, "layer": layer, "synapses": [[at["source"], at["target"]]]}
        case "synapse_bit_flip":
            return {"kind": kind, "layer": layer, "synapse_bits": [[at["source"], at["target"], at["bit"]]]}
        case "neuron_dead":
            return {"kind": kind, "layer": layer, "neurons": [at["target"]]}
        case _:
            return {"kind": kind, "layer": "any", "cores": [at["core"]]}


@pytest.mark.parametrize(
    ("kind", "sites"), [("synapse_dead", 72), ("synapse_bit_flip", 576), ("neuron_dead", 18), ("core_dead", 3)]
)
def test_every_site_equals_the_exact_engine_on_every_image(kind: str, sites: int) -> None:
    deployment, inputs, labels = _small()
    found = atlas(deployment, inputs, labels, kind)
    assert len(found) == sites
    healthy = ExactEngine(1).run(deployment, inputs)
    assert found.healthy_total == healthy.correct(labels)
    for row in range(0, sites, 7 if sites > 100 else 1):
        activity = ExactEngine(1).run(inject(deployment, fault_from_mapping(_as_fault(kind, found, row))), inputs)
        predictions = healthy.predictions.copy()
        own = found.changes.faults == row
        predictions[found.changes.samples[own]] = found.changes.predictions[own]
        np.testing.assert_array_equal(predictions, activity.predictions)
        assert found.sites["changed"][row] == own.sum()
        assert found.sites["correct"][row] == activity.correct(labels) - healthy.correct(labels)
    worst = found.most_critical(3)
    assert found.accuracy_change[worst[0]] == found.accuracy_change.min()
    assert len(worst) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_for_each_site_says_the_same_as_one_pass(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    small = _small()
    followed = atlas(*small, kind, layer="output")
    monkeypatch.setattr(module, "refusal", lambda _: "told so")
    found = atlas(*small, kind, layer="output")
    assert (found.healthy_total, found.samples) == (followed.healthy_total, followed.samples)
    assert np.array_equal(found.predictions, followed.predictions)
    for name, column in found.sites.items():
        if name == "layer":
            assert {found.layers[at] for at in column} == {followed.layers[at] for at in followed.sites[name]}
        else:
            assert np.array_equal(column, followed.sites[name])
    for name in ("faults", "samples", "predictions"):
        assert np.array_equal(getattr(found.changes, name), getattr(followed.changes, name))
    assert found.changes.faults.size or kind == "core_dead"


def _equals_a_run_for_each_site(found: Atlas, made: Deployment, inputs: Inputs) -> None:
    """Every dead synapse against the exact engine, and, of a chain, against the fault that names it."""
    healthy, chain = ExactEngine(1).run(made, inputs), not_a_chain(made) is None
    sites = all_sites(made, "synapse_dead", "any")
    assert len(sites) == len(found)
    for row, edits in enumerate(sites.edits):
        answers = ExactEngine(1).run(made.with_damage(Damage(edits)), inputs).predictions
        own = found.changes.faults == row
        predictions = healthy.predictions.copy()
        predictions[found.changes.samples[own]] = found.changes.predictions[own]
        np.testing.assert_array_equal(predictions, answers)
        if chain:
            named = inject(made, fault_from_mapping(_as_fault("synapse_dead", found, row)))
            np.testing.assert_array_equal(ExactEngine(1).run(named, inputs).predictions, answers)


@pytest.mark.parametrize("shared", [True, False])
def test_synapses_of_convolutions_are_those_that_cores_store(shared: bool) -> None:
    rng = np.random.default_rng(4)
    first = conv(rng, (1, 4, 4), 2, (2, 2))
    layers = [population("input", (1, 4, 4)), population("hidden", first.out_shape, first, vth=200)]
    layers.append(population("output", (3,), dense(rng, 3, 18), vth=131072))
    made, inputs = chip(layers, 6, readout="potential"), Inputs(events=rng.random((5, 6, 16)) < 0.3)
    loihi = nf.load_profile("loihi1")
    flag = loihi.synapse.shared_kernels.model_copy(update={"value": shared})
    synapse = loihi.synapse.model_copy(update={"shared_kernels": flag})
    made = replace(made, profile=loihi.model_copy(update={"synapse": synapse}))
    found = atlas(made, inputs, np.zeros(5, int), "synapse_dead", layer="hidden")
    cores = len(np.unique(made.placement.core_of["hidden"]))
    assert len(found) == (8 * cores if shared else 2 * 9 * 4)
    _equals_a_run_for_each_site(atlas(made, inputs, np.zeros(5, int), "synapse_dead"), made, inputs)
    flips = atlas(made, inputs, np.zeros(5, int), "synapse_bit_flip", layer="hidden")
    assert np.bincount(flips.sites["bit"]).tolist() == [len(found)] * 8


def test_what_reaches_a_loop_runs_once_for_each_site_and_the_rest_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    populations = [neurons(name, (4,), is_source=name == "in") for name in ("in", "a", "b", "out")]
    ends = [("in", "a"), ("a", "a"), ("a", "out"), ("in", "b"), ("b", "out")]
    made = graph_chip(populations, [connection(f"{s}{t}", s, t, sparse(rng, 4, 4)) for s, t in ends], 9, readout="out")
    inputs = Inputs(events=rng.random((4, 9, 4)) < 0.3)
    asked: list[int] = []
    runs = module.by_runs
    monkeypatch.setattr(module, "by_runs", lambda *args, **named: asked.append(len(args[4])) or runs(*args, **named))
    found = atlas(made, inputs, np.zeros(4, int), "synapse_dead")
    sites = all_sites(made, "synapse_dead", "any")
    into_loop = np.isin(found.sites["layer"], [found.layers.index("ina"), found.layers.index("aa")])
    assert asked == [into_loop.sum()]
    assert 0 < into_loop.sum() < len(sites)
    _equals_a_run_for_each_site(found, made, inputs)
    asked.clear()
    assert len(atlas(made, inputs, np.zeros(4, int), "synapse_dead", layer="bout")) > 0
    assert asked == []


def test_an_atlas_that_was_broken_off_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(atlas_follow, "_BATCH", 20)
    small, whole, done = _small(), atlas(*_small(), "synapse_dead"), []
    effects = atlas_follow.effects
    monkeypatch.setattr(atlas_follow, "effects", lambda *args, **named: done.append(len(args[0])) or effects(*args, **named))

    def break_off(now: int, total: int) -> None:
        if now > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atlas(*small, "synapse_dead", progress=break_off, keep=tmp_path / "parts")
    assert done == [20, 20, 20]
    done.clear()
    others = (*small[:2], (small[2] + 1) % 3)
    assert len(atlas(*others, "synapse_dead", keep=tmp_path / "others")) == 72
    assert done == [20, 20, 20, 12]
    done.clear()
    seen: list[tuple[int, int]] = []
    found = atlas(*small, "synapse_dead", progress=lambda *at: seen.append(at), keep=tmp_path / "parts")
    assert done == [20, 12]
    assert seen[0] == (8, 32)
    assert seen[-1] == (32, 32)
    for name, column in whole.sites.items():
        np.testing.assert_array_equal(found.sites[name], column)
    for name in ("faults", "samples", "predictions"):
        np.testing.assert_array_equal(getattr(found.changes, name), getattr(whole.changes, name))
    (tmp_path / "parts" / "mine.npz").write_bytes(b"")
    damaged = sorted((tmp_path / "parts").glob("*-1.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    done.clear()
    np.testing.assert_array_equal(atlas(*small, "synapse_dead", keep=tmp_path / "parts").sites["changed"], whole.sites["changed"])
    assert done == [20]
    atlas_follow.forget(tmp_path / "parts")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.npz"]


def test_tables_and_picture(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("matplotlib")
    found = atlas(*_small(), "synapse_dead")
    write_parquet(found, tmp_path)
    sites, changes = (parquet.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("sites", "changes"))
    assert sites["layer"][0] == "hidden"
    assert sites["layer"][-1] == "output"
    assert np.bincount(changes["site"], minlength=72).tolist() == sites["changed"]
    assert parquet.read_table(tmp_path / "healthy.parquet").to_pydict()["prediction"] == found.predictions.tolist()
    picture(found, tmp_path / "atlas.png")
    assert (tmp_path / "atlas.png").read_bytes().startswith(b"\x89PNG")


def test_layers_are_named_as_faults_name_them() -> None:
    small = _small()
    for kind in ("neuron_dead", "synapse_dead"):
        own = atlas(*small, kind, layer="hidden").sites
        for name, column in atlas(*small, kind, layer="hidden1").sites.items():
            np.testing.assert_array_equal(column, own[name])
        every, output = (atlas(*small, kind, layer=name).sites for name in ("any", "output"))
        assert len(own["layer"]) == len(every["layer"]) - len(output["layer"]) - (9 if kind == "neuron_dead" else 0)


def test_bad_kinds_and_layers() -> None:
    deployment, inputs, labels = _small()
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, labels, "synapse_ded")
    assert str(error.value) == f"no atlas of 'synapse_ded'; kinds: {', '.join(KINDS)} (did you mean 'synapse_dead'?)"
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, labels, "synapse_dead", layer="input")
    assert str(error.value) == "layer 'input' has no synapses"
    with pytest.raises(FaultError) as error:
        atlas(deployment, inputs, labels, "neuron_dead", layer="outptu")
    assert str(error.value) == "no layer 'outptu' (did you mean 'output'?); layers: input, hidden, output, any, hidden1"
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, np.zeros((8, 3), int), "neuron_dead")
    assert str(error.value) == f"labels have the shape (8, 3), but there are 8 samples of {deployment.timesteps} steps"


def test_more_outputs_than_16_bits_number_are_refused() -> None:
    made = nf.deploy(
        nf.chain(
            "wide",
            [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (32_769,), nf.CubaLif(1.0))],
            [nf.Dense(np.ones((32_769, 2)))],
            timesteps=2,
            how="count",
        )
    )
    inputs = Inputs(events=np.ones((1, 2, 2), bool))
    with pytest.raises(UnsupportedError) as refused:
        atlas(made, inputs, np.zeros(1, np.int64), "neuron_dead")
    assert str(refused.value) == "an atlas keeps answers in 16 bits; layer 'hands' has 32,769 outputs"
    assert nf.run(made, inputs).activity.predictions.tolist() == [0]
