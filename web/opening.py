"""Arrivals, departures, and opening a clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from dreammotion_core import (
    DreamMotionError,
    ModelSpec,
    Video,
    VideoError,
    probe_video,
    read_clip,
    shortest_length,
)
from segmentation import Segmenter, Tracks
from web.clip import Clip, KeptFile, carry_over
from web.components import Example
from web.encoding import encode_frames
from web.form import whole_number
from web.models import Models
from web.selection_views import canvas_view
from web.views import Update, player_view, refusal_view, render
from web.visitors import NO_LIMITS, Limits, Visitor, VisitorStore
from web.wiring import told_to_visitor

IN_MEMORY_BYTES = 2**28  # Of frames; those of a longer clip lie in a file, see the library.
CLIP_OUTPUTS = (
    *("canvas", "player", "clip_notes", "source_prompt", "target_prompt", "suggestions", "example", "span"),
    *("preflight", "preflight_use", "losses", "facts", "card", "movie", "receipt", "refusal"),
)


SPAN_OUTPUTS = (*CLIP_OUTPUTS, "start_frame", "num_frames")


class Clips:
    """Opens clips for visitors; `segmenter` prepares them for clicks, until a visitor chooses another."""

    def __init__(
        self, *, visitors: VisitorStore, models: Models, segmenter: Segmenter, examples: Sequence[Example]
    ) -> None:
        self._visitors = visitors
        self._models = models
        self._segmenter = segmenter
        self._examples = {example.name: example for example in examples}

    def arrive(self, request: gr.Request) -> str:
        """Admit a visitor; gives the token of the page."""
        with told_to_visitor():
            return self._visitors.admit(request.session_hash, sender(request))

    def leave(self, request: gr.Request) -> None:
        """The tab was closed: stop what runs and forget the visitor."""
        self._visitors.leave(request.session_hash)

    def greet(self, *, token: str, example: str | None) -> Update:
        """Open an example, so that a newcomer has something to click: the chosen one, or the first."""
        visitor = self._visitors.get(token)
        # A choice made meanwhile waits, or has come first.
        with visitor.opening:
            if visitor.clip is not None:
                return {}
            for name in (example, *self._examples):
                if name in self._examples:
                    return self.open_example(token=token, example=name, start_frame=0, num_frames=None)
        return {}

    def open_upload(self, *, token: str, upload: str | None, start_frame: Any, num_frames: Any) -> Update:
        """Open a file that the visitor sent."""
        if not upload:
            raise VideoError("no file arrived; choose a video, for example an MP4")
        visitor = self._visitors.get(token)
        kept = KeptFile(Path(upload))
        clip = self._open(visitor, kept.path, start_frame, num_frames, kept=kept)
        return self._shown(token, clip) | _prompts("", ()) | {"example": None}

    def open_example(self, *, token: str, example: str, start_frame: Any, num_frames: Any) -> Update:
        """Open an example and suggest its prompts; before the arrival it does nothing, see `greet`."""
        if not token:
            return {}
        chosen = self._examples.get(example)
        if chosen is None:
            raise VideoError(f"there is no example {example!r}; choose one of: {', '.join(self._examples)}")
        visitor = self._visitors.get(token)
        clip = self._open(visitor, chosen.path, start_frame, num_frames, rooms=chosen.rooms)
        prompts = _prompts(chosen.source_prompt, chosen.target_prompts)
        shown = self._shown(token, clip, hint=chosen.click) | prompts | {"example": example}
        return shown | self._finished_edit(token, chosen, clip)

    def reopen(self, *, token: str, start_frame: Any, num_frames: Any) -> Update:
        """Read another part of the clip that is open; clicks on frames that are in both parts stay."""
        visitor = self._visitors.get(token)
        old = visitor.clip
        if old is None:
            return {}
        return self._shown(token, self._read_anew(visitor, old, start_frame, num_frames))

    def choose_span(self, *, token: str, span: Any) -> Update:
        """Read the part between the markers; the form shows it too."""
        if not isinstance(span, Mapping):
            return {}
        start, count = span.get("start"), span.get("count")
        return self.reopen(token=token, start_frame=start, num_frames=count) | {
            "start_frame": start,
            "num_frames": count,
        }

    def adapt(self, *, token: str) -> Update:
        """Read the open clip anew, as the visitor's model wants it; does nothing if it fits already.

        Prompts on frames that are in both readings stay; the form's start is given at the new rate.
        """
        visitor = self._visitors.get(token)
        old, spec = visitor.clip, self._models.of(visitor).spec
        if old is None or (old.video.fps == spec.fps and len(old.video) == spec.num_frames):
            return {}
        start = round(old.start_frame * spec.fps / old.video.fps)
        clip = self._read_anew(visitor, old, start, None)
        return self._shown(token, clip) | {"start_frame": start}

    def _read_anew(self, visitor: Visitor, old: Clip, start_frame: Any, num_frames: Any) -> Clip:
        clip = self._open(visitor, old.path, start_frame, num_frames, kept=old.kept, rooms=old.rooms)
        lost = carry_over(old, clip)
        if lost:
            frames = "one frame that is" if lost == 1 else f"{lost} frames that are"
            clip.remark([f"The clicks on {frames} no longer read are gone."])
        return clip

    def _open(
        self,
        visitor: Visitor,
        path: Path,
        start_frame: Any,
        num_frames: Any,
        *,
        kept: KeptFile | None = None,
        rooms: Mapping[str, int] = MappingProxyType({}),
    ) -> Clip:
        with visitor.opening:
            spec = self._models.of(visitor).spec

            def admit(num_bytes: int) -> None:
                on_disk = num_bytes > IN_MEMORY_BYTES
                self._visitors.make_room(visitor, num_bytes, on_disk=on_disk)

            video = read_upload(
                path,
                spec=spec,
                start_frame=start_frame,
                num_frames=num_frames,
                limits=self._models.limits,
                admit=admit,
            )
            visitor.stop.set()
            segmenter = visitor.segmenter or self._segmenter
            clip = Clip(
                path=path,
                video=video,
                tracks=Tracks(segmenter.open(video.frames), video.frames),
                segmenter=segmenter.spec.name,
                start_frame=int(start_frame),
                kept=kept,
                rooms=rooms,
            )
            if visitor.clip is not None:
                clip.number = visitor.clip.number + 1
                clip.refinement = visitor.clip.refinement
            visitor.clip = clip
            clip.preparer.look_at(0)
            return clip

    def _finished_edit(self, token: str, example: Example, clip: Clip) -> Update:
        """An edit that was made beforehand, in the player; nothing where it does not fit the clip."""
        if example.edit is None or clip.start_frame:
            return {}
        spec, count = self._models.of(self._visitors.get(token)).spec, len(clip.video)
        try:
            edit = read_clip(example.edit, spec=spec, num_frames=count)
        except DreamMotionError:
            # It was made for a model that takes other lengths.
            return {}
        if edit.frames.shape != clip.video.frames.shape:
            return {}
        caption = f"“{example.target_prompts[0]}”, made beforehand. Press Edit to make your own."
        frames = encode_frames(edit.frames)
        return {"player": player_view(clip, stage="example", frames=frames, caption=caption)}

    def _shown(self, token: str, clip: Clip, *, hint: tuple[float, float] | None = None) -> Update:
        height, width = clip.video.size
        seconds = len(clip.video) / clip.video.fps
        caption = f"{seconds:.1f} s of the clip, {len(clip.video)} frames of {width}x{height}."
        self._visitors.get(token).runs.on_card = None
        hidden = gr.DownloadButton(visible=False)
        span = span_view(clip, spec=self._models.of(self._visitors.get(token)).spec)
        # Where there are markers, they say what is left out.
        told = [notice.text for notice in clip.video.notices if not span or notice.code != "cut"]
        return {
            "canvas": canvas_view(clip, token=token, hint=hint),
            "player": player_view(clip, stage="source", frames=clip.source_uris, caption=caption),
            "span": span,
            "clip_notes": render("notices", notices=told),
            "preflight": "",
            "preflight_use": gr.Button(visible=False),
            "refusal": refusal_view(),
            # What was said of the clip before.
            **{"losses": None, "facts": "", "card": "", "movie": hidden, "receipt": hidden},
        }


def sender(request: gr.Request | None) -> str:
    """The address that a request comes from; empty where it is unknown."""
    client = None if request is None else request.client
    return client.host if client is not None else ""


def span_view(clip: Clip, *, spec: ModelSpec) -> dict[str, Any] | None:
    """Which part of its file a clip is, in frames at its own rate, and the lengths a model takes.

    None where the clip is the whole file, or an example.
    """
    if clip.kept is None or all(notice.code != "cut" for notice in clip.video.notices):
        return None
    total = max(clip.start_frame + len(clip.video), int(probe_video(clip.path).duration * clip.video.fps))
    lengths = {
        "least": shortest_length(spec),
        "most": spec.fit_length(spec.max_frames),
        "step": spec.frame_step,
    }
    return {
        "start": clip.start_frame,
        "count": len(clip.video),
        "total": total,
        "fps": clip.video.fps,
    } | lengths


def _prompts(source: str, targets: Sequence[str]) -> Update:
    return {
        "source_prompt": source,
        "target_prompt": targets[0] if targets else "",
        "suggestions": {"choices": list(targets)},
    }


def read_upload(
    path: Path,
    *,
    spec: ModelSpec,
    start_frame: Any,
    num_frames: Any,
    limits: Limits = NO_LIMITS,
    admit: Callable[[int], None] = lambda _: None,
) -> Video:
    """Read the part of a clip that the model can take, from `start_frame` at the model's frame rate.

    `num_frames` None takes the model's usual length; `admit` is asked before so many bytes are read.
    Raises `VideoError` if the file cannot be used, `LimitError` if it is too large, and `ConfigError` if the
    range is not one of whole frames that the model takes.
    """
    if num_frames is not None:
        num_frames = whole_number("the number of frames", num_frames, low=2, high=spec.max_frames)
    start = whole_number("the start frame", start_frame, low=0, high=10**9)
    found = probe_video(path)
    frames = max(1, min(math.ceil(found.duration * spec.fps), num_frames or spec.num_frames))
    limits.check_size(width=found.width, height=found.height, num_frames=frames)
    admit(3 * frames * found.width * found.height)
    return read_clip(path, spec=spec, start_frame=start, num_frames=num_frames)
