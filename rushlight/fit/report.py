"""The report of a run: one HTML page that needs no network and opens in any browser.

A `Report` is a title and sections; a section is made of the parts below (paragraphs, tables, figures, code).
Jobs put their own sections between the standard ones. Invariant: text reaches the page through `escape` only,
and pictures are inside the page, so it loads nothing and runs nothing.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rushlight.files import write_bytes
from rushlight.fit.errors import FitError


class Part(str):
    """A piece of finished HTML; made by the functions of this module."""


def escape(value: object) -> str:
    """Any value as text that HTML shows as it is."""
    return html.escape(str(value), quote=True)


def paragraph(text: str, emphasis: bool = False) -> Part:
    """A paragraph.

    >>> paragraph("loss < 1")
    '<p>loss &lt; 1</p>'
    """
    return Part(f'<p class="verdict">{escape(text)}</p>' if emphasis else f"<p>{escape(text)}</p>")


def code(text: str) -> Part:
    """Text as a computer would print it: a command, a configuration."""
    return Part(f"<pre>{escape(text)}</pre>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Part:
    """A table; numbers are set to the right."""
    lines = ["<table><thead><tr>", *(f"<th>{escape(each)}</th>" for each in head), "</tr></thead><tbody>"]
    for row in rows:
        lines.append("<tr>" + "".join(_cell(each) for each in row) + "</tr>")
    return Part("".join([*lines, "</tbody></table>"]))


def _cell(value: object) -> str:
    if isinstance(value, Part):
        return f"<td>{value}</td>"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
        return f'<td class="number">{text}</td>'
    return f"<td>{escape(value)}</td>"


def image(content: bytes, caption: str = "", kind: str = "png", width: int | None = None) -> Part:
    """A picture, given as the bytes of a PNG, JPEG or SVG file."""
    types = {"png": "image/png", "jpeg": "image/jpeg", "svg": "image/svg+xml"}
    size = "" if width is None else f' style="width:{int(width)}px"'
    source = f"data:{types[kind]};base64,{base64.b64encode(content).decode()}"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return Part(f'<figure><img src="{source}" alt="{escape(caption)}"{size}>{below}</figure>')


def gallery(pictures: Iterable[Part]) -> Part:
    """Pictures side by side, as many as fit a line."""
    return Part('<div class="gallery">' + "".join(pictures) + "</div>")


def figure(
    draw: Callable[[Any], None], caption: str = "", size: tuple[float, float] = (8, 4), kind: str = "svg"
) -> Part:
    """A drawing of matplotlib's; `draw` gets the empty figure, of `size` in inches.

    `kind` ``"svg"`` stays sharp; ``"png"`` is smaller where thousands of points are drawn.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size, layout="constrained")
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "rushlight", "font.size": 9}):
        draw(canvas)
        metadata = {"Date": None} if kind == "svg" else None
        canvas.savefig(content, format=kind, dpi=110, metadata=metadata)
    return image(content.getvalue(), caption, kind)


class Report:
    """A page under construction.

    >>> report = Report("digits")
    >>> report.add("Verdict", paragraph("Fits."))
    >>> "<h2>Verdict</h2><p>Fits.</p>" in report.html()
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.sections: list[tuple[str, list[Part]]] = []

    def add(self, title: str, *parts: Part) -> None:
        """Add a section; TypeError for a part that was not made by this module."""
        for each in parts:
            if not isinstance(each, Part):
                kind = type(each).__name__
                raise TypeError(f"a section is made of parts such as paragraph(text), not {kind}")
        self.sections.append((title, list(parts)))

    def html(self) -> str:
        """The page."""
        places = [(f"section-{number}", title) for number, (title, _) in enumerate(self.sections)]
        links = "".join(f'<a href="#{place}">{escape(title)}</a>' for place, title in places)
        body = "".join(
            f'<section id="section-{number}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'
            for number, (title, parts) in enumerate(self.sections)
        )
        return _PAGE.format(title=escape(self.title), style=_STYLE, links=links, body=body)

    def write(self, path: str | Path) -> None:
        """Save the page, all or nothing; FitError where that fails."""
        try:
            write_bytes(path, self.html().encode())
        except OSError as error:
            raise FitError(f"cannot write {path}: {error.strerror or error}") from None


# No script runs and nothing is loaded, whatever text found its way into the page.
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><header><h1>{title}</h1><nav>{links}</nav></header><main>{body}</main></body></html>
"""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem 1.5rem 4rem;
  color: #222; background: #fff; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd; }
nav a { margin-right: 1rem; color: #0b57d0; text-decoration: none; }
.verdict { font-size: 1.05rem; background: #f4f6f8; border-left: 4px solid #d97a00; padding: .6rem .9rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e6e6e6; text-align: left; vertical-align: top; }
th { background: #fafafa; font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f4f6f8; padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: .5rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .85rem; }
.gallery { display: flex; flex-wrap: wrap; gap: .8rem; }
.gallery figure { margin: 0; text-align: center; }
.gallery img { image-rendering: pixelated; border: 1px solid #ddd; }
@media print { nav { display: none; } section { break-inside: avoid; } }
"""
