"""One self-contained HTML page about results: pictures inside, no outside address, and no script but the sliders'."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swath import __version__
from swath.imagery.atomic import AtomicOutput

if TYPE_CHECKING:
    from PIL.Image import Image

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2721; --paper: #fbfaf6; --soft: #5d6b62; --line: #dcd9cf; --bar: #3f7d58; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9ece8; --paper: #161a17; --soft: #9aa69e; --line: #333a35; --bar: #6fb58c; }
}
body { font: 17px/1.55 Georgia, "Times New Roman", serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 2.1rem; margin: 0 0 .2rem; } h2 { font-size: 1.45rem; margin: 3rem 0 .3rem; }
p.lead { font-size: 1.2rem; margin: .2rem 0 .8rem; } .soft, figcaption, li { color: var(--soft); font-size: .92rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; height: auto; border-radius: 4px; display: block; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .92rem; }
td { padding: .2rem .5rem .2rem 0; border-bottom: 1px solid var(--line); } td.name { width: 13rem; }
table.figures { display: block; overflow-x: auto; width: auto; font-variant-numeric: tabular-nums; }
.figures th, .figures td { text-align: left; vertical-align: top; padding: .3rem 1.2rem .3rem 0; }
.figures th { border-bottom: 1px solid var(--line); } .figures small { display: block; color: var(--soft); }
svg { max-width: 100%; height: auto; }
td.number { width: 4rem; text-align: right; font-variant-numeric: tabular-nums; }
.bar { height: .7rem; border-radius: 2px; min-width: 2px; }
.swipe { position: relative; --at: 50%; --seen: 1; } .swipe .stack { position: relative; }
.swipe .late, .swipe .found { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)); }
.swipe .found { opacity: var(--seen); } .swipe .line { position: absolute; top: 0; bottom: 0; left: var(--at);
  width: 2px; background: #fff; mix-blend-mode: difference; }
.swipe label { display: flex; gap: .8rem; align-items: center; font-size: .92rem; color: var(--soft);
  margin-top: .4rem; }
.swipe input { flex: 1; } code { font-size: .88rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; }
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with a line of text below it."""

    image: Image
    caption: str


@dataclass(frozen=True, kw_only=True)
class Swipe:
    """Two dates laid over each other, with a line that a slider moves, and what was found drawn on the later one."""

    before: Image
    after: Image
    found: Image
    caption: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A share (0 to 1) with its name, what to write behind it, and the colour it has in the pictures, if any."""

    name: str
    share: float
    note: str
    colour: str = "var(--bar)"


@dataclass(frozen=True, kw_only=True)
class Section:
    """One job: its answer in a sentence, what was done, pictures, shares as bars, the files it made."""

    title: str
    lead: str
    text: str
    pictures: Sequence[Picture]
    bars: Sequence[Bar]
    files: Sequence[str]
    card: str
    swipe: Swipe | None = None


def write_page(
    path: Path, *, title: str, lead: str, sections: Sequence[Section], facts: str, overwrite: bool = True
) -> Path:
    """Write the page whole or not at all; raise `OutputExists` for one that is there and not to be replaced."""
    body = "".join(_section(section) for section in sections)
    text = page_text(title=title, lead=lead, body=body, facts=(facts,))
    with AtomicOutput(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8")
    return path


def page_text(*, title: str, lead: str, body: str, facts: Sequence[str] = ()) -> str:
    """Return a page around a body that is HTML already; tables of the class `figures` have a head and are as wide as
    they need.

    >>> page_text(title="One & two", lead="", body="<p>x</p>").count("One &amp; two")
    2
    """
    notes = "".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Swath: {html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{html.escape(title)}</h1><p class="soft">{html.escape(lead)}</p>'
        f"{body}<footer class='soft'>{notes}<p>Swath {__version__}.</p></footer></body></html>\n"
    )


def _section(section: Section) -> str:
    pictures = "".join(
        f'<figure><img alt="{html.escape(p.caption)}" src="{_data_address(p.image)}">'
        f"<figcaption>{html.escape(p.caption)}</figcaption></figure>"
        for p in section.pictures
    )
    rows = "".join(
        f'<tr><td class="name">{html.escape(bar.name)}</td>'
        f'<td><div class="bar" style="width:{bar.share:.1%};background:{bar.colour}"></div></td>'
        f'<td class="number">{html.escape(bar.note)}</td></tr>'
        for bar in section.bars
    )
    files = "".join(f"<li><code>{html.escape(name)}</code></li>" for name in section.files)
    return (
        f"<section><h2>{html.escape(section.title)}</h2><p class='lead'>{html.escape(section.lead)}</p>"
        f"<p>{html.escape(section.text)}</p>{_swipe(section.swipe) if section.swipe else ''}"
        f"<div class='pictures'>{pictures}</div><table>{rows}</table>"
        f"<ul>{files}</ul><p class='soft'>{html.escape(section.card)}</p></section>"
    )


def _swipe(swipe: Swipe) -> str:
    before, after, found = (_data_address(image) for image in (swipe.before, swipe.after, swipe.found))
    moved = "this.closest('.swipe').style.setProperty"
    return (
        "<figure class='swipe'><div class='stack'>"
        f"<img alt='before' src='{before}'><img alt='after' class='late' src='{after}'>"
        f"<img alt='what was found, on the later date' class='found' src='{found}'><div class='line'></div></div>"
        f'<label>before <input type="range" min="0" max="100" value="50" aria-label="line between the dates" '
        f"oninput=\"{moved}('--at', (100 - this.value) + '%')\"> after</label>"
        f'<label>hide <input type="range" min="0" max="100" value="100" aria-label="how strongly changes are painted" '
        f"oninput=\"{moved}('--seen', this.value / 100)\"> show</label>"
        f"<figcaption>{html.escape(swipe.caption)}</figcaption></figure>"
    )


def _data_address(image: Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
