"""Reports that are one HTML file, which loads nothing: what all of them share (``page.html``, :mod:`neurofault.study.explorer`)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.study import explorer
from neurofault.study.csv_table import Rows, table


def check_tools() -> None:
    """Refuse where what the report is made with is missing.

    Raises:
        UsageError: jinja2, matplotlib, pyarrow or vl-convert-python is.
    """
    missing = [name for name in ("jinja2", "matplotlib", "pyarrow", "vl_convert") if find_spec(name) is None]
    if missing:
        missing = [name.replace("vl_convert", "vl-convert-python") for name in missing]
        raise UsageError(f"the report needs {' and '.join(missing)}: pip install 'neurofault[campaign]'")


def page_from(
    template: Path, figures: Sequence[Mapping[str, Any]], filters: Mapping[str, Callable[..., str]], *, beside: bool, **values: Any
) -> str:
    """Return a page.

    Args:
        template: a file that extends ``page.html``; it finds ``figures``, each with ``links``, and ``values``.
        figures: ``name``, ``svg``, ``rows`` (of its CSV), ``drawn_by`` (id of the element that its chart stands in) and ``chart``
            (:mod:`neurofault.study.explorer`; None: that of an earlier one shows it).
        filters: of the template.
        beside: whether ``figures/NAME.svg`` and ``.csv`` will stand beside the page; False: they are written into it.
        values: what else the template names.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(autoescape=True, loader=FileSystemLoader([template.parent, Path(__file__).parent]))
    environment.filters.update(filters)
    shown = [
        {**figure, "svg": Markup(_own_ids(figure["svg"], figure["name"])), "links": Markup(_links(figure, beside=beside))}
        for figure in figures
    ]
    charts = {figure["drawn_by"]: figure["chart"] for figure in figures if figure["chart"] is not None}
    parts = {name: Markup(text) for name, text in explorer.parts(charts).items()}
    page = environment.get_template(template.name).render(figures=shown, parts=parts, **values)
    return f"{page}\n"


def _links(figure: Mapping[str, Any], *, beside: bool) -> str:
    """Return links to a figure's SVG and CSV."""
    links = []
    for suffix, kind, text in (("svg", "image/svg+xml", figure["svg"]), ("csv", "text/csv", table(figure["rows"]))):
        name = f"{figure['name']}.{suffix}"
        links.append(f'<a href="figures/{name}">{suffix.upper()}</a>' if beside else _embedded(name, kind, text))
    return ", ".join(links)


def csv_link(name: str, rows: Rows) -> str:
    """Return a link to rows as a CSV file that stands in the page, as markup.

    Args:
        name: of the file, without its ending.
        rows: as :func:`neurofault.study.csv_table.table` takes them.
    """
    return _embedded(f"{name}.csv", "text/csv", table(rows))


def _embedded(name: str, kind: str, text: str) -> str:
    """Return a link to a file that stands in the page."""
    return f'<a href="data:{kind};base64,{base64.b64encode(text.encode()).decode()}" download="{name}">{name.rpartition(".")[2].upper()}</a>'


def _own_ids(svg: str, name: str) -> str:
    """Return a figure whose ids no other figure of the page has."""
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
