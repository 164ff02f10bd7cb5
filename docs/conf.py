"""Sphinx configuration; ``make docs`` builds the site into ``docs/_build``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "neurofault"
author = "The neurofault developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]  # docs/generated/ is written below, by the program itself
autodoc_typehints = "description"


def setup(app: object) -> None:
    """Write the pages that the program answers for, before Sphinx looks for pages."""
    from reference_pages import write

    write(HERE / "generated")
