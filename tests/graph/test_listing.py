"""A kind of synapses of one's own, which lists them: every engine, fault and file takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import ConversionError


@dataclass(frozen=True)
class Ring:
    """Each neuron of a ring reaches its neighbours on both sides."""

    size: int
    reach: int
    weight: float

    def listed(self) -> nf.Sparse:
        steps = [step for step in range(-self.reach, self.reach + 1) if step]
        targets = np.repeat(np.arange(self.size), len(steps))
        sources = (targets + np.tile(steps, self.size)) % self.size
        return nf.Sparse.of(self.size, self.size, targets, sources, np.full(len(targets), self.weight))


def network(ring: object) -> nf.Network:
    random = np.random.default_rng(1)
    return nf.Network(
        "ring",
        (nf.Population("eyes", (4,), nf.Source()), nf.Population("ring", (8,), nf.CubaLif(1.0)), nf.Population("out", (2,), nf.CubaLif(1.0))),
        (
            nf.Connection("ring", "eyes", "ring", nf.Dense(random.normal(0.5, 0.5, (8, 4)))),
            nf.Connection("ring.rec", "ring", "ring", ring),
            nf.Connection("out", "ring", "out", nf.Dense(random.normal(0.3, 0.5, (2, 8)))),
        ),
        12,
        nf.Readout("out", "count"),
    )  # fmt: skip


EVENTS = np.random.default_rng(2).random((5, 12, 4)) < 0.3


def test_it_is_what_it_lists(tmp_path):
    ring = Ring(8, 2, -0.4)
    chip, same = nf.deploy(network(ring)), nf.deploy(network(ring.listed()))
    hurt = nf.inject(chip, {"kind": "synapse_dead", "connection": "ring.rec", "count": 7}, seed=3)
    nf.save(hurt, tmp_path / "hurt.npz")
    expected = nf.run(
        nf.inject(same, {"kind": "synapse_dead", "connection": "ring.rec", "count": 7}, seed=3), EVENTS, record=("v",)
    ).activity
    healthy = nf.run(chip, EVENTS).activity
    assert not np.array_equal(expected.scores, healthy.scores)
    for found in (hurt, nf.load(tmp_path / "hurt.npz")):
        for engine in ("exact", "brian2"):
            activity = nf.run(found, EVENTS, record=("v",), engine=engine).activity
            np.testing.assert_array_equal(activity.scores, expected.scores)
            np.testing.assert_array_equal(activity.traces["ring"].v, expected.traces["ring"].v)


def test_what_does_not_list_itself_is_refused():
    for wrong in (np.eye(8), object(), type("Wrong", (), {"listed": lambda self: np.eye(8)})()):
        with pytest.raises(ConversionError) as error:
            network(wrong)
        assert str(error.value) == (
            "synapses are Dense, Conv or Sparse, or of a class whose method listed() returns a Sparse; these are "
            + type(wrong).__name__
        )


def test_a_list_that_does_not_fit_is_said_by_its_connection():
    with pytest.raises(ConversionError, match=r"connection 'ring.rec' \('ring' → 'ring'\): synapses join 9 → 9 neurons"):
        network(Ring(9, 1, 1.0))
