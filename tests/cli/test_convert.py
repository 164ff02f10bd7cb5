from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.cli.convert import convert
from neurofault.convert.nir_graph import from_nir
from neurofault.errors import ConversionError, DataError, UsageError

nir = pytest.importorskip("nir")

SNNTORCH_DIGITS = Path(__file__).parents[1] / "convert" / "data" / "snntorch_digits.nir"


def test_a_nir_file_is_rewritten_as_real_numbers_or_as_a_broken_chips_integers(tmp_path, capsys):
    plain, broken = tmp_path / "plain.nir", tmp_path / "broken.nir"
    convert(str(SNNTORCH_DIGITS), plain, dt=1e-4, timesteps=25)
    assert capsys.readouterr().out == f"{plain}: snntorch_digits, real numbers, 25 time steps, dt 0.0001\n"
    convert(str(plain), broken, profile="loihi2", fault="neuron_dead", count=8, seed=3)
    first, *notes = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{broken}: plain, integers of loihi2, broken by neuron_dead, 25 time steps")
    assert notes == [
        "note: time step 0.0001 (from the file's metadata)",
        "note: reset to zero and at most one spike a step for each neuron; NIR does not say whether its writer subtracts the threshold instead (--nir-reset subtract)",
        "note: a pixel of 1 is shown as 0.5 spikes a step, each worth 2",
    ]
    expected = nf.inject(nf.deploy(from_nir(plain)), nf.faults.NeuronDead(count=8, layer="hidden"), seed=3)
    images = np.random.default_rng(0).integers(0, 256, (20, 64)).astype(np.uint8)
    one, two = (nf.run(chip, images).activity for chip in (expected, nf.deploy(from_nir(broken))))
    assert np.array_equal(one.scores, two.scores)
    assert np.count_nonzero(two.spike_counts["hidden1"] == 0) >= 8


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("norse_lifbox", {"dt": 1e-6}), ("sinabs_iaf", {}), ("sinabs_lif", {"dt": 1.0, "timesteps": 9}),
        ("snntorch_digits", {"dt": 1e-4}),
    ],
)  # fmt: skip
def test_a_nir_file_copied_is_the_same_graph(tmp_path, file, given):
    source, copy, again = SNNTORCH_DIGITS.with_name(f"{file}.nir"), tmp_path / "copy.nir", tmp_path / "again.nir"
    convert(str(source), copy, **given)
    one, two = nir.read(source, type_check=False), nir.read(copy, type_check=False)
    assert one.edges == two.edges
    for name, node in one.nodes.items():
        for field, value in vars(node).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(two.nodes[name], field)), (name, field)
    assert {key: value.item() for key, value in two.metadata.items()} == given
    network = from_nir(copy, coding=None)
    assert network.timesteps == given.get("timesteps", 32)
    convert(str(copy), again)  # what the copy says is enough
    assert again.read_bytes() == copy.read_bytes()


def test_a_file_that_we_wrote_keeps_its_integers_and_its_dt_and_takes_other_steps(tmp_path):
    chip, copy = tmp_path / "chip.nir", tmp_path / "copy.nir"
    convert(str(SNNTORCH_DIGITS), chip, dt=1e-4, profile="loihi2")
    convert(str(chip), copy, timesteps=7)
    one, two = from_nir(chip), from_nir(copy)
    assert (one.timesteps, two.timesteps) == (32, 7)
    assert all(np.array_equal(a.synapses.weight, b.synapses.weight) for a, b in zip(one.connections, two.connections, strict=True))
    with pytest.raises(ConversionError) as refused:
        convert(str(chip), copy, dt=1e-3)
    assert str(refused.value) == f"{chip}: written by neurofault with dt 0.0001; leave dt out, it is in the file"


