"""The documentation: what it links to and cites exists, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "training/*.md", "assets/*/README.md")
    for path in ROOT.glob(pattern)
)
EQUATION = re.compile(r"\\tag\{(\d+)\}")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CITED = re.compile(r"`([\w.\-]+/[\w./\-]*)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
GENERATED = ("outputs/", "training/cache/", "training/runs/")
"""Folders that commands make."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_cited_path_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8").partition("## Where modules went")[0]
    folders = (ROOT, ROOT / "dreammotion_core", page.parent)
    for path in CITED.findall(FENCE.sub("", text)):
        if path.startswith(GENERATED) or not re.search(r"\.\w+$|/$", path):
            continue
        assert any((folder / path).exists() for folder in folders), f"{page.name} cites {path}"


def test_the_readme_fits_on_a_few_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 120] == []


def test_equations_are_numbered_in_order_and_those_that_are_cited_exist() -> None:
    numbers = [int(n) for n in EQUATION.findall((ROOT / "docs/method.md").read_text(encoding="utf-8"))]
    assert numbers == list(range(1, len(numbers) + 1))

    for file in (ROOT / "dreammotion_core").rglob("*.py"):
        for cited in re.findall(r"docs/method\.md,\s+equations?\s+(\d+)", file.read_text(encoding="utf-8")):
            assert int(cited) in numbers, f"{file.name} cites equation {cited}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
