"""The app as a Space: the package ``spaces`` is always there, and the hardware is none, its own or lent."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import app
from dreammotion_core import Choice, ModelLoadError, Place, Surroundings, find_surroundings
from segmentation import CheckpointError, list_segmenters
from tests.serving import ROOT, serve
from web import HostedEditor, LazyEditor

SPACE = {"SYSTEM": "spaces", "SPACE_ID": "somebody/dreammotion"}
PACKAGE = """
def GPU(*, duration, size):
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
def test_a_space_with_impossible_wishes_starts_and_says_so(package: Path, tmp_path: Path) -> None:
    wishes = {
        "DREAMMOTION_MODEL": str(tmp_path / "nothing"),
        "DREAMMOTION_SEGMENTER": "wonder",
        "DREAMMOTION_DEVICE": "cuda",
        "DREAMMOTION_MAX_QUEUE": "many",
    }

    with (
        serve(
            tmp_path / "log.txt", PYTHONPATH=str(package), ACCELERATOR="t4-small", **SPACE, **wishes
        ) as url,
        urllib.request.urlopen(f"{url}/config", timeout=60) as answer,
    ):
        parts = json.load(answer)["components"]

    notice = next(part["props"]["value"] for part in parts if part["props"].get("elem_id") == "place-notice")
    assert all(word in notice for word in ("nothing", "wonder", "t4-small", "DREAMMOTION_MAX_QUEUE"))
    assert "https://huggingface.co/spaces/somebody/dreammotion/settings" in notice
    assert any(part["props"].get("elem_id") == "duplicate" for part in parts)
    line = (tmp_path / "log.txt").read_text()
    assert "Place: Space somebody/dreammotion, processor · device: cpu (automatic) · model: toybox" in line


@pytest.mark.parametrize(
    "flags", [("--model", "nothing"), ("--segmenter", "wonder"), ("--device", "toaster")]
)
def test_in_a_terminal_a_wrong_wish_is_one_line_and_code_2(flags: tuple[str, ...]) -> None:
    ended = subprocess.run([sys.executable, "app.py", *flags], cwd=ROOT, capture_output=True, text=True)

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert flags[1] in ended.stderr


def found(**changes: Any) -> Surroundings:
    usual = {"place": Place.CPU, "device": Choice("cpu"), "model": Choice("toybox")}
    return Surroundings(**(usual | {"segmenter": Choice("embedded")} | changes))


def test_a_gpu_of_its_own_is_taken_and_every_model_is_offered(start: Start) -> None:
    own = found(place=Place.GPU, device=Choice("cuda"), low_memory=Choice(True))

    models = start(**SPACE)._models(own)

    assert isinstance(models.first, LazyEditor)
    assert models.first._device == "cuda"
    assert len(models.specs()) > 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_real_gpu_is_taken() -> None:
    assert find_surroundings({}, segmenters=list_segmenters()).device.value == "cuda"


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_a_space_with_lent_gpus_borrows_for_each_edit(
    start: Start, editor: LazyEditor, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    started = start(**SPACE, SPACES_ZERO_GPU=value)
    asked: list[str] = []
    # No GPU is there to load the weights on.
    monkeypatch.setattr(started, "LazyEditor", lambda _, device, **__: asked.append(device) or editor)

    lent = find_surroundings({}, segmenters=list_segmenters())
    models = started._models(lent)

    assert lent.place is Place.LENT
    assert asked == ["cuda"]
    assert isinstance(models.first, HostedEditor)
    assert started.spaces.__file__.endswith("spaces/__init__.py")


@pytest.mark.parametrize("value", ["", "false", "0"])
def test_no_gpu_is_lent_where_the_variable_says_so(start: Start, value: str) -> None:
    assert start(**SPACE, SPACES_ZERO_GPU=value).spaces is None


def test_at_home_the_package_changes_nothing(start: Start) -> None:
    assert start().spaces is None


def test_what_cannot_be_loaded_gives_way_on_a_space_and_is_refused_in_a_terminal(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    wishes = {
        "model": Choice(str(broken), "DREAMMOTION_MODEL"),
        "segmenter": Choice("mobile-sam", "DREAMMOTION_SEGMENTER"),
        "judges": Choice((str(broken / "judge"),), "DREAMMOTION_JUDGE"),
    }
    (tmp_path / "weights.pt").write_bytes(b"no weights")

    forgiven, models, segmenters, instruments = app.prepare(
        found(space="somebody/dreammotion", **wishes), tmp_path / "weights.pt"
    )

    assert (models.first.spec.name, segmenters.first.spec.name) == ("toybox", "embedded")
    assert instruments.judges == ["toybox-clip"]
    assert [notice.partition(" ")[0] for notice in forgiven.notices] == ["Model", "Segmenter", "Judge"]
    with pytest.raises(ModelLoadError):
        app.prepare(found(model=wishes["model"]))
    with pytest.raises(CheckpointError):
        app.prepare(found(segmenter=wishes["segmenter"]), tmp_path / "weights.pt")


def test_what_nobody_asked_for_gives_way_in_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path))
    (tmp_path / "mobile_sam.pt").write_bytes(b"cut off")

    forgiven, _, segmenters, _ = app.prepare(found(segmenter=Choice("mobile-sam")))

    assert segmenters.first.spec.name == "embedded"
    assert "mobile-sam" in forgiven.notices[0]
