"""The preprint in docs/paper, written from the published data: ``preprint.md`` from its template, and ``preprint.pdf`` from that.

    python experiments/preprint.py            # writes both; the PDF needs `pip install neurofault[docs]` (Typst, one wheel)
    python experiments/preprint.py --check    # writes nothing; exit code 1 where the text, its numbers or the PDF are not those of the data

No number is written by hand: ``preprint.md.j2`` names each by an expression over ``docs/data/paper/NAME.json`` (``NAME`` in the template), the CSV files
there (``table("NAME")``: rows), ``docs/data/NAME.json`` (``also.NAME``) and the settings of the figures (``floats``, ``chip``). A new file of data is there by its name.
What a sentence rests on beyond its numbers stands beside it as ``{{ holds(condition) }}``, which ends the command where the data no longer say so.
``--check`` refuses digits in the template's prose that are not of :data:`NAMES` (Loihi 2, strategy 1 …) and expressions that name no data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2 import nodes

sys.path.insert(0, str(Path(__file__).parent))

import paper_claims  # beside this file
import paper_holm
import paper_spending
from paper_words import WrongTextError, apart, between, cycles, marked, number, one, percent, points, rows_of, table
from typst_page import LAYOUT, typst_of

from neurofault.papers.rescue2019 import chip_setting, float_setting
from neurofault.study import changepoint

DOCS = Path(__file__).parents[1] / "docs"
PAPER, DATA = DOCS / "paper", DOCS / "data"
TEMPLATE, PAGE, PDF, REFERENCES = (PAPER / name for name in ("preprint.md.j2", "preprint.md", "preprint.pdf", "references.yaml"))
NAMES = re.compile(
    r"(?m:^\d+\. )|Loihi [12]\b|Lava 0\.10|NeurIPS 2019|CIFAR-10|[Ss]trateg(?:y|ies) [12]\b(?: (?:and|or) [12]\b)?|95 %|\]\([^)]*\)|`[^`]*[A-Za-z][^`]*`"
)
"""What may have digits and is no result: names, the level of all intervals, targets of links, items of a list, code with a letter in it."""
HELPERS = {"cite", "figure", "tab", "section", "references", "holds"}
"""What the template may call for itself, without data."""


def holds(condition: bool) -> str:
    """Return nothing, or end where the data no longer say what a sentence says."""
    if not condition:
        raise WrongTextError("a sentence rests on what the data no longer say")
    return ""


class Counted:
    """Numbers of sections, figures, tables and references, in the order in which they are first named."""

    def __init__(self) -> None:
        self.places: dict[str, dict[str, int]] = {kind: {} for kind in ("figure", "tab", "cite", "section")}
        self.known: dict[str, str] = yaml.safe_load(REFERENCES.read_text(encoding="utf-8"))

    def of(self, kind: str, name: str) -> int:
        """Return the number of a place."""
        return self.places[kind].setdefault(name, len(self.places[kind]) + 1)

    def cite(self, *names: str) -> str:
        """Return ``[1, 2]``, as links to the references."""
        if unknown := [name for name in names if name not in self.known]:
            raise WrongTextError(f"no reference {unknown[0]!r} in {REFERENCES.name}")
        return f"[\\[{', '.join(str(self.of('cite', name)) for name in names)}\\]](#references)"

    def references(self) -> str:
        """Return the list of what was cited, which is all that there is."""
        if unused := set(self.known) - set(self.places["cite"]):
            raise WrongTextError(f"never cited: {', '.join(sorted(unused))}")
        return "\n".join(f"{number}. {self.known[name]}" for name, number in self.places["cite"].items())


def change_points(data: Any) -> dict[str, Any]:
    """Return the thresholds of a change point, and the shares of orders in which the hinge wins."""
    wins = [found["wins"]["hinge"] for found in data["chip_fig1"]["change_point"].values()]
    plain = [name for name in data["fig1"]["change_point"] if " " not in name]
    rule = {"wins": changepoint.WINS, "ratio": changepoint.RATIO, "sd": changepoint.SPREAD}
    return {
        "floats_rule": rule,
        "plain": plain,
        "shares": {"hinge": [data["fig1"]["change_point"][name]["wins"]["hinge"] for name in plain], "chip": wins},
    }


def environment() -> jinja2.Environment:
    """Return what fills the template in."""
    counted = Counted()
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    made.filters |= {"number": number, "percent": percent, "points": points, "cycles": cycles, "rows": rows_of, "one": one}
    made.globals |= {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "paper").glob("*.json"))}
    made.globals |= {
        "also": {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("*.json"))},
        "floats": float_setting.FULL, "chip": chip_setting.FULL, "claims": paper_claims, "spending": paper_spending, "table": table, "between": between, "len": len,
        "holds": holds, "marked": marked, "test": paper_holm.test, "tests": list(paper_holm.tests()), "apart": apart, **change_points(made.globals), "cite": counted.cite, "references": counted.references, "learners": chip_setting.FULL.learners,
        **{kind: (lambda name, kind=kind: counted.of(kind, name)) for kind in ("figure", "tab", "section")},
    }  # fmt: skip
    return made


def written(template: str) -> str:
    """Return the page that the data make of a template."""
    return environment().from_string(template).render()


def bare_numbers(template: str) -> Iterator[str]:
    """Yield what is written by hand: digits in prose, and expressions without data."""
    made = environment()
    for line, kind, text in made.lex(template):
        if kind == "data":
            for found in re.finditer(r"\S*\d\S*", NAMES.sub("", text)):
                yield f"line {line}: {found.group()} is written by hand"
    for output in made.parse(template).find_all(nodes.Output):
        for part in output.nodes:
            named = {name.name for name in [*part.find_all(nodes.Name), *([part] if isinstance(part, nodes.Name) else [])]}
            places = isinstance(part, nodes.Call) and named <= HELPERS  # cite("loihi"), figure("decline")
            if not (isinstance(part, nodes.TemplateData) or named - HELPERS or (named and places)):
                yield f"line {output.lineno}: an expression names no data"


def digest(page: str) -> str:
    """Return what tells whether a PDF is that of a page, its pictures and its layout."""
    pictures = [(PAGE.parent / one).read_bytes() for one in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)]
    return hashlib.sha256(b"\0".join([page.encode(), LAYOUT.encode(), *pictures])).hexdigest()[:16]


def pdf_of(page: str) -> bytes:
    """Return the page as a PDF, of the same bytes each time."""
    import typst

    source = typst_of(page, digest(page))
    return bytes(typst.compile(source.encode(), root=str(DOCS), ignore_system_fonts=True))


def main() -> None:
    """Write the preprint, or look whether it is as its data are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something would change")
    check = parser.parse_args().check
    template = TEMPLATE.read_text(encoding="utf-8")
    bare = list(bare_numbers(template))
    page = written(template)
    if check:
        old = PAGE.read_text(encoding="utf-8")
        wrong = [new for one, new in zip(old.splitlines(), page.splitlines(), strict=False) if one != new]
        stale = digest(page).encode() not in PDF.read_bytes()
        print(*bare, *wrong, sep="\n", end="\n" if bare or wrong else "")
        print(f"{len(bare)} numbers are written by hand, {len(wrong)} lines of {PAGE.name} are not what the data say")
        print(f"{PDF.name} is {'not ' if stale else ''}that of the text")
        sys.exit(bool(bare or wrong or stale or old != page))
    if bare:
        sys.exit("\n".join(bare))
    PAGE.write_text(page, encoding="utf-8")
    PDF.write_bytes(pdf_of(page))
    print(f"wrote {PAGE} and {PDF}")


if __name__ == "__main__":
    main()
