# ruff: noqa: F811
"""The app as a Space: the package ``spaces`` is always there, and the hardware is none, its own or lent."""

from __future__ import annotations

import importlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import app
from dreammotion_core import LoadOptions
from tests.serving import serve
from tests.web.test_app import editor  # noqa: F401
from web import HostedEditor, LazyEditor, runs_on

SPACE = {"SYSTEM": "spaces", "SPACE_ID": "somebody/dreammotion"}
PACKAGE = """
def GPU(*, duration):
    return lambda work: work

# Called by Gradio on a Space, for every event.
def gradio_auto_wrap(work):
    return work
"""
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")

Start = Callable[..., ModuleType]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package ``spaces``, as it is installed on every Gradio Space."""
    (tmp_path / "site" / "spaces").mkdir(parents=True)
    (tmp_path / "site" / "spaces" / "__init__.py").write_text(PACKAGE)
    return tmp_path / "site"


@pytest.fixture
def start(package: Path) -> Iterator[Start]:
    """Import the app where the package and some variables of the environment are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(package)

        def imported(**variables: str) -> ModuleType:
            for name, value in variables.items():
                patch.setenv(name, value)
            return importlib.reload(app)

        yield imported
    importlib.reload(app)


@without_gpu
def test_a_space_without_a_gpu_starts(package: Path, tmp_path: Path) -> None:
    with (
        serve(tmp_path / "log.txt", PYTHONPATH=str(package), **SPACE) as url,
        urllib.request.urlopen(f"{url}/config", timeout=60) as answer,
    ):
        title = json.load(answer)["title"]

    assert title == "DreamMotion"


@without_gpu
def test_a_gpu_that_is_missing_or_cannot_be_used_is_not_taken(start: Start) -> None:
    assert not runs_on("cuda")
    assert runs_on("cpu")
    assert start(**SPACE)._device(None) == "cpu"


def test_a_space_with_a_gpu_of_its_own_takes_it_and_offers_every_model(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(**SPACE)
    monkeypatch.setattr(started, "runs_on", lambda device: device == "cuda")

    device = started._device(None)
    models = started._models("toybox", device, LoadOptions.low_memory())

    assert device == "cuda"
    assert isinstance(models.first, LazyEditor)
    assert models.first._device == "cuda"
    assert len(models.specs()) > 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_real_gpu_is_taken(start: Start) -> None:
    assert start(**SPACE)._device(None) == "cuda"


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_a_space_with_lent_gpus_borrows_for_each_edit(
    start: Start, editor: LazyEditor, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    started = start(**SPACE, SPACES_ZERO_GPU=value)
    asked: list[str] = []
    # No GPU is there to load the weights on.
    monkeypatch.setattr(started, "LazyEditor", lambda _, device: asked.append(device) or editor)
    monkeypatch.setattr(started, "runs_on", lambda device: asked.append(f"try {device}"))

    models = started._models("tiny", started._device(None), None)

    assert asked == ["cuda"]
    assert isinstance(models.first, HostedEditor)
    assert started.spaces.__file__.endswith("spaces/__init__.py")


@pytest.mark.parametrize("value", ["", "false", "0"])
def test_no_gpu_is_lent_where_the_variable_says_so(start: Start, value: str) -> None:
    assert start(**SPACE, SPACES_ZERO_GPU=value).spaces is None


def test_at_home_the_package_changes_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    started = start()
    monkeypatch.setattr(started, "runs_on", lambda _: True)

    assert started.spaces is None
    assert started._device(None) == "cpu"
    assert started._device("cuda:1") == "cuda:1"
