"""The ablation in the page: it grows, it stops, and it takes its turn like an edit."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from dreammotion_core import (
    ABLATION,
    EditEvent,
    MaskError,
    OutOfMemoryError,
    PromptError,
    Video,
)
from tests.web.pages import PROMPTS, Page, form
from web.boards import BoardProgress, Boards, status_html
from web.components import Example
from web.editor import Editor, LazyEditor
from web.models import Models
from web.scoring import SharedInstruments
from web.visitors import VisitorGoneError


def no_judge(_: str) -> Any:
    raise OutOfMemoryError("no room for a judge")


class BoardPage(Page):
    """A page whose visitor has clicked the object."""

    def __init__(self, editor: Editor, example: Example) -> None:
        super().__init__(editor, [example])
        self.boards = Boards(
            visitors=self.visitors,
            device=self.device,
            models=Models(editor),
            instruments=SharedInstruments(load=no_judge),
        )
        self.token = self.arrive()
        self.click(self.token)

    def run(self, **changes: Any) -> Generator[dict[str, Any], None, None]:
        return self.boards.run(token=self.token, **PROMPTS, **form(steps=2, **changes))

    def device_is_free(self) -> bool:
        with self.device.enter() as ticket:
            return ticket.wait(seconds=0.01)


@pytest.fixture
def page(editor: LazyEditor, example: Example) -> BoardPage:
    return BoardPage(editor, example)


def first_result(updates: Generator[dict[str, Any], None, None]) -> dict[str, Any]:
    return next(update for update in updates if update.get("board"))


def test_the_board_grows_by_a_variant_at_a_time_and_can_be_saved(page: BoardPage) -> None:
    # Settings that an ablation cannot use do not matter to it.
    updates = []
    for update in page.run(use_mask=False, seed="11"):
        updates.append(update)
        if file := update.get("board_file"):
            # Gradio copies it while the update is in its hands.
            assert file.visible is False or Path(file.constructor_args["value"]).is_file()
    boards = [update["board"] for update in updates if update.get("board")]

    assert [board["grid"].count("<figure>") for board in boards] == [2, 3, 4, 5, 6]
    assert all("seed 11" in board["facts"] for board in boards)
    assert "Motion-Fidelity (RGB DIS flow)" in boards[-1]["table"]
    assert "<polyline" in boards[-1]["curves"]
    assert updates[-1]["board_status"].count("done in") == len(ABLATION)
    saved = Path(updates[-1]["board_file"].value["path"]).read_text(encoding="utf-8")
    assert saved.count("<canvas") == 6
    assert "synchronise(document.body)" in saved
    assert page.device_is_free()


def test_what_is_selected_is_followed_first_and_the_progress_is_told(page: BoardPage) -> None:
    updates = list(page.run())
    told = [update["board_status"] for update in updates if "board_status" in update]

    assert "Following what is selected first." in told[1]
    assert any(update.get("canvas") for update in updates)
    assert any("Loading the model" in words for words in told)
    assert page.clip(page.token).is_followed


def test_stop_keeps_the_finished_variants(page: BoardPage) -> None:
    updates = page.run()
    first_result(updates)

    page.edits.stop(page.token)
    end = list(updates)[-1]

    assert "Stopped. 1 of 5 variants are finished and kept." in end["board_status"]
    assert end["board_status"].count("left out") == 4
    assert Path(end["board_file"].value["path"]).read_text().count("<canvas") == 2
    assert page.device_is_free()
    assert not page.visitors.get(page.token).is_busy


def test_stopped_before_the_first_variant_there_is_no_board(page: BoardPage) -> None:
    updates = page.run()
    next(update for update in updates if "Loading" in update.get("board_status", ""))

    page.edits.stop(page.token)
    end = list(updates)[-1]

    assert "No variant was finished" in end["board_status"]
    assert "board_file" not in end


def test_a_board_waits_for_its_turn_and_may_leave_the_line(page: BoardPage) -> None:
    holder = page.device.enter()
    updates = page.run()
    words = next(u["board_status"] for u in updates if "Waiting" in u.get("board_status", ""))

    page.edits.stop(page.token)
    end = list(updates)[-1]["board_status"]

    assert "one edit is before yours" in words
    assert "You left the line" in end
    holder.leave()
    assert page.device_is_free()


def test_a_closed_page_gives_the_device_back(page: BoardPage) -> None:
    updates = page.run()
    first_result(updates)

    updates.close()

    assert page.device_is_free()
    assert not page.visitors.get(page.token).is_busy


def test_an_edit_of_the_same_visitor_ends_the_board(page: BoardPage) -> None:
    updates = page.run()
    first_result(updates)

    with page.visitors.get(page.token).job():
        end = list(updates)[-1]

    assert "1 of 5 variants are finished and kept" in end["board_status"]


class EditorThatFails:
    """The real editor, whose second edit ends in an error."""

    def __init__(self, editor: LazyEditor, error: Exception) -> None:
        self.spec = editor.spec
        self._editor = editor
        self._error = error
        self._num_edits = 0

    def stream(self, video: Video, **request: Any) -> Generator[EditEvent, None, None]:
        self._num_edits += 1
        for event in self._editor.stream(video, **request):
            yield event
            if self._num_edits > 1:
                raise self._error


def test_a_failing_variant_keeps_those_before_it(editor: LazyEditor, example: Example) -> None:
    error = OutOfMemoryError("the device ran out of memory; use fewer frames")
    page = BoardPage(EditorThatFails(editor, error), example)  # type: ignore[arg-type]
    seen: list[dict[str, Any]] = []

    with pytest.raises(
        OutOfMemoryError, match=r"fewer frames\. “How long will it take\?” under Clip and model"
    ):
        seen.extend(page.run())

    end = seen[-1]["board_status"]
    assert "dm-problem" in end
    assert (
        "fewer frames. “How long will it take?” under Clip and model finds what fits. 1 of 5 variants" in end
    )
    assert seen[-1]["board_file"].value
    assert page.device_is_free()


def test_so_does_an_error_that_nobody_foresaw(editor: LazyEditor, example: Example) -> None:
    page = BoardPage(EditorThatFails(editor, ValueError("x")), example)  # type: ignore[arg-type]
    seen: list[dict[str, Any]] = []

    with pytest.raises(ValueError, match="x"):
        seen.extend(page.run())

    end = seen[-1]["board_status"]
    assert "Something went wrong on our side" in end
    assert "1 of 5 variants are finished and kept" in end
    assert 'data-state="running"' not in end
    assert seen[-1]["board_file"].value
    assert page.device_is_free()


def test_nothing_begins_without_a_selection_words_or_a_visitor(page: BoardPage) -> None:
    with pytest.raises(PromptError, match="what it should become"):
        next(page.boards.run(token=page.token, source_prompt="a", target_prompt=" ", **form()))
    page.do(page.token, {"do": "clear", "frame": 0})
    with pytest.raises(MaskError, match="click the object"):
        next(page.run())
    with pytest.raises(VisitorGoneError):
        next(page.boards.run(token="guess", **PROMPTS, **form()))


def test_the_progress_says_what_runs_and_what_waits() -> None:
    status = status_html(BoardProgress(), words="<b>")

    assert status.count("<li") == len(ABLATION)
    assert status.count('data-state="running"') == 1
    assert ">next<" in status
    assert "&lt;b&gt;" in status
