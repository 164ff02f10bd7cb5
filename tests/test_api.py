"""The public names as a user has them: `import neurofault as nf` and nothing else of the package."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf

API = Path(__file__).parents[1] / "docs" / "api.md"

IMAGES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 0]], np.uint8)
LABELS = np.array([0, 1, 2, 1])


def eyes(name: str = "eyes") -> nf.Population:
    return nf.Population(name, (3,), nf.Source())


HANDS = nf.Population("hands", (3,), nf.CubaLif(1.0))


def reflex(**how: object) -> nf.Deployment:
    return nf.deploy(nf.chain("reflex", [eyes(), HANDS], [nf.Dense(np.eye(3) * 2)], timesteps=4, how="count"), **how)


def two_eyed() -> nf.Deployment:
    populations = (eyes("left"), eyes("right"), HANDS)
    connections = tuple(nf.Connection(side, side, "hands", nf.Dense(np.eye(3) * 2)) for side in ("left", "right"))
    return nf.deploy(nf.Network("two-eyed", populations, connections, 4, nf.Readout("hands", "count")))


def dense(*numbers: int) -> np.ndarray:
    """One spike of the neuron of each sample, in every step: bool [N, 4, 3]."""
    out = np.zeros((len(numbers), 4, 3), bool)
    out[np.arange(len(numbers)), :, list(numbers)] = True
    return out


SEEN = dense(0, 1, 2, 0)


@pytest.mark.parametrize(
    "x",
    [
        SEEN,
        SEEN.astype(np.int64),
        nf.Spikes.dense(SEEN),
        nf.Inputs(events=SEEN),
        nf.Inputs(events=nf.Spikes.dense(SEEN)),
        {"eyes": SEEN},
        {"eyes": nf.Spikes.dense(SEEN)},
    ],
    ids=["array", "whole numbers", "Spikes", "Inputs", "Inputs of Spikes", "mapping of an array", "mapping of Spikes"],
)
def test_spikes_are_taken_in_every_form(x):
    result = nf.run(reflex(), x, LABELS)
    assert isinstance(result, nf.Result)
    assert isinstance(result.activity, nf.Activity)
    assert result.activity.predictions.tolist() == [0, 1, 2, 0]
    assert (result.n, result.correct, result.accuracy) == (4, 3, 0.75)


@pytest.fixture(scope="module")
def seeing() -> nf.Deployment:
    """A chip that takes images of three pixels."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
    return nf.deploy(nf.from_torch(model, IMAGES, timesteps=16))


def test_images_are_taken_in_every_form(seeing):
    torch = pytest.importorskip("torch")
    bias = seeing.encode(IMAGES).of("input")
    assert isinstance(bias, nf.Bias)
    forms = [
        IMAGES, IMAGES / 255, torch.from_numpy(IMAGES), bias, nf.Bias(bias.mantissa.astype(np.int64)), nf.Inputs(bias=bias), seeing.encode(IMAGES),
        {"input": IMAGES}, {"input": bias},
    ]  # fmt: skip
    expected = nf.run(seeing, IMAGES, LABELS).activity.scores
    assert expected.argmax(axis=1).tolist() == [0, 1, 2, 0]
    for x in forms:
        assert np.array_equal(nf.run(seeing, x, LABELS).activity.scores, expected)


def test_several_inputs_are_given_by_name():
    chip = two_eyed()
    either = nf.run(chip, {"left": SEEN, "right": nf.Spikes.dense(dense(2, 2, 2, 2))}).activity
    assert either.scores[0, 0] == either.scores[0, 2] > either.scores[0, 1]
    same = nf.run(chip, nf.Inputs(events={"left": SEEN, "right": dense(2, 2, 2, 2)})).activity
    assert np.array_equal(either.scores, same.scores)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (SEEN, "network 'two-eyed' has 2 inputs: left, right; pass {name: images}"),
        (nf.Spikes.dense(SEEN), "there are 2 inputs: left, right; say whose each is: {name: array}"),
        ({"left": SEEN}, "input 'right' gets nothing: pass bias or events for it"),
        ({"left": SEEN, "rigth": SEEN}, "no input 'rigth' (did you mean 'right'?); inputs: left, right"),
        ({"left": SEEN, "right": SEEN[:2]}, "inputs have different numbers of samples: 'left' 4, 'right' 2"),
        (
            {"left": SEEN, "right": SEEN[:, :2]},
            "events have the shape (4, 2, 3), but 4 steps of 3 neurons of input 'right' are [N, 4, 3]",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, text):
    with pytest.raises(nf.errors.UsageError) as caught:
        nf.run(two_eyed(), x)
    assert str(caught.value) == text


