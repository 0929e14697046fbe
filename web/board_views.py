"""How far an ablation is, as HTML."""

from __future__ import annotations

from html import escape

from web.board_progress import BoardProgress


def status_html(progress: BoardProgress, *, words: str = "", is_problem: bool = False) -> str:
    """A line for each variant with its bar, and a sentence about the whole.

    Args:
        progress: what is known.
        words: plain text.
        is_problem: whether the words say what went wrong.
    """
    rows = "".join(_row(progress, index) for index in range(len(progress.variants)))
    kind = ' class="dm-problem"' if is_problem else ""
    return f'<div class="dm-variants"><ol>{rows}</ol><p role="status"{kind}>{escape(words)}</p></div>'


def _row(progress: BoardProgress, index: int) -> str:
    if index < len(progress.results):
        state = "done"
    elif index == len(progress.results) and not progress.is_over:
        state = "running"
    else:
        state = "waiting"
    percent = round(100 * progress.share(index))
    return (
        f'<li data-state="{state}"><span>{escape(progress.variants[index].label)}</span>'
        f'<div class="dm-progress"><i style="width:{percent}%"></i></div>'
        f"<output>{escape(progress.words(index))}</output></li>"
    )
