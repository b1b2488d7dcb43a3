"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .8; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
.wide { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.wide figure { flex: 1 1 26rem; }
.small { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
.scroll { overflow: auto; max-height: 32rem; margin-bottom: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""  # noqa: E501


@dataclass(frozen=True)
class Picture:
    """One PNG on the page."""

    path: Path
    about: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it: large pictures, then tables, then small pictures."""

    heading: str
    text: str = ""
    large: tuple[Picture, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    """(caption, table)."""
    small: tuple[Picture, ...] = ()


def page(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The page. Pictures are read and embedded."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{escape(intro)}</p>",
        *(_section(section) for section in sections),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.heading)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    if section.large:
        parts.append(f'<div class="wide">{_pictures(section.large)}</div>')
    parts += [_table(caption, table) for caption, table in section.tables]
    if section.small:
        parts.append(f'<div class="small">{_pictures(section.small)}</div>')
    return "\n".join([*parts, "</section>"])


def _pictures(pictures: Sequence[Picture]) -> str:
    return "\n".join(_picture(picture) for picture in pictures)


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    about = escape(picture.about)
    name = escape(picture.path.stem)
    return (
        f'<figure><img alt="{name}: {about}" src="data:image/png;base64,{data}">'
        f"<figcaption>{about}</figcaption></figure>"
    )


def _table(caption: str, table: pd.DataFrame) -> str:
    body = table.rename(columns=lambda name: str(name).replace("_", " ")).to_html(
        index=False, border=0, float_format="{:.4f}".format, na_rep="–", justify="right"
    )
    return f'<h3>{escape(caption)}</h3><div class="scroll">{body}</div>'
