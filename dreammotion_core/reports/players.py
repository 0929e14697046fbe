"""Clips in a page that run in step: one clock draws the same frame of all of them."""

from __future__ import annotations

import base64
import io
import json
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


def synchronised_grid(players: Sequence[Player], *, fps: float) -> tuple[str, str]:
    """Clips side by side with one play button and one slider.

    Args:
        players: at least one; shorter clips stay on their last frame.
        fps: frames a second.

    Returns:
        HTML, and the script that moves it (to be given to `html_page` once).
    """
    length = max(len(player.frames) for player in players)
    figures = "".join(_figure(player) for player in players)
    bar = (
        '<div class="bar"><button id="play" type="button">Pause</button>'
        f'<input id="frame" type="range" min="0" max="{length - 1}" value="0" aria-label="Frame">'
        '<output id="at"></output></div>'
    )
    script = _SCRIPT.replace("LENGTH", str(length)).replace("PERIOD", json.dumps(1000 / fps))
    return f'{bar}<div class="grid">{figures}</div>', script


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


_SCRIPT = """
const clips = [...document.querySelectorAll("canvas[data-strip]")].map((canvas) => {
  const strip = new Image(); strip.onload = draw; strip.src = canvas.dataset.strip;
  return { canvas, strip, count: Number(canvas.dataset.count) };
});
const slider = document.getElementById("frame"), play = document.getElementById("play");
let playing = true, last = 0;
function draw() {
  const frame = Number(slider.value);
  document.getElementById("at").value = `frame ${frame + 1} of LENGTH`;
  for (const { canvas, strip, count } of clips) {
    const { width, height } = canvas, row = Math.min(frame, count - 1) * height;
    if (strip.complete) canvas.getContext("2d").drawImage(strip, 0, row, width, height, 0, 0, width, height);
  }
}
function tick(now) {
  if (playing && now - last >= PERIOD) {
    last = now; slider.value = (Number(slider.value) + 1) % LENGTH; draw();
  }
  requestAnimationFrame(tick);
}
function pause(stops) { playing = !stops; play.textContent = stops ? "Play" : "Pause"; }
play.onclick = () => pause(playing);
slider.oninput = () => { pause(true); draw(); };
if (matchMedia("(prefers-reduced-motion: reduce)").matches) pause(true);
requestAnimationFrame(tick);
"""
