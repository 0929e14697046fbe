"""The page where GPUs are lent for a while: what is borrowed, for how long, and what a failed loan leaves."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

import app
from dreammotion_core import ABLATION, Choice, ConfigError, EditConfig, Place, Surroundings, list_models
from tests.serving import ROOT
from tests.web.pages import PROMPTS, form
from tests.web.pages import Page as PlainPage
from web import HostedEditor, LazyEditor, lending
from web.boards import Boards
from web.components import Example
from web.lending import Loan, loan_words
from web.models import Models
from web.scoring import SharedInstruments


class Lender:
    """Lends as ``spaces.GPU`` does: in another process, so that all that goes in and out is pickled."""

    def __init__(self) -> None:
        self.size = ""
        self.seconds: list[int] = []
        self.num_lent = 0

    def __call__(self, *, duration: Callable[..., int], size: str) -> Callable[..., Any]:
        self.size = size

        def decorate(work: Callable[..., Generator[Any, None, None]]) -> Callable[..., Any]:
            def lent(*args: Any, **options: Any) -> Generator[Any, None, None]:
                args, options = pickle.loads(pickle.dumps((args, options)))
                self.seconds.append(duration(*args, **options))
                self.num_lent += 1
                try:
                    for event in work(*args, **options):
                        yield pickle.loads(pickle.dumps(event))
                finally:
                    self.num_lent -= 1

            return lent

        return decorate


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def models(lender: Lender, editor: LazyEditor, monkeypatch: pytest.MonkeyPatch) -> Models:
    """What the app makes where the package ``spaces`` is, but for the device."""
    monkeypatch.setattr(app, "spaces", SimpleNamespace(GPU=lender))
    # This process is neither forked nor a fork.
    monkeypatch.setattr(lending, "settle_before_fork", lambda: None)
    monkeypatch.setattr(lending, "settle_after_fork", lambda: None)
    monkeypatch.setattr(app, "LazyEditor", lambda *_, **__: editor)
    lent = Surroundings(
        place=Place.LENT, device=Choice("cpu"), model=Choice("tiny"), segmenter=Choice("embedded")
    )
    return app._models(lent)


class Page(PlainPage):
    """A page whose visitor has clicked the object."""

    def __init__(self, models: Models, example: Example) -> None:
        super().__init__(models.first, [example])
        self.boards = Boards(
            visitors=self.visitors, device=self.device, models=models, instruments=SharedInstruments()
        )
        self.token = self.arrive()
        self.click(self.token)


@pytest.fixture
def page(models: Models, example: Example) -> Page:
    return Page(models, example)


def test_an_edit_borrows_once_and_not_for_longer_than_a_toy_takes(page: Page, lender: Lender) -> None:
    *_, done = page.edits.run(token=page.token, **PROMPTS, **form(steps=2))

    assert "Done" in done["player"]["caption"]
    assert len(lender.seconds) == 1
    assert lender.seconds[0] <= 20
    assert lender.size == "large"
    assert lender.num_lent == 0


def test_an_ablation_borrows_once_and_measures_without(page: Page, lender: Lender) -> None:
    seen = list(page.boards.run(token=page.token, **PROMPTS, **form(steps=2)))

    assert len(lender.seconds) == 1
    assert lender.num_lent == 0
    assert seen[-1]["board_status"].count("done in") == len(ABLATION)
    board = next(update["board"] for update in reversed(seen) if update.get("board"))
    assert "Text-Align (toybox-clip)" in board["table"]


def test_a_large_ablation_borrows_for_each_variant(page: Page, models: Models, lender: Lender) -> None:
    models.first._max_seconds = 20  # type: ignore[attr-defined]
    models.first._frame_seconds = 0.2  # type: ignore[attr-defined]
    # What an edit takes on a busy machine would ask for longer loans.
    models.first._learn = lambda *_: None  # type: ignore[attr-defined]

    list(page.boards.run(token=page.token, **PROMPTS, **form(steps=4)))

    assert len(lender.seconds) == len(ABLATION)
    assert max(lender.seconds) <= 20


def test_stop_gives_back_what_is_lent(page: Page, lender: Lender) -> None:
    updates = page.boards.run(token=page.token, **PROMPTS, **form(steps=50))
    next(update for update in updates if "step 1" in update.get("board_status", ""))
    page.edits.stop(page.token)
    list(updates)

    assert lender.num_lent == 0
    assert len(lender.seconds) == 1


def hosted(name: str, **options: Any) -> HostedEditor:
    spec = next(spec for spec in list_models() if spec.name == name)
    return HostedEditor(SimpleNamespace(spec=spec), lend=lambda **_: lambda work: work, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["toybox", "toybox-unet", "toybox-cascade"])
def test_a_toy_edit_asks_for_little(name: str) -> None:
    editor = hosted(name)

    loan = editor.loan(editor.spec.max_frames, EditConfig())

    assert loan.seconds <= 20
    assert loan.is_for_all
    assert "2 minutes without an account, 5 with a free one" in loan.describe()


def test_a_long_edit_comes_with_a_smaller_one_that_a_visitor_without_account_can_have() -> None:
    editor = hosted("zeroscope")

    loan = editor.loan(24, EditConfig(num_optimization_steps=40))

    assert 80 < loan.seconds <= 200
    assert not loan.is_for_all
    assert f"sign in, or choose at most {loan.steps} steps or {loan.frames} frames" in loan.describe()
    assert editor.loan(24, EditConfig(num_optimization_steps=loan.steps)).seconds <= 80
    assert editor.loan(loan.frames, EditConfig(num_optimization_steps=40)).seconds <= 80


@pytest.mark.parametrize(
    "name", ["zeroscope", "wan-1.3b", "cogvideox-2b", "cogvideox-5b", "wan-14b", "show-1"]
)
def test_nothing_above_the_limit_is_asked_for_unless_the_owner_says_so(name: str) -> None:
    editor, config = hosted(name), EditConfig(num_optimization_steps=200)
    frames = editor.spec.max_frames

    loan = editor.loan(frames, config)

    assert not loan.fits
    assert loan.limit == 200
    with pytest.raises(ConfigError, match="3 min 20 s are allowed here; choose"):
        editor.check(frames, config)
    if loan.steps:
        editor.check(frames, config.with_changes(num_optimization_steps=loan.steps))
    if loan.frames > 1:
        editor.check(loan.frames, config)
    hosted(name, max_seconds=100_000).check(frames, config)


def test_a_double_gpu_takes_double_quota() -> None:
    assert hosted("toybox").loan(8, EditConfig()).quota == pytest.approx(
        0.75 * hosted("toybox", size="xlarge").loan(8, EditConfig()).quota, abs=1
    )


def test_what_a_step_took_is_expected_of_the_next_edit(page: Page, models: Models) -> None:
    editor = models.first
    editor._frame_seconds = 30.0  # type: ignore[attr-defined]
    assert editor.seconds(4, [EditConfig(num_optimization_steps=1)]) == 130  # type: ignore[attr-defined]

    list(page.edits.run(token=page.token, **PROMPTS, **form(steps=1)))
    assert editor._frame_seconds == 30.0  # type: ignore[attr-defined]
    editor._max_seconds = 1000  # type: ignore[attr-defined]
    list(page.edits.run(token=page.token, **PROMPTS, **form(steps=6)))

    assert editor._frame_seconds < 10  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("title", "message", "said"),
    [
        (
            "quota exceeded",
            "You have exceeded your free ZeroGPU quota (113s requested vs. 40s left). Try again in 1:02:03. ",
            "takes 113 s of it, and 40 s are left; try again in 1:02:03",
        ),
        (
            "quota exceeded",
            "exceeded your ZeroGPU quota (113s requested vs. 0s left). Try again in 1 day, 0:02:03. ",
            "try again in 1 day, 0:02:03",
        ),
        ("quota exceeded", "Space app has reached its GPU limit. Try re-running", "is used up; sign in"),
        ("illegal duration", "The requested GPU duration (900s) is larger", "choose fewer steps"),
        ("pending credits exceeded", "You have too many credits", "try again when it has ended"),
        ("queue timeout", "No GPU was available after 60s", "no GPU was free for a minute"),
        ("client error", "No GPU was available", "no GPU is free at the moment"),
        ("client error", "Expired ZeroGPU proxy token", "reload the page"),
        ("worker error", "GPU task aborted", "was taken back"),
        ("worker error", "OutOfMemoryError", "choose fewer frames"),
        ("worker error", "AcceleratorError", "AcceleratorError"),
        ("something new", "Strange words", "Strange words"),
    ],
)
def test_every_failure_of_a_loan_has_a_sentence(title: str, message: str, said: str) -> None:
    assert said in loan_words(f"ZeroGPU {title}", message)


def test_a_loan_is_described_before_the_click() -> None:
    assert Loan(seconds=13, limit=200, quota=20, steps=1000, frames=0).describe() == (
        "Borrows a GPU for up to 13 s, which takes 20 s of your GPU time of the day "
        "(2 minutes without an account, 5 with a free one)."
    )


@pytest.fixture(scope="module")
def scenes() -> dict[str, Any]:
    """What came of each scene of `tests.web.lender`, by the real package."""
    if find_spec("spaces") is None:
        pytest.skip("the package spaces is not installed; see requirements-dev.txt")
    done = subprocess.run(
        [sys.executable, "-m", "tests.web.lender"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(900)
def test_an_edit_ends_and_gives_the_gpu_back(scenes: dict[str, Any]) -> None:
    for name in ("edit", "after the abort"):
        scene = scenes[name]
        assert "Done." in scene["caption"]
        assert (len(scene["asked"]), scene["released"], scene["waiting"]) == (1, [False], False)
        assert int(scene["asked"][0]["durationSeconds"]) <= 20
        assert scene["asked"][0]["gpuSize"] == "large"


@pytest.mark.timeout(900)
def test_stop_frees_the_gpu_within_a_step_and_keeps_the_preview(scenes: dict[str, Any]) -> None:
    scene = scenes["stop"]

    assert "Stopped. This is the clip as of step" in scene["caption"]
    assert scene["released"] == [False]
    assert scene["error"] == ""
    assert scene["runs"] == scenes["edit"]["runs"] + 1


@pytest.mark.timeout(900)
def test_an_abort_keeps_the_preview_as_a_stopped_run(scenes: dict[str, Any]) -> None:
    scene = scenes["abort"]

    assert "was taken back" in scene["caption"]
    assert "This is the clip as of step" in scene["caption"]
    assert scene["error"].startswith("LoanError: the lent GPU was taken back")
    assert scene["runs"] == scenes["stop"]["runs"] + 1
    assert not scene["waiting"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quota", "sign in to Hugging Face for more"),
        ("illegal", "choose fewer steps or frames"),
        ("pending", "try again when it has ended"),
        ("expired", "reload the page"),
        ("busy", "try again in a minute"),
        ("timeout", "No GPU was free for a minute"),
        ("broken", "service that lends them failed"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_page_goes_on(scenes: dict[str, Any], name: str, said: str) -> None:
    scene = scenes[name]

    assert said in scene["caption"]
    assert "Nothing was changed." in scene["caption"]
    assert scene["error"].startswith("LoanError: ")
    assert not scene["waiting"]
    assert "Done." in scenes["board"]["caption"]


@pytest.mark.timeout(900)
def test_an_edit_that_is_too_long_is_refused_before_anything_is_asked(scenes: dict[str, Any]) -> None:
    assert scenes["too long"]["asked"] == []
    assert "are allowed here" in scenes["too long"]["error"]


@pytest.mark.timeout(900)
def test_an_error_of_ours_keeps_its_words(scenes: dict[str, Any]) -> None:
    assert scenes["our error"]["error"].startswith("KeySiteError: ")
    assert "nothing.like.this" in scenes["our error"]["error"]


@pytest.mark.timeout(900)
def test_an_ablation_is_one_loan(scenes: dict[str, Any]) -> None:
    assert len(scenes["board"]["asked"]) == 1
    assert scenes["board"]["released"] == [False]
