from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chips import chip, dense, population

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults import fault_from_mapping, inject
from neurofault.graph import Sparse
from neurofault.inputs import Inputs
from neurofault.study import atlas as module
from neurofault.study.atlas import atlas, picture, write_parquet
from neurofault.study.atlas_sites import KINDS


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


def test_an_atlas_of_synapses_names_the_dense_layers() -> None:
    deployment, inputs, labels = _small()
    weight = deployment.connection("hidden").synapses.weight
    targets, sources = (one.ravel() for one in np.indices(weight.shape))
    listed = replace(deployment.connection("hidden"), synapses=Sparse.of(6, 9, targets, sources, weight.ravel()))
    some = replace(deployment, connections=(listed, deployment.connection("output")))
    with pytest.raises(UsageError) as error:
        atlas(some, inputs, labels, "synapse_dead")
    assert str(error.value) == (
        "connection 'hidden' is sparse: an atlas of synapses takes dense layers; name one with --layer: output"
    )
    assert len(atlas(some, inputs, labels, "synapse_dead", layer="output")) == 18


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


def test_bad_kinds_and_layers() -> None:
    deployment, inputs, labels = _small()
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, labels, "synapse_ded")
    assert str(error.value) == f"no atlas of 'synapse_ded'; kinds: {', '.join(KINDS)} (did you mean 'synapse_dead'?)"
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, labels, "synapse_dead", layer="input")
    assert str(error.value) == "layer 'input' has no synapses"
    with pytest.raises(UsageError) as error:
        atlas(deployment, inputs, labels, "neuron_dead", layer="outptu")
    assert str(error.value) == "no layer 'outptu'; layers: input, hidden, output (did you mean 'output'?)"
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
