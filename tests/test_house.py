"""The shape of the house: what the import contracts of pyproject.toml cannot say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dreammotion_core", "segmentation", "web", "training", "benchmarks")
MODULES = [
    ROOT / "downloads.py",
    *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))),
]

MOST_MODULES = 26
"""Modules in one folder."""
SHORT = 60
"""Lines below which a module needs two importers."""
LONG = 600
"""Lines above which a module needs a reason."""
LONGEST_FUNCTION = 60
"""Lines without the docstring."""

LONG_FOR_A_REASON: dict[str, str] = {}
"""Modules above `LONG` lines, and why they are one."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} uses a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [ROOT / "app.py", *sorted((ROOT / "web").rglob("*.py"))], ids=relative)
def test_the_page_uses_the_two_public_lists(path: Path) -> None:
    public = {"dreammotion_core", "segmentation"}
    reached = {name for name in imported(path) if name.partition(".")[0] in public}

    inner = {name for name in reached if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()}
    assert inner == set(), f"{relative(path)} reaches into {inner}"


@pytest.mark.parametrize("package", ["dreammotion_core", "segmentation"])
def test_importing_a_library_package_loads_no_page_and_touches_no_device(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        "assert 'gradio' not in sys.modules\n"
        "assert 'torch' not in sys.modules or not sys.modules['torch'].cuda.is_initialized()\n"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_core_imports_torch_only_for_names_that_need_it() -> None:
    code = (
        "import sys; from dreammotion_core import EditConfig, read_video\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules\n"
        "from dreammotion_core import DreamMotionPipeline\n"
        "assert 'torch' in sys.modules\n"
    )
    surroundings = {name: value for name, value in os.environ.items() if name != "EAGER_IMPORT"}

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=surroundings, check=True)


def test_what_both_libraries_share_knows_neither() -> None:
    assert [name for name in imported(ROOT / "downloads.py") if name.partition(".")[0] in PACKAGES] == []


def test_no_folder_holds_more_than_one_can_look_over() -> None:
    sizes = Counter(relative(path.parent) for path in MODULES)

    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_three_names_with_one_first_word_are_a_folder() -> None:
    families = Counter((relative(path.parent), path.stem.split("_")[0]) for path in MODULES)

    assert [name for name, size in families.items() if size > 2 and name[1]] == []


def test_a_short_module_serves_two_others_or_is_started_by_a_user() -> None:
    importers = Counter(name for path in [ROOT / "app.py", *MODULES] for name in set(imported(path)))
    lonely = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if path.name == "__init__.py" or text.count("\n") >= SHORT or "__main__" in (path.stem, text):
            continue
        name = relative(path).removesuffix(".py").replace("/", ".")
        if importers[name] < 2 and 'if __name__ == "__main__"' not in text:
            lonely.append(name)

    assert lonely == []


def test_a_long_module_has_a_reason() -> None:
    lines = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in MODULES}

    assert {name for name, count in lines.items() if count > LONG} == set(LONG_FOR_A_REASON)


def test_functions_fit_on_a_screen() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) is not None else None
                words = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
                if node.end_lineno - node.lineno + 1 - words > LONGEST_FUNCTION:
                    long.append(f"{relative(path)}: {node.name}")

    assert long == []
