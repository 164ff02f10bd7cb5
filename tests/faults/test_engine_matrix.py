"""Every kind of fault at every time in every engine that says it runs it: the same u, v and spikes at every step."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from engine_matrix import CELLS, FILE, LEAK_FREE, LEAKY, WHENS, Cell, hurt, read, runs, side_by_side, table
from fault_chips import EVERYWHERE, from_sample

from neurofault.activity import TRACES, Activity
from neurofault.deploy.deployment import Deployment
from neurofault.engines import ENGINES, get_engine, run
from neurofault.engines.availability import OF_ENGINE
from neurofault.errors import StalledError
from neurofault.inputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing

HERE = [name for name in ENGINES if importlib.util.find_spec(OF_ENGINE[name].module.split(".")[0]) is not None]
OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"{name} is not installed"))
    for name in ENGINES
    if name != "exact"
]
LEAST = {"lava": 204, "brian2": 204, "snntorch": 47}
"""Cells that an engine must really have run, on the dense and on the convolutional chip each."""


def test_the_committed_matrix_is_what_the_engines_say() -> None:
    assert table(HERE) == read(HERE), f"run: python tests/faults/{FILE.with_suffix('.py').name}"


def test_the_docs_include_the_matrix() -> None:
    page = Path(__file__).parents[2] / "docs" / "engines.md"
    (included,) = [line.split(": ")[1] for line in page.read_text().splitlines() if line.startswith(":file: ")]
    assert (page.parent / included).resolve() == FILE.resolve()


def test_the_matrix_has_every_kind_at_every_time_that_it_takes() -> None:
    assert {(cell.kind, cell.when) for cell in CELLS} == {
        (kind, when) for kind, model in EVERYWHERE.items() for when in model.whens
    }
    assert len(CELLS) >= 211
    assert all(
        sum(runs(engine, cell) and not cell.stalls for cell in CELLS) >= LEAST[engine] for engine in HERE if engine != "exact"
    )


@cache
def packed(net: str, when: str, engine: str) -> tuple[list[Cell], Deployment, Inputs]:
    """The cells that an engine runs at a time, one copy of the network each, and a last one that is healthy."""
    chip = (LEAK_FREE if engine == "snntorch" else LEAKY)[net]
    cells = [cell for cell in CELLS if cell.when == when and not cell.stalls and runs(engine, cell)]
    whole = side_by_side([*(hurt(chip, cell) for cell in cells), chip])
    image = np.random.default_rng(1).integers(0, 256, (2, chip.populations[0].size)).astype(np.uint8)
    bias = np.tile(chip.encode(image).bias, len(cells) + 1)
    return cells, whole, Inputs(bias=bias, first_sample=1)


def parts(activity: Activity, copies: int) -> np.ndarray:
    """[copies, …]: u, v and spikes of each copy, all layers and steps."""
    rows = [
        np.stack(np.split(getattr(trace, state).astype(np.int64), copies, axis=2)).reshape(copies, -1)
        for trace in activity.traces.values()
        for state in TRACES
    ]
    return np.concatenate(rows, axis=1)


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("net", LEAKY)
def test_every_cell_gives_the_states_of_exact(net: str, when: str, engine: str) -> None:
    cells, whole, inputs = packed(net, when, engine)
    assert whole.damage.edits
    one, other = (run(whole, inputs, engine=name, record=TRACES).activity for name in ("exact", engine))
    np.testing.assert_array_equal(other.scores, one.scores)
    mine, theirs = (parts(activity, len(cells) + 1) for activity in (one, other))
    for cell, exact, same in zip([*cells, "healthy"], mine, theirs, strict=True):
        np.testing.assert_array_equal(same, exact, str(cell))
    for cell, damaged in zip(cells, mine, strict=False):
        assert np.array_equal(damaged, mine[-1]) == cell.unseen, cell


@pytest.mark.parametrize("net", LEAKY)
@pytest.mark.parametrize("when", WHENS)
def test_a_packed_copy_does_what_its_chip_does(net: str, when: str) -> None:
    chip, (cells, whole, inputs) = LEAKY[net], packed(net, when, "exact")
    together = parts(run(whole, inputs, record=TRACES).activity, len(cells) + 1)
    for number, cell in enumerate(cells):
        if cell.kind in ("link_lossy", "sensor_noisy"):  # chance goes by the neuron's number
            continue
        size = chip.populations[0].size
        alone = run(hurt(chip, cell), Inputs(bias=inputs.bias[:, :size], first_sample=inputs.first_sample), record=TRACES).activity
        np.testing.assert_array_equal(parts(alone, 1)[0], together[number], str(cell))


@pytest.mark.parametrize("engine", HERE)
def test_a_stalled_chip_gives_no_answer_in_any_engine_that_takes_it(engine: str) -> None:
    chip = LEAK_FREE["dense"]
    inputs = from_sample(chip.encode(np.zeros((2, chip.populations[0].size), np.uint8)), 1)
    cells = [cell for cell in CELLS if cell.stalls and runs(engine, cell)]
    assert len(cells) == (0 if engine == "snntorch" else len(WHENS))
    for cell in cells:
        with pytest.raises(StalledError, match=r"^the chip stalls: core .* hangs? and the mesh waits for it$"):
            run(hurt(chip, cell), inputs, engine=engine)


def test_every_engine_runs_the_healthy_chips() -> None:
    for engine in HERE:
        for chip in LEAK_FREE.values():
            assert get_engine(engine).supports(chip) is None
