"""What the components of the page show, as plain JSON values."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from dreammotion_core import EditOutput, StepLosses
from web.clip import Clip
from web.device import Ticket, waiting

Update = dict[str, Any]
"""New values, or Gradio updates, of some components by name."""

Stage = Literal["source", "preview", "result"]


def player_view(
    clip: Clip,
    *,
    stage: Stage,
    frames: Sequence[str],
    caption: str,
    progress: float | None = None,
    badge: str | None = None,
    is_problem: bool = False,
) -> dict[str, Any]:
    """A looping clip with a caption.

    Args:
        clip: the open clip; a result is compared with its frames.
        stage: what the frames are.
        frames: data URIs.
        caption: one sentence for everyone, read aloud by screen readers.
        progress: from 0 to 1 while something runs.
        badge: what the frames are called, instead of the usual word for the stage.
        is_problem: whether the caption says what went wrong.
    """
    height, width = clip.video.size
    return {
        "stage": stage,
        "frames": list(frames),
        "before": list(clip.source_uris) if stage == "result" else [],
        "fps": clip.video.fps,
        "width": width,
        "height": height,
        "caption": caption,
        "progress": progress,
        "badge": badge,
        "is_problem": is_problem,
    }


def losses_view(losses: Sequence[StepLosses], *, num_steps: int) -> dict[str, Any]:
    """The three losses of every step so far."""
    return {
        "numSteps": num_steps,
        "series": {
            "appearance": [_rounded(entry.appearance) for entry in losses],
            "spatial": [_rounded(entry.spatial) for entry in losses],
            "temporal": [_rounded(entry.temporal) for entry in losses],
        },
    }


def facts_view(output: EditOutput, *, notices: Sequence[str]) -> str:
    """What a visitor should know about a result, as HTML."""
    rows = {
        "Seed": str(output.config.seed),
        "Steps": f"{len(output.losses)} of {output.config.num_optimization_steps}",
        "Time": format_seconds(output.seconds),
        "Model": output.model,
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{html.escape(text)}</dd></div>" for name, text in rows.items())
    return f'<dl class="dm-facts">{items}</dl>{notices_html(notices)}'


def notices_html(notices: Sequence[str]) -> str:
    """Notices as a list; nothing where there are none."""
    if not notices:
        return ""
    return f'<ul class="dm-notices">{"".join(f"<li>{html.escape(text)}</li>" for text in notices)}</ul>'


def format_seconds(seconds: float) -> str:
    """For example ``48 s`` or ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def captioned(clip: Clip, caption: str, **state: Any) -> Update:
    """The source in the player, with a sentence under it."""
    return {"player": player_view(clip, stage="source", frames=clip.source_uris, caption=caption, **state)}


def wait_for_device(ticket: Ticket, clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Wait until a ticket holds the device or the visitor has had enough, and say so in the player."""
    for words in waiting(ticket, stop):
        yield {} if words is None else captioned(clip, words, progress=None if stop.is_set() else 0)