def test_a_run_goes_on_from_its_state():
    chip = reflex()
    first = nf.run(chip, SEEN, stop=2)
    assert isinstance(first.activity.state, nf.State)
    last = nf.run(chip, SEEN, LABELS, state=first.activity.state)
    assert np.array_equal(last.activity.scores, nf.run(chip, SEEN).activity.scores)
    assert last.accuracy == 0.75


def test_a_result_is_a_table_of_samples():
    pandas = pytest.importorskip("pandas")
    result = nf.run(reflex(), SEEN, np.array([0, 1, -1, 1]))
    table = result.table()
    assert isinstance(table, pandas.DataFrame)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "sample": "int64", "prediction": "int64", "label": "int64", "correct": "bool", "spikes": "int64",
        "score.0": "int64", "score.1": "int64", "score.2": "int64",
    }  # fmt: skip
    assert table["sample"].tolist() == [0, 1, 2, 3]
    assert table["prediction"].tolist() == [0, 1, 2, 0]
    assert table["label"].tolist() == [0, 1, -1, 1]
    assert table["correct"].tolist() == [True, True, False, False]
    assert table["correct"].sum() == result.correct
    assert table["spikes"].sum() == result.activity.spikes
    assert np.array_equal(table.filter(like="score.").to_numpy(), result.activity.scores)
    assert list(nf.run(reflex(), SEEN).table()) == ["sample", "prediction", "spikes", "score.0", "score.1", "score.2"]


def test_a_rescue_is_a_table_of_looks():
    pytest.importorskip("pandas")
    chip = reflex(neurons_per_core=1, spare_cores=1)
    hurt = nf.inject(chip, [nf.faults.CoreDead(count=1, layer="output")], seed=1)
    labels = np.array([0, 1, 2, 0])
    healed = nf.rescue(hurt, nf.Spikes.dense(SEEN), labels, strategy="remap", test=({"eyes": SEEN}, labels))
    assert isinstance(healed, nf.Rescued)
    table = healed.table()
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "samples": "Int64", "cycles": "float64", "strikes": "Int64", "what": "string", "accuracy": "float64", "samples_shown": "Int64",
        "updates": "Int64", "writes": "Int64", "axon_updates": "Int64", "spikes": "Int64", "synaptic_operations": "Int64",
        "host_bytes": "Int64", "energy_joule": "float64", "time_second": "float64",
    }  # fmt: skip
    assert table["what"].tolist() == ["healthy", "strike", "remap"]
    assert table["strikes"].tolist() == [0, 1, 1]
    assert table["accuracy"].tolist() == [point.accuracy for point in healed.points]
    assert table["accuracy"].iloc[-1] == healed.final == 1.0
    for name in ("writes", "host_bytes", "axon_updates"):
        assert table[name].iloc[-1] == getattr(healed.spent, name)
    blind = nf.rescue(hurt, SEEN, labels, strategy="remap").table()
    assert blind["accuracy"].isna().all()
    assert str(blind["accuracy"].dtype) == "float64"


def test_without_pandas_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(nf.errors.UnsupportedError) as caught:
        nf.run(reflex(), SEEN).table()
    assert str(caught.value) == "a table needs pandas, which is not installed: pip install 'neurofault[pandas]'"


def test_a_network_goes_to_nir_and_comes_back(tmp_path):
    pytest.importorskip("nir")
    chip = reflex()
    nf.to_nir(chip, tmp_path / "chip.nir")
    again = nf.deploy(nf.from_nir(tmp_path / "chip.nir"))
    assert np.array_equal(nf.run(again, SEEN).activity.scores, nf.run(chip, SEEN).activity.scores)


def test_lava_is_imported_where_processes_were_started_before():
    pytest.importorskip("lava")
    code = "import multiprocessing; multiprocessing.get_start_method(); import neurofault; neurofault.from_lava"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_told(cli):
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("neurofault ")
    assert second == "semantics 3"


def test_telling_the_version_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['neurofault', '--version']\nfrom neurofault.cli.app import main\n"
        "try: main()\nexcept SystemExit: print([name for name in ('torch', 'numba', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_snippet_of_the_api_page_gives_what_it_shows(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    blocks = API.read_text(encoding="utf-8").split("```pycon\n")[1:]
    text = "\n".join(block.split("```")[0] for block in blocks)
    assert len(blocks) >= 5
    test = doctest.DocTestParser().get_doctest(text, {}, "docs/api.md", str(API), 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert "".join(said) == ""
