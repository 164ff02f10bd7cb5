"""The table of all kinds of faults, as Markdown, made from what the kinds say about themselves."""

from __future__ import annotations

from neurofault.faults.models import FAMILIES, describe

_COMMON = ("count", "rate", "where", "layer", "connection", "at", "when", "again")


def kinds_table() -> str:
    """Return one Markdown table for each family of kinds."""
    parts = []
    for family, models in FAMILIES.items():
        rows = [
            f"### {family.capitalize()}",
            "",
            "| kind | what happens | equation | physical mechanism | parameters | sources | elsewhere |",
            "|---|---|---|---|---|---|---|",
        ]
        for model in models:
            info = describe(model.kind)
            own = []
            for parameter in info.parameters:
                if parameter.name in _COMMON:
                    continue
                unit = f", {parameter.unit}" if parameter.unit else ""
                allowed = f" ({parameter.allowed}{unit})" if parameter.allowed or unit else ""
                default = "" if parameter.default is None else f", default {parameter.default}"
                own.append(f"`{parameter.name}`: {parameter.text}{allowed}{default}")
            cells = (
                f"`{info.kind}`", info.summary, info.equation, info.mechanism, "<br>".join(own), "<br>".join(info.sources), info.neighbours,
            )  # fmt: skip
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)
