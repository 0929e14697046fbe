"""Failures as visitors are told them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from dreammotion_core import (
    EditConfig,
    MaskError,
)
from web.views import Update
from web.wiring import UNEXPECTED, Wiring, told_to_visitor


def test_known_errors_reach_the_visitor_in_their_own_words() -> None:
    with pytest.raises(gr.Error, match="Learning rate is 0"), told_to_visitor():
        EditConfig(learning_rate=0)
    with pytest.raises(gr.Error, match="Nothing is selected"), told_to_visitor():
        raise MaskError("nothing is selected")


def test_names_of_files_are_told_as_they_are() -> None:
    with pytest.raises(gr.Error, match=r"^'?my_masks\.zip holds no PNG file"), told_to_visitor():
        raise MaskError("my_masks.zip holds no PNG file; pack PNG files, one a frame")


def test_unknown_errors_are_logged_and_told_without_details(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught, told_to_visitor():
        raise KeyError("secret")

    assert UNEXPECTED in str(caught.value)
    assert "secret" in caplog.text


def test_an_expected_refusal_becomes_an_update_where_one_is_asked_for() -> None:
    wiring = Wiring({"note": "the note"})  # type: ignore[dict-item]

    def refuse() -> Iterator[Update]:
        yield {"note": "wait"}
        raise MaskError("nothing is selected")

    def event(handler: Any, *_: Any, **__: Any) -> Any:
        return handler

    handler: Any = wiring.connect(event, refuse, gives=("note",), refused=lambda error: {"note": str(error)})

    assert list(handler()) == [{"the note": "wait"}, {"the note": "nothing is selected"}]
