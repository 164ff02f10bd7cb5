"""A page in Markdown as a Typst document: headings, paragraphs, lists, tables, pictures, code, links. Raw HTML and anything else is refused by name.

A paragraph that is all in emphasis is the caption of the picture before it or of the table behind it; the first heading is the title, and what
stands before the next one is set as the abstract is.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

LAYOUT = """
#set page(paper: "a4", margin: (x: 22mm, y: 22mm), numbering: "1")
#set text(font: "Libertinus Serif", size: 10pt, lang: "en", region: "GB")
#set par(justify: true, leading: 0.58em, spacing: 0.85em)
#set heading(numbering: none)
#show heading.where(level: 1): it => align(center, block(below: 1.1em, text(size: 17pt, weight: "bold", hyphenate: false, it.body)))
#show heading.where(level: 2): it => block(above: 1.5em, below: 0.8em, sticky: true, text(size: 12.5pt, it.body))
#show heading.where(level: 3): it => block(above: 1.2em, below: 0.7em, sticky: true, text(size: 10.5pt, it.body))
#show raw: set text(font: "DejaVu Sans Mono", size: 7.8pt)
#show link: set text(fill: rgb("#1a4d8f"))
#set table(stroke: none, inset: (x: 3.5pt, y: 2.6pt))
#let grid(size, columns, ..cells) = align(center, block(above: 0.6em, below: 1.3em, breakable: false, {
  set text(size: size)
  set par(justify: false, leading: 0.45em)
  table(columns: columns, align: (x, y) => if x == 0 { left } else { center }, ..cells)
}))
#let caption(body) = block(above: 0.7em, below: 0.9em, inset: (x: 6mm), sticky: true, { set par(justify: true, leading: 0.5em); text(size: 8.8pt, body) })
#let under(body) = block(above: 0.5em, below: 1.5em, inset: (x: 6mm), { set par(leading: 0.5em); text(size: 8.8pt, body) })
"""
"""How it looks; its fonts come with Typst."""
SPECIAL = re.compile(r"([\\#$*_`<>@~\[\]/=+\-\"'])")


def escaped(text: str) -> str:
    """Return text that Typst prints as it is."""
    return SPECIAL.sub(r"\\\1", text)


def quoted(text: str) -> str:
    """Return a string of Typst's."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def inline(tokens: list[Token]) -> str:
    """Return what stands in a line."""
    out = []
    for token in tokens:
        match token.type:
            case "text":
                out.append(escaped(token.content))
            case "softbreak":
                out.append("\n")
            case "code_inline":
                out.append(f"#raw({quoted(token.content)});")
            case "em_open":
                out.append("#emph[")
            case "strong_open":
                out.append("#strong[")
            case "em_close" | "strong_close":
                out.append("];")
            case "link_open":
                where = str(token.attrs["href"])
                out.append(f"#link({quoted(where)})[" if where.startswith("https://") else "#[")
            case "link_close":
                out.append("];")
            case _:
                raise ValueError(f"{token.type} has no form in Typst here")
    return "".join(out)


def table(tokens: list[Token]) -> str:
    """Return a table; the more columns, the smaller the type."""
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(f"[{inline(token.children or [])}]")
    wide = len(rows[0])
    head, *body = rows
    rule = "table.hline(stroke: 0.6pt)"
    cells = [rule, f"table.header({', '.join(f'strong{cell}' for cell in head)})", rule, *(", ".join(row) for row in body), rule]
    columns = "(" + ", ".join(["auto"] * wide) + ",)"
    return f"#grid({'8.6pt' if wide < 6 else '7.8pt' if wide < 8 else '7pt'}, {columns},\n" + ",\n".join(cells) + ")\n"


def block(children: list[Token], after_picture: bool) -> str:
    """Return a paragraph: a picture, a caption or prose."""
    if len(children) == 1 and children[0].type == "image":
        where = str(children[0].attrs["src"]).removeprefix("..")
        return f"#block(above: 1.1em, below: 0.4em, sticky: true, align(center, image({quoted(where)}, width: 100%, alt: {quoted(children[0].content)})))\n\n"
    if children[0].type == "em_open" and children[-1].type == "em_close":
        return f"#{'under' if after_picture else 'caption'}[{inline(children[1:-1])}]\n\n"
    return inline(children) + "\n\n"


def typst_of(page: str, keyword: str) -> str:
    """Return the document.

    Args:
        page: Markdown; pictures are named as ``../data/paper/NAME.png``, from a folder under the root.
        keyword: written into the PDF's properties.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    title = next(tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open")
    out = [f"#set document(title: {quoted(title)}, keywords: ({quoted(keyword)},), date: none)\n", LAYOUT, "\n"]
    lists: list[str] = []
    at, picture = 0, False
    while at < len(tokens):
        token = tokens[at]
        match token.type:
            case "heading_open":
                out.append(f"{'=' * int(token.tag[1])} {inline(tokens[at + 1].children or [])}\n\n")
                at += 2
            case "paragraph_open":
                children = tokens[at + 1].children or []
                out.append(block(children, picture))
                picture = children[0].type == "image"
                at += 2
            case "table_open":
                end = next(later for later in range(at, len(tokens)) if tokens[later].type == "table_close")
                out.append(table(tokens[at:end]))
                at = end
            case "bullet_list_open" | "ordered_list_open":
                lists.append("list" if token.type[0] == "b" else "enum")
                out.append(f"#{lists[-1]}(\n")
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
                out.append(")\n\n")
            case "list_item_open":
                out.append("[")
            case "list_item_close":
                out.append("],\n")
            case "fence" | "code_block":
                code = quoted(token.content.rstrip()).replace("\n", "\\n")
                out.append(f"#block(inset: (left: 6mm), breakable: false, raw(block: true, {code}))\n\n")
            case _:
                raise ValueError(f"{token.type} has no form in Typst here")
        at += 1
    return "".join(out)
