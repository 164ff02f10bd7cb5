from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.cli.convert import convert
from neurofault.convert.nir_graph import from_nir
from neurofault.errors import ConversionError, DataError, UsageError

pytest.importorskip("nir")

SNNTORCH_DIGITS = Path(__file__).parents[1] / "convert" / "data" / "snntorch_digits.nir"


def test_a_nir_file_is_rewritten_as_real_numbers_or_as_a_broken_chips_integers(tmp_path, capsys):
    plain, broken = tmp_path / "plain.nir", tmp_path / "broken.nir"
    convert(str(SNNTORCH_DIGITS), plain, dt=1e-4, timesteps=25)
    assert capsys.readouterr().out == f"{plain}: snntorch_digits, real numbers, 25 time steps, dt 0.0001\n"
    convert(str(plain), broken, profile="loihi2", fault="neuron_dead", count=8, seed=3)
    assert capsys.readouterr().out.startswith(
        f"{broken}: snntorch_digits, integers of loihi2, broken by neuron_dead, 25 time steps"
    )
    expected = nf.inject(nf.deploy(from_nir(plain)), nf.faults.NeuronDead(count=8, layer="hidden"), seed=3)
    images = np.random.default_rng(0).integers(0, 256, (20, 64)).astype(np.uint8)
    one, two = (nf.run(chip, images).activity for chip in (expected, nf.deploy(from_nir(broken))))
    assert np.array_equal(one.scores, two.scores)
    assert np.count_nonzero(two.spike_counts["hidden1"] == 0) >= 8


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({}, ConversionError, f"{SNNTORCH_DIGITS}: no time step: "),
        ({"fault": "neuron_dead", "count": 1}, UsageError, "--fault breaks a chip: say which with --profile"),
        ({"count": 1}, UsageError, "--count and --rate go with --fault KIND"),
        ({"timesteps": 0}, UsageError, "timesteps must be at least 1, is 0"),
        ({"source": "no.nir"}, DataError, "no.nir: no such NIR file"),
        ({"target": Path("x.onnx")}, UsageError, "x.onnx: the file to write must end in .nir"),
    ],
)
def test_mistakes_end_in_one_text(tmp_path, more, kind, message):
    arguments = {"source": str(SNNTORCH_DIGITS), "target": tmp_path / "out.nir"} | more
    with pytest.raises(kind) as error:
        convert(**arguments)
    assert str(error.value).startswith(message)
    assert not (tmp_path / "out.nir").exists()
