"""Charts that answer to the pointer and the keyboard, in a page that loads nothing.

They are drawn by Vega (BSD-3-Clause), whose code comes from the pip package ``vl-convert-python`` and is written into the page. Of the libraries that a Python
package brings along, weighed as they would stand in a page: Plotly 4.5 MB (MIT; SVG whose points have no names); Bokeh 1.3 MB, 1.6 MB with its table (BSD-3-Clause; a canvas,
in which neither a screen reader nor the Tab key finds a point); Vega 0.9 MB, in SVG, where every point is an element with a role and a label of its own.
(A third of that is Vega-Lite, which the package does not leave out.) Colours are CSS variables there, so that a change between light and dark needs no script.
The cost is a package of 33 MB to install, of which a page gets nothing else.

What a page says without a script is a matter of who writes it: :func:`parts` only adds to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from neurofault.cache import cache_dir, keep

_HERE = Path(__file__).parent
_LICENCE = (
    "/* Vega, Vega-Lite and Vega-Embed, copyright University of Washington Interactive Data Lab, BSD-3-Clause: https://github.com/vega/vega/blob/main/LICENSE; "
    "with D3, copyright Mike Bostock, ISC: https://github.com/d3/d3/blob/main/LICENSE */"
)


@cache
def library() -> str:
    """Return Vega as one script that sets ``window.vegaEmbed``; about 0.9 MB. Kept in the cache folder, for packing it takes seconds."""
    from importlib.metadata import version

    path = cache_dir() / f"vega-{version('vl-convert-python')}.js"
    try:
        code = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        code = ""
    if not code.endswith(_LICENCE):
        import vl_convert

        code = f"(() => {{{vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;')}}})();\n{_LICENCE}"
        keep(path, lambda part: part.write_text(code, encoding="utf-8"))
    return code


def parts(charts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    r"""Return what a page takes in: ``style``, ``data`` (JSON), ``library`` and ``script``, to be put into elements of these kinds as they are.

    Args:
        charts: id of the element that a chart stands in → the chart, JSON-ready. ``kind`` is ``curves``, ``bars`` or ``map``; ``explorer.js`` says what each holds.

    >>> parts({"chart-1": {"kind": "map", "cores": ["</script>"]}})["data"]
    '{"chart-1": {"kind": "map", "cores": ["\\u003c/script>"]}}'
    """
    return {
        "style": (_HERE / "explorer.css").read_text(encoding="utf-8"),
        "data": json.dumps(charts, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        "library": library(),
        "script": (_HERE / "explorer.js").read_text(encoding="utf-8"),
    }
