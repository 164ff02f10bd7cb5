import re
from html import unescape
from html.parser import HTMLParser

import pytest
from campaigns import SMALL, made_ready, ran

from neurofault.study.campaign.report import details, sentence, write_report
from neurofault.study.campaign.summary import answer_of, found_in


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    ran(folder / "run", made_ready(folder))
    return answer_of(found_in(folder / "run"))


class Page(HTMLParser):
    """What a browser would load, and which tags stay open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "br", "img", "input", "hr"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "figures/", "data:")):
                self.loads.append(value)
            if tag == "a" and name == "href":
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_the_page_needs_nothing_but_itself(answer, tmp_path):
    text = write_report(tmp_path, answer).read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    bare = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "<script" not in bare
    assert not re.search(r"url\((?!['\"]?#)|@import", bare)
    assert "default-src 'none'" in bare  # a browser lets nothing load, from scripts neither
    assert len(text.encode()) < 2e6
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "figures").iterdir()}
    assert files == {link for link in page.links if not link.startswith("#")}
    assert {name.rsplit(".")[-1] for name in files} == {"svg", "csv"}


def test_the_answer_comes_first_and_in_numbers(answer, tmp_path):
    text = write_report(tmp_path, answer).read_text()
    words = Page(text).words
    said = sentence(answer)
    main = text.split("<main", 1)[1]
    assert unescape(re.search(r"<p[^>]*>(.*?)</p>", main, re.DOTALL)[1]) == said
    worst = min((point for curve in answer["curves"] for point in curve["points"]), key=lambda point: point["damaged"]["mean"])
    assert said.count(".\n") + said.count(". ") == 0  # one sentence
    assert f"leaves accuracy at {100 * worst['damaged']['mean']:.2f} % [{100 * worst['damaged']['low']:.2f}, " in said
    assert f", healthy {100 * answer['healthy']:.2f} %; " in said
    none = next(point for point in answer["curves"][2]["points"] if point["x"] is None)
    assert none["method"] == "t"
    rest = details(answer)
    lowest = min(row["lowest"] for row in [worst, none] if row["mean"] == worst["damaged"]["mean"])
    assert f"The worst of 3 draws leaves accuracy {100 * lowest:.2f} %." in rest
    assert rest in words
    assert "core_dead (count varied)" in words
    assert "of the mean over draws, cut at 0 and 100 % (Student's t over draws)." in words
    assert '<th scope="col">method</th>' not in text
    assert "the readout learns on chip from the errors of its own neurons" in words
    for curve in answer["curves"]:
        for point in curve["points"]:
            assert f'<th scope="row">{curve["label"]}</th>' in text
            assert f"<td>{100 * point['mean']:.2f} %</td>" in text
    assert answer["command"] in words
    assert answer["provenance"]["python"] in words


def test_equal_answers_give_equal_bytes(answer, tmp_path):
    for name in ("one", "two"):
        write_report(tmp_path / name, answer)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()} for name in ("one", "two")
    )
    assert one == two


def test_what_a_user_wrote_cannot_become_markup(answer, tmp_path):
    nasty = "<script>alert(1)</script>&\"'"
    curves = [{**answer["curves"][0], "label": nasty}, *answer["curves"][1:]]
    failure = {"trial": "0" * 32, "cell": 1, "draw": 0, "status": "error", "message": nasty}
    text = write_report(tmp_path, {**answer, "name": nasty, "curves": curves, "failures": [failure]}).read_text()
    assert "<script>alert" not in text
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 3
    assert "&lt;script&gt;" in text
    assert Page(text).open == []


def test_failures_and_missing_points_are_shown(tmp_path):
    bad = made_ready(tmp_path, SMALL.replace("[1, 3]", "[1, 99]").replace("\n  - {strategy: batch, learner: delta}", ""))
    ran(tmp_path / "run", bad)
    found = answer_of(found_in(tmp_path / "run"))
    text = write_report(tmp_path / "run", found).read_text()
    words = Page(text).words
    assert "3 failed" in words
    assert all(failure["message"] in words for failure in found["failures"])
    empty = {
        **found,
        "curves": [{**curve, "points": [dict.fromkeys(curve["points"][0], None) for _ in range(1)]} for curve in found["curves"]],
    }
    assert sentence(empty) == "No trial has a result yet."
    assert details(empty) == ""


def test_what_healing_took_and_what_is_left_stand_below_the_answer_in_the_singular_where_there_is_one(answer):
    healed = [point for curve in answer["curves"] for point in curve["points"] if point["cycles"]]
    assert healed
    for point in healed:
        point |= {"cycles": 1.0, "writes": 1.0, "recovered": point["recovered"] or {"mean": 1.0}}
    trials = {**answer["trials"], "planned": answer["trials"]["done"] + 1}
    said = details({**answer, "trials": trials})
    assert " (1 cycle of learning, 1 write, " in said
    assert said.endswith(" 1 trial is still to run.")


def test_one_draw_has_an_interval_over_its_images_and_says_so(tmp_path):
    ran(tmp_path / "run", made_ready(tmp_path, SMALL.replace("draws: 3", "draws: 1")))
    found = answer_of(found_in(tmp_path / "run"))
    points = [point for curve in found["curves"] for point in curve["points"]]
    assert {point["method"] for point in points} == {"wilson"}
    assert all(point["low"] < point["mean"] < point["high"] or point["mean"] in (0, 1) for point in points)
    words = Page(write_report(tmp_path / "run", found).read_text()).words
    assert (
        "over draws, cut at 0 and 100 % (Wilson's over the samples of the one draw, which says nothing about other draws)" in words
    )


def test_ways_of_the_same_name_are_told_apart_by_their_budgets(tmp_path):
    text = SMALL.replace(
        "  - {strategy: batch, learner: delta}",
        "  - {strategy: batch, learner: {sweep: [delta, dfa]}}\n  - {strategy: batch, learner: delta, cycles: 0.5, writes: 900}",
    )
    ran(tmp_path / "run", made_ready(tmp_path, text.replace("draws: 3", "draws: 1")))
    labels = [curve["label"] for curve in answer_of(found_in(tmp_path / "run"))["curves"]]
    assert len(labels) == len(set(labels))
    assert "core_dead · batch · delta · cycles 0.5, writes 900" in labels
    assert "core_dead · batch · dfa" in labels


def test_curves_of_equal_values_stand_on_a_scale_of_their_own(answer, tmp_path):
    """Without a span of values a scale would show rounding alone: ``+9e1`` above, and the same tick again and again."""
    ends = dict.fromkeys(("mean", "low", "high"), 0.9)
    curves = [{**curve, "points": [{**point, **ends} for point in curve["points"]]} for curve in answer["curves"]]
    text = write_report(tmp_path, {**answer, "healthy": 0.9, "chance": None, "curves": curves}).read_text()
    figure = text[text.index('data-drawn-by="accuracy1-explorer"') :]
    figure = figure[: figure.index("</svg>")]
    ticks = re.findall(r'<g id="accuracy1-ytick_\d+">.*?<text[^>]*>([^<]+)</text>', figure, re.DOTALL)
    assert len(ticks) == len(set(ticks)) >= 3
    assert all(89 <= float(tick) <= 91 for tick in ticks)
    assert 90 in map(float, ticks)
