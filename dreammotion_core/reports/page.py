"""The frame of a report, its tables, and the escaping of all that comes from outside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8889; --accent: #5b5bd6; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { max-width: 46rem; } .faint { color: GrayText; }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, Canvas 40%, transparent) left / 2.4rem 100% no-repeat local,
  linear-gradient(to left, Canvas 40%, transparent) right / 2.4rem 100% no-repeat local,
  linear-gradient(to right, #8887, transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, #8887, transparent) right / .8rem 100% no-repeat scroll; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; min-width: 4rem; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: Canvas; padding-left: 0; }
td:first-child { white-space: normal; min-width: min(11rem, 30vw); }
li { margin: .3rem 0; max-width: 60rem; } summary { cursor: pointer; margin-top: 1rem; }
td.best { font-weight: 700; }
.sheet { display: flex; gap: .6rem; overflow-x: auto; }
.sheet img { border-radius: .4rem; display: block; }
.sheet figcaption { font-size: .75rem; max-width: 8rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.2rem; }
.legend span { margin-right: .9rem; white-space: nowrap; }
figure { margin: 0; } canvas { width: 100%; border-radius: .5rem; display: block; background: #8882; }
figcaption { font-size: .9rem; margin-top: .3rem; }
.bar { display: flex; gap: .8rem; align-items: center; margin: .6rem 0 1rem; }
.bar input { flex: 1; max-width: 24rem; accent-color: var(--accent); }
button { font: inherit; padding: .25rem .8rem; } svg { width: 100%; height: auto; }
svg text { fill: currentColor; font-size: 16px; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; }
"""


SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="Table of figures">'
"""Opens what a wide table is scrolled in, by the keyboard too."""


def html_page(title: str, *, body: str, script: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML, already escaped.
        script: JavaScript that runs at the end of the page.
    """
    ending = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n{ending}</body></html>\n"
    )


def html_table(header: Sequence[str], *, rows: Sequence[Sequence[str]], best: set[tuple[int, int]]) -> str:
    """A table of plain text.

    Args:
        header: column headings.
        rows: cells, as many as headings.
        best: (row, column) of cells to set off.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if (i, j) in best else ''}>{escape(cell)}</td>" for j, cell in enumerate(row)
        )
        + "</tr>\n"
        for i, row in enumerate(rows)
    )
    return f"{SCROLL}<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def markdown_table(header: Sequence[str], *, rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
