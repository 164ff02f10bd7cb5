"""An atlas from Python, and its report in a browser at the widths of a desk and of a telephone."""

import base64
import csv
import io
import re

import numpy as np
import pytest
from browsers import browser, opened

import neurofault as nf
from neurofault.study.atlas_places import cores_of, histogram, image_shape, on_image

__all__ = ["browser"]  # a fixture

RANDOM = np.random.default_rng(5)
SHAPES = {"eyes": (1, 4, 5), "hidden": (12,), "hands": (3,)}


@pytest.fixture(scope="module")
def chip():
    eyes = nf.Population("eyes", SHAPES["eyes"], nf.Source())
    layers = [nf.Population(name, SHAPES[name], nf.CubaLif(1.0)) for name in ("hidden", "hands")]
    weights = [nf.Dense(RANDOM.normal(0, 0.6, size)) for size in ((12, 20), (3, 12))]
    return nf.deploy(nf.chain("small", [eyes, *layers], weights, timesteps=6, how="count"), neurons_per_core=4)


EVENTS = nf.Spikes.dense(RANDOM.random((40, 6, 20)) < 0.4)


@pytest.fixture(scope="module")
def labels(chip):
    return nf.run(chip, EVENTS).activity.predictions


@pytest.fixture(scope="module")
def found(chip, labels):
    return nf.atlas(chip, EVENTS, labels, "neuron_dead")


def test_every_row_is_what_a_run_of_the_broken_chip_says(chip, labels, found):
    table = found.table()
    assert len(table) == len(found) == 20 + 12 + 3
    for row in (0, 21, 34):
        layer, neuron = table["layer"][row], int(table["target"][row])
        hurt = nf.inject(chip, nf.faults.NeuronDead(neurons=[neuron], layer=layer), seed=1)
        result = nf.run(hurt, EVENTS, labels)
        assert table["accuracy_change"][row] == pytest.approx(result.accuracy - 1.0)
        assert table["changed"][row] == (result.activity.predictions != labels).sum()
        assert table["site"][row] == f"neuron {neuron} of {layer}"
    worst = found.most_critical(5)
    assert worst["accuracy_change"].tolist() == sorted(table["accuracy_change"])[:5]
    assert worst.index[0] == table["accuracy_change"].idxmin()


def test_what_it_does_not_take_is_refused_in_a_line(chip, labels, found):
    with pytest.raises(nf.errors.UsageError, match=r"^no atlas of 'neuron_ded'; kinds: .* \(did you mean 'neuron_dead'\?\)$"):
        nf.atlas(chip, EVENTS, labels, "neuron_ded")
    with pytest.raises(nf.errors.UsageError, match=r"^count must be at least 0, is -1$"):
        found.most_critical(-1)


def test_a_core_and_a_pixel_show_the_worst_that_concerns_them(chip, labels, found):
    table = found.table()
    for core in cores_of(found.found, chip):
        own = table[table["core"] == core["core"]]
        assert core["sites"] == len(own)
        assert core["loss"] == pytest.approx(-own["accuracy_change"].min())
    assert image_shape(chip, None) == (1, 4, 5)
    assert image_shape(chip, (4, 6)) == (1, 4, 5)  # of another size than the input
    pixels = on_image(found.found, chip, (1, 4, 5))
    np.testing.assert_allclose(pixels.ravel(), -table["accuracy_change"][:20])
    synapses = nf.atlas(chip, EVENTS, labels, "synapse_dead", layer="hidden")
    worst = synapses.table().groupby("source")["accuracy_change"].min()
    np.testing.assert_allclose(on_image(synapses.found, chip, (1, 4, 5)).ravel(), -worst)
    assert on_image(nf.atlas(chip, EVENTS, labels, "neuron_dead", layer="hidden").found, chip, (1, 4, 5)) is None


def test_every_site_is_in_one_bin_of_the_histogram(found):
    names, counted = histogram(found.found)
    assert names[:4] == ["0", "1", "2", "3–4"]
    assert {layer: sum(counts) for layer, counts in counted} == {"eyes": 20, "hidden": 12, "hands": 3}
    nothing = found.table().query("changed == 0").groupby("layer").size()
    assert {layer: counts[0] for layer, counts in counted if counts[0]} == nothing.to_dict()


