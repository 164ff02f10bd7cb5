"""Numbers of single figures that stand in sentences of "Does it hold?", and which numbers of its prose stand in no claim and no table (beside ``paper_claims.py``)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from paper_holm import read
from paper_words import DATA, between, number, one, percent, points, rows_of, table

BLOCK = re.compile(r"<!-- \w+ -->.*?<!-- end -->", re.DOTALL)
LEARNERS = re.compile(r"^### [^\n]*[Ll]earner.*?(?=^##)", re.DOTALL | re.MULTILINE)
"""A section on learners that were tried, which has claims of its own."""
NUMBER = re.compile(r"\d[\d,]*\.\d+|\d[\d,]*(?= (?:%|points?\b))")
SETTINGS = {
    "0.02", "0.05", "0.1", "0.2", "0.25", "0.5",  # cycles of looks and of steps, tolerances, rates of descent and of dropout
    "2105.03649",  # of arXiv
    "95", "5", "80", "1",  # the level of intervals and of verdicts, the hinge's share that a change point needs, a tolerance
    "46", "48", "3", "10",  # shares of what breaks on more networks
}  # fmt: skip
"""Numbers of the prose that are no results."""


def ends(values: Iterable[float]) -> str:
    """Return the least and the largest share: ``96.3–96.5``."""
    found = [number(100 * value) for value in values]
    return f"{min(found)}–{max(found)}" if min(found) < max(found) else found[0]


def bases() -> Iterator[str]:
    """Test accuracies of the networks of floats."""
    found = read("fig1")["bases"]
    for name, words in (
        ("784-25-10", "(N = 25)"),
        ("784-100-10", "(100)"),
        ("784-400-10", "(400)"),
        ("784-100-100-10", "(two layers)"),
    ):
        yield f"{ends(found[name].values())} % {words}"


def declines() -> Iterator[str]:
    """What figure 1 on floats says of widths, layers and the convolutional network."""
    found, cnn = read("fig1"), read("fig1_cnn")
    slopes = {
        name: f"{number(100 * row['per_doubling'], 1, True)}{words} {between(row, digits=1, signed=row['per_doubling'] < 0)}"
        for name, words, row in (
            (name, words, found["width_scaling"][name])
            for name, words in (("minus1pp", " points of N"), ("half", ""), ("width", ""))
        )
    }
    yield f"the −1 point mark moves by {slopes['minus1pp']}, the half-way mark by {slopes['half']}, and the 10–90 % width by {slopes['width']}"
    half = {name: percent(mark["half"], 0) for name, mark in found["thresholds"].items()}
    study = "784-100-10"
    yield (
        f"half-way at {half[f'{study} least important first'].removesuffix(' %')} % of N if the least important die first, "
        f"{half[f'{study} most important first']} if the most important do, {half[study]} at random"
    )
    yield f"half-way at {half['784-100-100-10 layer 1']} of the first layer, {half['784-100-100-10 layer 2']} of the second"
    plain = [each["wins"]["logistic"] for name, each in found["change_point"].items() if name.count("-") == 2 and " " not in name]
    yield f"a smooth logistic curve fits best ({number(100 * min(plain), 0)} to {number(100 * max(plain), 0)} %)"
    drop = found["change_point"][f"{study} dropout"]
    yield f"(0.75 ± 0.05 of N) and the decline behind it is {number(drop['slope_ratio'], 0)} times as steep, but {percent(drop['wins']['logistic'], 0)} of orders are logistic"
    yield f"{percent(cnn['curves']['all units']['mean'][0])} of the first 2,000 CIFAR-10 test images"
    half = {name: percent(mark["half"], 0) for name, mark in cnn["thresholds"].items()}
    yield f"it is half-way at {half['all units']} of them, and the decline slows down (slope ratio {number(cnn['change_point']['all units']['slope_ratio'], 2)})"
    yield f"Of the first convolution alone {half['convolution 1']} do that, of the second {half['convolution 2']}, of the fully connected layer {half['fully connected 3']}"
    wins = [each["wins"]["hinge"] for each in cnn["change_point"].values()]
    yield f"Hinge best in {number(100 * min(wins), 0)} to {number(100 * max(wins), 0)} % of orders: no change point"
    yield f"Dropout** moves the −1 point mark from {percent(read('chip_fig1')['thresholds']['cores, 8 bits']['minus1pp'], 0)[:-2]} to {percent(read('chip_fig1')['thresholds']['cores, 8 bits, dropout-trained']['minus1pp'], 0)}"
    yield f"The 2-bit rows start from a healthy accuracy of {percent(read('chip_fig1')['curves']['cores, 2 bits']['mean'][0])}"


def recoveries() -> Iterator[str]:
    """What figure 2 says in sentences."""
    found, chip = read("fig2"), read("chip_fig2")
    best = {
        way: [number(100 * one(found["recovery"], strategy=way, m=m, tolerance=0.005)["best"]) for m in (75, 90)]
        for way in ("batch", "fresh-subnetwork")
    }
    yield f"(best {' and '.join(best['batch'])} % of {percent(found['healthy'])})"
    yield f"({' and '.join(best['fresh-subnetwork'])} %)"
    sham = found["controls"]
    yield f"{points(sham['sham_gain'])} points {between(sham)} over {sham['bases']} bases"
    first, *others = (f"{points(row['sham_gain'])} {between(row)}|{learner}" for learner, row in chip["controls"].items())
    yield ", ".join([first.replace("|", " points with `") + "`", *(each.replace("|", " with `") + "`" for each in others)])
    controls = table("chip_fig3_controls")
    lost = one(controls, control="remap", m=10)
    yield f"With 10 dead cores and 6 spares it ends at {percent(lost['accuracy'])} {between(lost, digits=1, signed=False)}"
    seen = [
        one(chip["recovery"], strategy="batch", learner=learner, loss="cores", m=6, tolerance=0.005)["best"]
        for learner in chip["controls"]
    ]
    yield f"{number(100 * min(seen))} to {number(100 * max(seen))} % of {percent(chip['healthy'])}"
    ways = [
        one(chip["recovery"], strategy=way, learner="dfa", loss="cores", m=6, tolerance=0.005)["best"]
        for way in ("embryonic", "batch", "fresh-subnetwork")
    ]
    yield f"(6 dead cores: {number(100 * ways[0])} against {percent(ways[1])})"
    yield f"A fresh sub-network reaches {percent(ways[2], 0)} at best"
    yield f"The readout alone is learned anew to {percent(one(controls, control='fresh-subnetwork', loss='cores', learner='delta')['accuracy'], 0)}"
    dropout = one(controls, control="dropout-trained, no repair", loss="cores", m=6)
    yield f"starts from {percent(dropout['healthy'])}: 6 dead cores cost it {number(100 * (dropout['healthy'] - dropout['accuracy']))} points before any repair"
    yield f"Healthy: {percent(chip['healthy'], 2)} of 10,000 test images"


def rankings() -> Iterator[str]:
    """What figure 3 on the chip and the ranking say in sentences."""
    delta = {
        row["cycles"]: row
        for row in json.loads((DATA.parent / "saturation.json").read_text(encoding="utf-8"))
        if row["learner"] == "delta"
    }
    yield f"`delta` has {percent(delta[0.2]['accuracy'])} after a fifth of a cycle and {percent(delta[2.0]['accuracy'])} after two"
    yield f"{percent(delta[0.2]['saturated'], 0)} of the readout's are saturated after a fifth of a cycle, {percent(delta[2.0]['saturated'], 0)} after two"
    rows = table("chip_fig3_comparisons", learner="delta", m=80)
    yield f"({percent(one(rows, accounting='equal energy, davies2018')['batch'])} at equal energy)"
    flips = read("chip_ranking")["rows"]
    lead = max(flips, key=lambda row: row["difference"])
    yield f"the largest lead of iterative repair is {points(lead['difference'], 1)} {between(lead, digits=1)} points, at {lead['value']} bits"
    own = rows_of(flips, learner="dfa")
    labels = [
        number(-100 * one(own, change=change, value=value)["difference"])
        for change, value in (("nothing changed", ""), ("labels known", "0.1"), ("labels known", "0.01"))
    ]
    yield "(`dfa`: {} points with all labels, {} with a tenth, {} with a hundredth)".format(*labels)


def lines() -> Iterator[str]:
    """What figure 4 says of lines and arcs in sentences."""
    floats, chip = read("fig4"), read("chip_fig4")
    aligned = floats["barriers"]["other base, aligned"]["mean"]
    yield f"from {number(100 * floats['barriers']['other base']['mean'])} points to {number(100 * aligned)}"
    found = [each for kinds in chip["barriers"].values() for each in kinds.values()]
    own = [floats["barriers"][kind]["mean"] for kind in ("same trajectory", "same base, other order")]
    yield (
        f"falls {number(100 * min(each['mean'] for each in found))} to {number(100 * max(each['mean'] for each in found))} points under the straight line in the mean, "
        f"{number(100 * max(each['max'] for each in found))} at most; floats: {number(100 * min(own))} to {number(100 * max(own))}"
    )
    arcs = [number(floats["embedding"][kind]["arc"]["mean"], 3) for kind in ("walk", "repair")]
    yield f"(R² {arcs[0]} against {arcs[1]})"


PARTS = (bases, declines, recoveries, rankings, lines)


def loose(page: str, claims: Iterable[str]) -> list[str]:
    """Return the numbers of a page's prose that stand in no claim, no table and no list of settings: nothing says where they come from.

    Args:
        page: as it is written.
        claims: what was found on it.
    """
    tables = {text for found in BLOCK.findall(page) for text in NUMBER.findall(found)}
    prose = " ".join(re.sub(r"`[^`]*`", "", re.sub(r"\]\([^)]*\)", "]", LEARNERS.sub("", BLOCK.sub("", page)))).split())
    for claim in sorted(claims, key=len, reverse=True):
        prose = prose.replace(re.sub(r"`[^`]*`", "", claim), "")
    return [text for text in NUMBER.findall(prose) if text not in tables | SETTINGS]
