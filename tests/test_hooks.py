"""What is told while work goes on: hooks, the plain log, and bars."""

import json
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.examples import reflex
from neurofault.progress import listening


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_log_holds_one_json_object_a_line(tmp_path):
    @dataclass
    class Seen:
        share: float
        inner: dict

    log = nf.to_log(tmp_path / "log.jsonl")
    log({"a": np.int64(3), "b": np.array([1.5, np.nan]), "ä": tmp_path})
    log(Seen(np.float32(0.5), {"x": (True, None)}))
    nf.to_log(tmp_path / "log.jsonl")({"again": 1})
    assert lines(tmp_path / "log.jsonl") == [
        {"a": 3, "b": [1.5, None], "ä": str(tmp_path)},
        {"share": 0.5, "inner": {"x": [True, None]}},
        {"again": 1},
    ]


def test_a_log_that_cannot_be_written_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match=r"missing/log\.jsonl: cannot be written \(No such file or directory\)$"):
        nf.to_log(tmp_path / "missing" / "log.jsonl")


def test_each_look_at_a_chip_is_handed_on(tmp_path):
    chip, x, y = reflex()
    hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    points, said = [], []
    done = nf.rescue(hurt, x, y, strategy="none", test=(x, y), on_point=points.append, progress=lambda *what: said.append(what))
    assert tuple(points) == done.points
    assert [what[0] for what in said] == ["rescue"] * len(points)
    assert all(0 <= shown <= most for _, shown, most, _ in said)


def test_what_a_hook_raises_ends_the_work():
    chip, x, y = reflex()

    def hook(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        nf.rescue(nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1), x, y, strategy="none", on_point=hook)


def test_robustness_tells_how_far_it_is():
    chip, x, y = reflex()
    said = []
    found = nf.robustness(
        chip, x, y, "synapse_dead", layer="any", grid=(0.0, 1.0), draws=2, progress=lambda *what: said.append(what[:3])
    )
    assert said == [("robustness", number, 4) for number in (1, 2, 3, 4)]
    assert found.accuracy.tolist() == [[1.0, 0.5], [1.0, 0.5]]


def test_a_bar_is_shown_where_one_is_asked_for_or_python_is_interactive(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for asked, prompt, shown in ((True, False, True), (None, True, True), (None, False, False), (False, True, False)):
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
        if not prompt:
            monkeypatch.delattr(sys, "ps1")
        with listening(asked) as progress:
            progress("trials", 2, 2, "0 failed")
        text = capsys.readouterr().err
        assert ("trials 2 of 2 0 failed" in text) == shown
        assert text == "" or text.endswith("\r")  # it goes away


def test_in_a_notebook_the_bar_is_one_output_that_changes_and_is_empty_in_the_end(monkeypatch, capsys):
    outputs = []

    def display(made, display_id):
        outputs.append(made)
        return SimpleNamespace(update=lambda other: outputs.__setitem__(0, other))

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    shown = SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=shown))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    with listening(True) as progress:
        progress("atlas <1>", 3, 3, "")
        assert outputs[0].startswith('<progress value="3" max="3" aria-label="atlas &lt;1&gt;"></progress> atlas &lt;1&gt; 3 of 3')
        assert len(outputs) == 1
    assert outputs == [""]
    assert capsys.readouterr().err == ""


def test_a_notebook_shows_a_repair_and_a_test_as_short_tables():
    chip, x, y = reflex()
    hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    html = nf.rescue(hurt, x, y, strategy="none", test=(x, y))._repr_html_()
    assert "<td>strike</td><td>0</td><td>50.00 %</td><td>0</td>" in html
    assert html.count("<tr>") == 3
    made = nf.choose_patterns(chip, x, faults=["synapse_dead"]).patterns
    html = made._repr_html_()
    assert f"<td>{made.says(0)}</td><td>{made.sample_spikes[0]:,}</td>" in html
    assert html.count("<tr>") == 1 + len(made)
