"""What the documentation says is so: its Python runs and prints what it shows, its links and commands are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from swath.catalog import load_catalog
from swath.cli.main import app
from swath.errors import SwathWarning

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RUN = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [*RUN, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<title>.+?)\s*$", re.MULTILINE)
SHIPPED_WEIGHTS = re.compile(r"""swath\.load\(["'](?P<name>trees|landuse)["']\)""")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language and flags, its text, the line it starts on, and what it is shown to print."""

    info: tuple[str, ...]
    text: str
    line: int
    prints: str | None

    @property
    def runs(self) -> bool:
        return self.info[:1] == ("python",) and "no-run" not in self.info

    @property
    def lacks_weights(self) -> bool:
        """Whether the block needs the weights of a model that does not ship in this checkout."""
        names = {found["name"] for found in SHIPPED_WEIGHTS.finditer(self.text)}
        return not all((ROOT / "swath" / "weights" / name / "config.json").is_file() for name in names)


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; a `text` block right below a `python` one is what that one prints."""
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    found = []
    for number, fence in enumerate(fences):
        after = fences[number + 1] if number + 1 < len(fences) else None
        shown = after is not None and after["info"].strip() == "text" and not text[fence.end() : after.start()].strip()
        found.append(
            Block(
                info=tuple(fence["info"].split()),
                text=fence["body"],
                line=text.count("\n", 0, fence.start("body")) + 1,
                prints=after["body"] if shown and after is not None else None,
            )
        )
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield every line of a shell block with the page it is on, split into words."""
    for page in PAGES:
        for block in blocks(page):
            if block.info[:1] == ("sh",):
                for line in block.text.replace("\\\n", " ").splitlines():
                    words = shlex.split(line, comments=True)
                    if words:
                        yield named(page), words


@pytest.mark.parametrize("page", RUN, ids=named)
def test_python_of_a_page_runs_in_order_and_prints_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("documentation_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if not block.runs or block.lacks_weights:
            continue
        # Empty lines before it let a traceback name the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, named(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", SwathWarning)
            exec(code, module.__dict__)
        if block.prints is not None:
            assert printed.getvalue() == block.prints, f"{named(page)}, line {block.line}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.finditer(prose(page)):
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{named(page)} links to {target}"
        if anchor:
            assert anchor in {slug(found["title"]) for found in HEADING.finditer(prose(place))}, (
                f"{named(page)}: {target}"
            )


def slug(title: str) -> str:
    """Return the anchor that Markdown renderers give a heading."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def test_command_lines_are_ones_that_swath_takes() -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = set()
    for page, words in command_lines():
        if words[0] == "swath" and "--help" not in words:
            verb, *arguments = words[1:]
            assert verb in verbs, f"{page}: swath {verb}"
            # Parses arguments and options, and runs nothing.
            verbs[verb].make_context(verb, list(arguments))
            seen.add(verb)
    assert seen == set(verbs), "the documentation shows every verb at work"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_verbs_named_in_the_text_exist(page: Path) -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb in re.findall(r"`swath ([a-z]+)", prose(page)):
        assert verb in verbs, f"{named(page)}: swath {verb}"


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named_in_text = {found for page in PAGES for found in re.findall(r"`make ([a-z]+)`", prose(page))}
    named_in_blocks = {
        word for _, words in command_lines() if words[0] == "make" for word in words[1:] if "=" not in word
    }
    assert {"demo", "test"} <= named_in_text | named_in_blocks <= targets


def test_the_site_has_every_page_once() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r":\s+(\S+\.md)$", settings, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_readme_counts_the_systems_as_the_catalogue_does() -> None:
    systems = load_catalog().systems
    complete = sum(system.state == "complete" for system in systems)
    claims = re.findall(r"(\d+) of (?:the )?(\d+)\s+systems", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert claims
    assert set(claims) == {(str(complete), str(len(systems)))}
