"""`plot()` of what Python returns: the data of what is drawn, against numbers taken from the results by other ways."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.examples import reflex

SEVERAL = {
    "name": "several",
    "network": {"zoo": "digits-mlp"},
    "data": {"samples": 30, "adapt": 20},
    "faults": [{"kind": "core_dead", "count": {"sweep": [1, 3]}}, {"kind": "synapse_bit_flip", "rate": 1e-2}],
    "rescue": [{"strategy": "none"}, {"strategy": "batch", "learner": "delta"}],
    "repeats": {"draws": 3, "seed": 7},
}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return nf.campaign(SEVERAL, out=tmp_path_factory.mktemp("plots") / "run").run(workers=1)


@pytest.fixture(scope="module")
def rescued():
    chip, x, y = reflex()
    hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    return nf.rescue(hurt, x, y, strategy="batch", learner="delta", budget=nf.Budget(cycles=3), test=(x, y))


def lines_of(axes):
    """Return label → (x, y) of the lines that have one of their own."""
    return {
        line.get_label(): (np.asarray(line.get_xdata(), float).tolist(), np.asarray(line.get_ydata(), float).tolist())
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def band_at(collection, x):
    """Return the least and the largest height of a drawn band at a place of its axis."""
    corners = collection.get_paths()[0].vertices
    heights = corners[np.isclose(corners[:, 0], x), 1]
    return heights.min(), heights.max()


def test_curves_of_a_campaign_are_the_means_of_its_trials_with_the_intervals_of_t(campaign):
    axes = campaign.plot(over="cores hit by core_dead")
    table = campaign.table()
    share = 100 * (table["correct"] / table["samples"]).to_numpy(float)
    curves = {label: line for label, line in lines_of(axes).items() if "core_dead" in label}
    assert len(curves) == 2
    for number, (label, (x, y)) in enumerate(curves.items()):
        assert x == [1, 3]
        for at, mean in zip(x, y, strict=True):
            own = share[
                (table["curve"] == label).to_numpy(bool) & (table["axis.faults.0.count"] == at).fillna(False).to_numpy(bool)
            ]
            assert len(own) == 3
            assert mean == pytest.approx(own.mean())
            half = stats.t.ppf(0.975, 2) * own.std(ddof=1) / 3**0.5
            low, high = band_at(axes.collections[number], at)
            assert (low, high) == (pytest.approx(max(0, own.mean() - half)), pytest.approx(min(100, own.mean() + half)))
    assert axes.get_ylabel() == "accuracy (%)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)


def test_a_campaign_of_several_axes_asks_which_and_takes_what_it_names(campaign):
    with pytest.raises(UsageError, match=r"along 2 axes.*give over='cores hit by core_dead' or over='ways of healing'$"):
        campaign.plot()
    with pytest.raises(
        UsageError,
        match=r"^no curve of this campaign runs over 'core hit by core_dead' \(did you mean 'cores hit by core_dead'\?\)",
    ):
        campaign.plot(over="core hit by core_dead")
    ways = campaign.plot(over="ways of healing")
    labels = [text.get_text() for text in ways.get_legend().get_texts()]
    assert len(labels) == len(set(labels)) == 2
    assert all("synapse_bit_flip" in label for label in labels)


def test_a_rescue_is_drawn_over_the_cycles_that_it_took(rescued):
    table = rescued.table()
    x, y = lines_of(rescued.plot())["accuracy"]
    assert x == table["cycles"].tolist()
    assert y == (100 * table["accuracy"]).tolist()
    axes = rescued.plot()
    strikes = table[table["what"] == "strike"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == strikes["cycles"].tolist()
    assert lines_of(axes)["healthy"][1] == [100, 100]
    assert "cycles" in axes.get_xlabel()


def test_a_rescue_that_measured_nothing_is_not_drawn():
    chip, x, y = reflex()
    hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    with pytest.raises(UsageError, match=r"^nothing to draw: no test examples were given"):
        nf.rescue(hurt, x, y, strategy="none").plot()


def test_the_damage_curve_is_the_mean_of_what_is_kept_and_its_area_is_said():
    found = nf.robustness(*reflex(), "neuron_dead", layer="any", grid=(0.0, 0.5, 1.0), draws=5)
    axes = found.plot()
    ((x, y),) = lines_of(axes).values()
    assert x == [0, 0.5, 1]
    kept = (found.accuracy - 0.5) / 0.5
    assert y == pytest.approx(kept.mean(axis=0).tolist())
    shaded = next(each for each in axes.collections if each.get_label().startswith("R = "))
    corners = shaded.get_paths()[0].vertices
    below = abs(np.dot(corners[:-1, 0], corners[1:, 1]) - np.dot(corners[1:, 0], corners[:-1, 1])) / 2  # the shoelace rule
    assert below == pytest.approx(found.area.mean)
    assert shaded.get_label().startswith(f"R = {below:.3f} [")
    assert axes.get_xlabel() == "share of the neurons that are dead"


def test_rates_of_bits_stand_on_the_logarithmic_scale_that_their_area_is_taken_on():
    axes = nf.robustness(*reflex(), "synapse_bit_flip", layer="any", grid=(0.01, 0.1), draws=1).plot()
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "rate of flipped bits")


def test_the_coverage_of_a_test_is_what_its_first_samples_expose_and_goes_with_its_file(tmp_path):
    """Each eye drives one hand over one synapse, so that each of two samples exposes one of the two faults that can show."""
    chip, events, _ = reflex()
    made = nf.choose_patterns(chip, events, observe="counts", aim="detectable", faults=["synapse_dead"]).patterns
    ((count, share),) = lines_of(made.plot()).values()
    assert (count, share) == ([0, 1, 2], [0, 50, 100])
    old = replace(made, exposed=(), aimed=0)
    with pytest.raises(UsageError, match=r"^nothing to draw: the file of this test is of an older version"):
        old.plot()
    nf.save_patterns(made, tmp_path / "test.npz")
    ((_, again),) = lines_of(nf.load_patterns(tmp_path / "test.npz").plot()).values()
    assert again == share


def test_pictures_are_drawn_into_the_axes_that_are_given(campaign, rescued):
    found = nf.robustness(*reflex(), "neuron_dead", layer="any", grid=(0.0, 1.0), draws=1)
    for draw in (lambda axes: campaign.plot("ways of healing", axes), rescued.plot, found.plot):
        axes = Figure().add_subplot()
        assert draw(axes) is axes
        assert axes.lines or axes.containers


def test_without_matplotlib_every_picture_is_refused_in_one_line_with_the_command():
    words = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
import neurofault as nf
from neurofault.examples import reflex, small_campaign
chip, x, y = reflex()
drawn = [
    nf.atlas(chip, x, y, layer="hands"), nf.robustness(chip, x, y, "neuron_dead", layer="any", grid=(0.0, 1.0), draws=1),
    nf.rescue(nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands")), x, y, strategy="none", test=(x, y)), small_campaign().run(workers=1),
]
for one in drawn:
    try:
        one.plot()
    except nf.errors.UsageError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    line = "pictures are drawn with matplotlib, which is not installed: pip install matplotlib"
    assert done.stdout.splitlines() == [line] * 4, done.stderr