@pytest.mark.parametrize(("file", "dt"), [("norse_lifbox", 1.0), ("snntorch_digits", 1e-6)])
def test_a_file_that_cannot_run_is_not_copied(tmp_path, file, dt):
    with pytest.raises(ConversionError, match=r"dt 1; pass the dt|no input makes any of its neurons fire"):
        convert(str(SNNTORCH_DIGITS.with_name(f"{file}.nir")), tmp_path / "copy.nir", dt=dt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({}, ConversionError, f"{SNNTORCH_DIGITS}: no time step: "),
        ({"fault": "neuron_dead", "count": 1}, UsageError, "--fault breaks a chip: say which with --profile"),
        ({"count": 1}, UsageError, "--count and --rate go with --fault KIND"),
        ({"weights": Path("w.pt")}, UsageError, "--weights goes with a network of your own (package.module:factory), not with "),
        ({"timesteps": 0}, UsageError, "timesteps must be at least 1, is 0"),
        ({"source": "no.nir"}, DataError, "no.nir: no such NIR file"),
        ({"target": Path("x.onnx")}, UsageError, "OUT x.onnx: the name of the file must end in .nir or .net"),
    ],
)
def test_mistakes_end_in_one_text(tmp_path, more, kind, message):
    arguments = {"source": str(SNNTORCH_DIGITS), "target": tmp_path / "out.nir"} | more
    with pytest.raises(kind) as error:
        convert(**arguments)
    assert str(error.value).startswith(message)
    assert not (tmp_path / "out.nir").exists()


def test_a_netx_file_is_written_of_a_broken_chip_and_read_like_any_network(tmp_path, capsys):
    broken, again, nir_file = tmp_path / "broken.net", tmp_path / "again.net", tmp_path / "again.nir"
    convert(str(SNNTORCH_DIGITS), broken, dt=1e-4, profile="loihi2", fault="neuron_dead", count=8, seed=3, timesteps=9)
    first, *notes = capsys.readouterr().out.splitlines()
    assert first == f"{broken}: snntorch_digits, integers of loihi2, broken by neuron_dead, 9 time steps"
    assert notes[-4:] == [
        "note: a table of pixels' biases (input): lava-dl's own loader leaves it out",
        "note: biasExp (input, hidden1, output): lava-dl's own loader leaves it out",
        "note: start (input): lava-dl's own loader leaves it out",
        "note: wgtExp (hidden1): lava-dl's own loader leaves it out",
    ]
    convert(str(broken), again)
    assert capsys.readouterr().out.startswith(f"{again}: broken, a chip's integers, 9 time steps\nnote: wgtExp ")
    convert(str(broken), nir_file)
    chips = [nf.deploy(network) for network in (nf.from_netx(broken), nf.from_netx(again), from_nir(nir_file))]
    chips.append(
        nf.inject(nf.deploy(from_nir(SNNTORCH_DIGITS, dt=1e-4, timesteps=9)), nf.faults.NeuronDead(count=8, layer="hidden"), seed=3)
    )
    images = np.random.default_rng(0).integers(0, 256, (20, 64)).astype(np.uint8)
    for each in [nf.run(chip, images).activity.scores for chip in chips]:
        assert np.array_equal(each, nf.run(chips[0], images).activity.scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "connection 'hidden1' has real numbers; a netx file holds a chip's integers: write what a chip makes of them, nf.to_netx("),
        ({"source": "x.onnx"}, "network 'x.onnx': a file of a network ends in .nir (NIR) or .net (netx of lava-dl); a torch module is file.py:function or package.module:function"),
        ({"source": "x.net", "dt": 0.1}, "--dt goes with a NIR file; a netx file counts steps"),
        ({"source": "x.net"}, "x.net: no such netx file"),
        ({"source": "x.net", "weights": Path("w.pt")}, "--weights goes with a network of your own (package.module:factory), not with 'x.net'"),
    ],
)  # fmt: skip
def test_mistakes_with_netx_files_end_in_one_text(tmp_path, arguments, message):
    with pytest.raises(nf.errors.NeurofaultError) as error:
        convert(
            **{"source": str(SNNTORCH_DIGITS), "target": tmp_path / "out.net", "dt": 1e-4 if not arguments else None} | arguments
        )
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_the_check_takes_a_netx_file(tmp_path, capsys):
    chip = tmp_path / "chip.net"
    convert(str(SNNTORCH_DIGITS), chip, dt=1e-4, profile="loihi2", timesteps=9)
    capsys.readouterr()
    convert(str(chip), data="digits", check=True)
    first, *rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"on \d+ calibration samples: chip [89]\d\.\d\d%", first)
    assert [line.split(":")[0] for line in rest[:3]] == ["input", "hidden1", "output"]
