"""The report in a browser: Debian's chromium, driven through Playwright, at the widths of a desk and of a telephone."""

import re

import pytest
from browsers import browser, opened
from campaigns import made_ready, ran

from neurofault.numerals import plural
from neurofault.study.campaign.report import write_report
from neurofault.study.campaign.summary import answer_of, found_in

__all__ = ["browser"]  # a fixture

THREE_PLACES = """\
name: three-places
network: {zoo: digits-mlp}
data: {samples: 30, adapt: 20}
place: {strategy: {sweep: [pack, spread, random]}}
faults:
  - {kind: core_dead, count: {sweep: [1, 3]}}
rescue:
  - {strategy: none}
  - {strategy: batch, learner: delta}
  - {strategy: batch, learner: dfa}
repeats: {draws: 2, seed: 7}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    ran(folder / "run", made_ready(folder, THREE_PLACES))
    answer = answer_of(found_in(folder / "run"))
    return write_report(folder / "run", answer), answer


def test_maps_tell_what_cores_hold_and_what_hit_them(report):
    _, answer = report
    assert [chip["label"] for chip in answer["maps"]] == ["place strategy pack", "place strategy spread", "place strategy random"]
    for chip in answer["maps"]:
        for core in chip["cores"]:
            assert sum(core["faults"].values()) == core["trials"]
            losses = [hit["loss"] for hit in core["worst"]]
            assert losses == sorted(losses, reverse=True)
            assert len(losses) == min(3, core["trials"])
            if core["layer"] is not None:
                first, last, count = core["neurons"]
                assert count <= last - first + 1
    pack = answer["maps"][0]["cores"]
    assert sum(core["neurons"][2] for core in pack if core["layer"] == "output") == 10


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_answers_to_pointer_and_keyboard(browser, report, width):
    path, answer = report
    page = opened(browser, path, width)
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for box in page.eval_on_selector_all(
        ".explorer, .explorer svg, .legend li, .tools button", "all => all.map((each) => each.getBoundingClientRect().right)"
    ):
        assert box <= width

    labels = page.locator(".legend li").all_inner_texts()
    assert labels == [curve["label"] for curve in answer["curves"]]
    assert len(labels) == len(set(labels)) == 9

    points = page.locator(".points path")
    assert points.count() == 18
    tip = page.locator("#accuracy1-explorer .tip")
    point = answer["curves"][0]["points"][0]
    points.nth(0).hover(force=True)
    said = tip.inner_text()
    assert any(f"accuracy {100 * each['mean']:.2f} %" in said for curve in answer["curves"] for each in curve["points"])

    points.nth(0).focus()
    assert f"accuracy {100 * point['mean']:.2f} %" in tip.inner_text()
    assert tip.inner_text().startswith(answer["curves"][0]["label"])
    page.keyboard.press("ArrowRight")
    assert "cores hit by core_dead: 3" in tip.inner_text()

    page.locator(".legend input").nth(0).uncheck()
    page.wait_for_function("document.querySelectorAll('.points path').length === 16")
    page.locator(".legend input").nth(0).check()
    page.wait_for_function("document.querySelectorAll('.points path').length === 18")
    place = page.locator("#accuracy1-explorer .stage svg").bounding_box()
    mark, x, y = points.nth(4).bounding_box(), place["x"] + place["width"] * 0.6, place["y"] + place["height"] * 0.6
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y - 20)
    page.mouse.move(x - 60, y - 40)
    page.mouse.up()
    page.wait_for_function(
        "left => Math.abs(document.querySelectorAll('.points path')[4].getBoundingClientRect().x - left) < 3", arg=mark["x"] - 60
    )
    assert points.nth(4).bounding_box()["y"] == pytest.approx(mark["y"] - 40, abs=3)
    page.get_by_role("button", name="Show all").click()
    before = page.locator("#accuracy1-explorer .stage svg").inner_html()
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function("old => document.querySelector('#accuracy1-explorer .stage svg').innerHTML !== old", arg=before)

    chip = answer["maps"][2]
    shown = page.locator("#chip3-explorer .cores path")
    assert shown.count() == len(chip["cores"])
    hit = next(core for core in chip["cores"] if core["trials"])
    mark = page.locator(f"#chip3-explorer .cores path[aria-label^='core {hit['core']}:']")
    mark.click()
    detail = page.locator("#chip3-explorer .detail")
    count = hit["neurons"][2]
    assert f"{hit['layer']}, {count} neuron" in detail.inner_text()
    assert f"core_dead: {plural(hit['trials'], 'trial')}" in detail.inner_text()
    assert f"draw {hit['worst'][0]['draw']}, core_dead" in detail.inner_text()
    mark.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert f"Core {hit['core']}\n" not in detail.inner_text()
    assert page.mistakes == []


def test_the_table_sorts_and_filters_from_the_keyboard(browser, report):
    page = opened(browser, report[0], 1280)
    page.wait_for_selector("html[data-ready]")
    table = page.locator("[aria-label='Table of all points'] table")
    button = table.get_by_role("button", name="after healing")
    button.focus()
    column = "table => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[2].textContent))"
    page.keyboard.press("Enter")
    values = table.evaluate(column)
    assert values == sorted(values)
    assert len(set(values)) > 1
    page.keyboard.press("Enter")
    assert table.evaluate(column) == sorted(values, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    page.locator("label.filter", has_text="Filter").first.locator("input").fill("spread dfa")
    assert table.locator("tbody tr:visible").count() == 2


def contrast(first, second):
    def light(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_have_contrast(browser, report, scheme):
    page = opened(browser, report[0], 390, scheme)
    page.wait_for_selector("html[data-ready]")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (contrast(ground, "rgb(255, 255, 255)") < 1.1) == (scheme == "light")
    inks = page.eval_on_selector_all("p, dd, h2, figcaption, a, caption", "all => all.map((each) => getComputedStyle(each).color)")
    axis = page.eval_on_selector_all(".explorer .role-axis-label text", "all => all.map((each) => getComputedStyle(each).fill)")
    assert axis
    assert min(contrast(ground, ink) for ink in {*inks, *axis}) >= 4.5
    curves = page.eval_on_selector_all(".points path", "all => all.map((each) => getComputedStyle(each).fill)")
    assert len(set(curves)) == 7
    assert min(contrast(ground, ink) for ink in curves) >= 3


def test_without_a_script_the_figures_and_the_table_are_there(browser, report):
    page = opened(browser, report[0], 390, java_script_enabled=False)
    assert page.locator(".static svg:visible").count() == 5
    assert page.locator(".explorer:visible").count() == 0
    assert page.locator("[aria-label='Table of all points'] tbody tr:visible").count() == 18