def test_what_a_notebook_shows_is_short(found):
    assert len(repr(found)) < 300
    html = found._repr_html_()
    assert html.count("<tr>") == 11
    assert found.most_critical(1)["site"].iloc[0] in html
    axes = found.plot()
    assert axes.get_ylim()[0] == 0
    assert len(axes.lines) == 3


def test_progress_is_told_to_who_asks(chip, labels):
    said = []
    nf.atlas(chip, EVENTS, labels, "core_dead", progress=lambda *what: said.append(what))
    assert said[-1][0] == "atlas"
    assert said[-1][1] == said[-1][2]


@pytest.fixture(scope="module")
def report(found, tmp_path_factory):
    return found.report(tmp_path_factory.mktemp("atlas") / "atlas.html")


def test_equal_atlases_give_equal_bytes_with_figures_inside(found, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    assert found.report(tmp_path / "again.html").read_text(encoding="utf-8") == text
    links = re.findall(r'<a href="data:text/csv;base64,([^"]+)" download="([^"]+)"', text)
    assert [name for _, name in links] == ["atlas-chip.csv", "atlas-image.csv", "atlas-histogram.csv", "atlas-sites.csv"]
    assert base64.b64decode(links[1][0]).decode().splitlines()[0] == "row,column,loss"
    worst, rows = found.most_critical(200), list(csv.DictReader(io.StringIO(base64.b64decode(links[3][0]).decode())))
    assert len(rows) == text.split("<tbody>")[1].split("</tbody>")[0].count("<tr>") >= 10
    for row, (_, told) in zip(rows, worst.iterrows(), strict=False):
        assert (row["site"], row["layer"], int(row["core"]), int(row["changed"])) == (
            told["site"],
            told["layer"],
            told["core"],
            told["changed"],
        )
        assert float(row["accuracy_change"]) == pytest.approx(told["accuracy_change"], rel=1e-6)
    assert 'href="figures/' not in text
    assert '"-0.0"' not in text  # a pixel that costs nothing says 0.0


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_answers_to_pointer_and_keyboard(browser, chip, found, report, width):
    page = opened(browser, report, width, "light" if width == 1280 else "dark")
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for right in page.eval_on_selector_all(
        ".explorer, .explorer svg", "all => all.map((each) => each.getBoundingClientRect().right)"
    ):
        assert right <= width

    core = max((each for each in cores_of(found.found, chip) if each["sites"]), key=lambda each: each["loss"])
    page.locator(f"#atlas-chip-explorer .cores path[aria-label^='core {core['core']}:']").click()
    detail = page.locator("#atlas-chip-explorer .detail").inner_text()
    assert f"{core['layer']}, {core['neurons'][2]} neurons" in detail
    table = found.table()
    assert f"{table['site'][core['worst'][0]]}: {100 * core['loss']:.2f} points lost" in detail

    pixels = page.locator("#atlas-image-explorer .cores path")
    assert pixels.count() == 20
    pixels.nth(7).focus()
    page.keyboard.press("Enter")
    assert page.locator("#atlas-image-explorer .detail").inner_text().startswith("Pixel 1, 2")
    assert f"{100 * abs(table['accuracy_change'][7]):.2f} points" in pixels.nth(7).get_attribute("aria-label")

    ticks = page.locator("#atlas-histogram-explorer .role-axis-label").last.locator("text").all_text_contents()
    assert ticks[0] == "0"
    assert all(not tick.startswith(("-", "−")) for tick in ticks)
    page.locator("#atlas-histogram-explorer .points path").first.focus()
    assert "neurons" in page.locator("#atlas-histogram-explorer .tip").inner_text()

    critical = page.locator("[aria-label='Table of critical sites'] table")
    critical.get_by_role("button", name="predictions changed").press("Enter")
    column = critical.evaluate("table => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[3].textContent))")
    assert column == sorted(column)
    page.locator("label.filter input").fill("hands")
    assert critical.locator("tbody tr:visible").count() == (table.query("layer == 'hands'")["changed"] > 0).sum()
    assert page.mistakes == []


def test_without_a_script_everything_is_there(browser, report):
    page = opened(browser, report, 390, java_script_enabled=False)
    assert page.locator(".static svg:visible").count() == 3
    assert page.locator(".explorer:visible").count() == 0
    assert page.locator("[aria-label='Table of critical sites'] tbody tr:visible").count() >= 10
