"""Clips in a page that run in step: one clock draws the same frame of all of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from dreammotion_core.values import Frames

QUALITY = 85
"""Of the JPEG strips that hold the frames."""
LARGEST_SIDE = 384
"""In pixels; larger clips are reduced, so that a page of many clips can still be sent by mail."""


@dataclass(frozen=True, eq=False)
class Player:
    """A clip with its caption.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        caption: plain text.
        note: a second line, fainter.
    """

    frames: Frames
    caption: str
    note: str = ""


def synchronised_grid(players: Sequence[Player], *, fps: float) -> str:
    """Clips side by side with one play button and one slider, as HTML; `SYNCHRONISE` moves it.

    Args:
        players: at least one; shorter clips stay on their last frame.
        fps: frames a second.
    """
    length = max(len(player.frames) for player in players)
    figures = "".join(_figure(player) for player in players)
    return (
        f'<div class="bar" data-length="{length}" data-period="{1000 / fps}">'
        '<button type="button">Pause</button>'
        f'<input type="range" min="0" max="{length - 1}" value="0" aria-label="Frame">'
        f'<output></output></div><div class="grid">{figures}</div>'
    )


def _figure(player: Player) -> str:
    count, height, width = player.frames.shape[:3]
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pictures = [np.asarray(Image.fromarray(frame).resize(size)) for frame in player.frames]
    strip = io.BytesIO()
    Image.fromarray(np.concatenate(pictures)).save(strip, "jpeg", quality=QUALITY)
    data = base64.b64encode(strip.getvalue()).decode("ascii")
    note = f'<br><span class="faint">{escape(player.note)}</span>' if player.note else ""
    return (
        f'<figure><canvas width="{size[0]}" height="{size[1]}" data-count="{count}" '
        f'data-strip="data:image/jpeg;base64,{data}" '
        f'role="img" aria-label="{escape(player.caption)}"></canvas>'
        f"<figcaption>{escape(player.caption)}{note}</figcaption></figure>"
    )


SYNCHRONISE = """
function synchronise(root) {
  const strips = new WeakMap();
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches, last = 0, drawn = {};
  function strip(canvas) {
    if (!strips.has(canvas)) {
      const picture = new Image();
      picture.onload = () => { drawn = {}; };
      picture.src = canvas.dataset.strip;
      strips.set(canvas, picture);
    }
    return strips.get(canvas);
  }
  function draw(canvas, frame) {
    const { width, height } = canvas, picture = strip(canvas);
    const row = Math.min(frame, Number(canvas.dataset.count) - 1) * height;
    if (!picture.complete) return;
    canvas.getContext("2d").drawImage(picture, 0, row, width, height, 0, 0, width, height);
  }
  function advance(bar, now) {
    const slider = bar.querySelector("input"), length = Number(bar.dataset.length);
    if (playing && now - last >= Number(bar.dataset.period)) {
      last = now;
      slider.value = (Number(slider.value) + 1) % length;
    }
    const words = `frame ${Number(slider.value) + 1} of ${length}`, label = playing ? "Pause" : "Play";
    const output = bar.querySelector("output"), button = bar.querySelector("button");
    if (output.textContent !== words) output.textContent = words;
    if (button.textContent !== label) button.textContent = label;
    return Number(slider.value);
  }
  function tick(now) {
    if (!root.isConnected) return;
    requestAnimationFrame(tick);
    const bar = root.querySelector(".bar");
    if (!bar) return;
    const frame = advance(bar, now), canvases = [...root.querySelectorAll("canvas[data-strip]")];
    if (drawn.frame === frame && drawn.newest === canvases.at(-1)) return;
    drawn = { frame, newest: canvases.at(-1) };
    for (const canvas of canvases) draw(canvas, frame);
  }
  root.addEventListener("click", (event) => { if (event.target.closest(".bar button")) playing = !playing; });
  root.addEventListener("input", (event) => { if (event.target.closest(".bar")) playing = false; });
  requestAnimationFrame(tick);
}
"""
"""JavaScript that defines ``synchronise(root)``: one clock for all that is or comes within an element."""
