"""What the components of the page show: plain JSON values, and HTML by the templates."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dreammotion_core import EditOutput, StepLosses
from web.clip import Clip
from web.device import Ticket, waiting

Update = dict[str, Any]  # New values, or Gradio updates, of some components by name.
Stage = Literal["source", "preview", "result", "example"]
SECONDS_BETWEEN_UPDATES = 0.3  # Between two views of something that goes on.


class Throttle:
    """Tells when the latest view of something that goes on is old enough to be replaced."""

    def __init__(self) -> None:
        self._shown_at = -SECONDS_BETWEEN_UPDATES

    def is_due(self) -> bool:
        """Whether to show something now; then it counts as shown."""
        now = time.monotonic()
        if now - self._shown_at < SECONDS_BETWEEN_UPDATES:
            return False
        self._shown_at = now
        return True


@contextmanager
def download_folder() -> Iterator[Path]:
    """A folder for what a visitor downloads; gone at the end of the `with`.

    Gradio copies the files into its own cache before it asks a handler for more.
    """
    with tempfile.TemporaryDirectory(prefix="dreammotion-") as folder:
        yield Path(folder)


def format_seconds(seconds: float) -> str:
    """For example ``48 s`` or ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["duration"] = format_seconds


def render(template: str, **values: Any) -> str:
    """HTML by a file in templates/; every value is escaped."""
    return _TEMPLATES.get_template(f"{template}.html").render(values)


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
    """A looping clip with a caption, which screen readers read aloud.

    `frames` are data URIs, `progress` is from 0 to 1, and `badge` replaces the usual word for the stage.
    """
    height, width = clip.video.size
    return {
        "stage": stage,
        "frames": list(frames),
        "before": list(clip.source_uris) if stage in ("result", "example") else [],
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
    names = ("appearance", "spatial", "temporal")
    series = {name: [float(f"{getattr(entry, name):.4g}") for entry in losses] for name in names}
    return {"numSteps": num_steps, "series": series}


def facts_view(output: EditOutput, *, notices: Sequence[str]) -> str:
    """What a visitor should know about a result, as HTML."""
    facts = {
        "Seed": str(output.config.seed),
        "Steps": f"{len(output.losses)} of {output.config.num_optimization_steps}",
        "Time": format_seconds(output.seconds),
        "Model": output.model,
    }
    return render("facts", facts=facts, notices=notices)


def refusal_view(text: str = "", *, at: str = "") -> dict[str, str]:
    """Why an edit did not begin; `at` is the place to go to: "canvas", "source", "target", or "" for none."""
    return {"text": text, "at": at}


def captioned(clip: Clip, caption: str, **state: Any) -> Update:
    """The source in the player, with a sentence under it."""
    return {"player": player_view(clip, stage="source", frames=clip.source_uris, caption=caption, **state)}


def wait_for_device(ticket: Ticket, clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Wait until a ticket holds the device or the visitor stops waiting; the player says so."""
    for words in waiting(ticket, stop):
        yield {} if words is None else captioned(clip, words, progress=None if stop.is_set() else 0)
