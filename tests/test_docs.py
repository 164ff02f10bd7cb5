"""The site: every page has its place and its question, links lead somewhere, snippets happen, reference is that of the program."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/paper/preprint.md")]


def reference():
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "generated"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "TERMINAL_WIDTH"):
            patch.setenv(name, "80")
        reference().write(folder)
    return folder


def test_every_page_stands_once_in_the_contents_and_has_a_row_for_its_question():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = [
        line
        for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for line in block.splitlines()
        if line and line[0] != ":"
    ]
    assert sorted(one for one in listed if "/" not in one) == [page.stem for page in PAGES if page.stem != "index"]
    assert [page.name for page in PAGES if page.stem not in ("index", "api") and f"({page.name}" not in index] == []


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_links_lead_to_a_file_and_a_heading(page, generated):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        where, _, heading = link.partition("#")
        if where.startswith(("http://", "https://")):
            continue
        target = page.parent / where if where else page
        if where.startswith("generated/"):
            target = generated / where.removeprefix("generated/")
        if not target.exists() or (heading and heading not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [*PAGES, *OTHERS, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_addresses_on_the_web_are_whole(page):
    text = page.read_text(encoding="utf-8")
    found = [*re.findall(r"\]\((\w+://[^)]*)\)", text), *re.findall(r"<(\w+://[^>]*)>", text)]
    assert [
        one for one in found if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[\w.~%+,;=@!&()-]*)*(\?[\w.~%+=&-]+)?(#[\w-]+)?", one)
    ] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_first_ten_minutes_happen_as_they_are_written():
    assert doctest.testfile(str(DOCS / "start.md"), module_relative=False) == (0, 15)


def test_the_reference_has_every_verb_kind_and_profile(generated):
    from neurofault.faults.models import KINDS
    from neurofault.study.campaign.records import CampaignSpec

    cli = (generated / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^## neurofault (.*)$", cli, re.MULTILINE) == [" ".join(words) for words in reference().verbs()]
    assert "--kill-cores" in cli.split("## neurofault inject\n")[1].split("\n## ")[0]
    kinds = (generated / "kinds.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", kinds, re.MULTILINE) == list(KINDS)
    chips = (generated / "chips.md").read_text(encoding="utf-8")
    assert [path.stem for path in (ROOT / "hardware_profiles").glob("*.yaml") if path.stem not in chips] == []
    keys = (generated / "campaign_keys.md").read_text(encoding="utf-8")
    for record in reference().records(CampaignSpec):
        title = "The file" if record is CampaignSpec else record.__name__.rstrip("_")
        rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", keys.split(f"## {title}\n")[1].split("\n## ")[0], re.MULTILINE)
        assert [name for name, _ in rows if name != "include"] == list(record.model_fields), title
        assert [name for name, what in rows if not what] == [], title
    assert {"NetworkChoice", "Data", "Place", "Rescue", "Stop", "CopySpec", "OrderSpec"} <= set(
        re.findall(r"^## (\w+)$", keys, re.MULTILINE)
    )


def test_the_page_on_installation_names_what_a_build_makes_and_extras_that_there_are():
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [version] = re.findall(r'^version = "(.*)"$', project, re.MULTILINE)
    assert set(re.findall(r"neurofault-([\d.]+?)(?:-py3-none-any\.whl|\.tar\.gz)", text)) == {version}
    [extras] = re.findall(r"\[project\.optional-dependencies\]\n(.*?)\n\n", project, re.DOTALL)
    named = {one for names in re.findall(r"(?:whl|neurofault)\[([\w,]+)\]", text) for one in names.split(",")}
    assert named <= set(re.findall(r"^(\w+) = ", extras, re.MULTILINE))
    assert named
    [container] = re.findall(r'"\.\[([\w,]+)\]"', (ROOT / "Containerfile").read_text(encoding="utf-8"))
    assert "the extras " + ", ".join(f"`{one}`" for one in container.split(",")[:-1]) + f" and `{container.split(',')[-1]}`" in text
