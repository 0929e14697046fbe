"""How a scene is filmed."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Shot:
    """Length and size of a clip, and where it is drawn.

    Attributes:
        num_frames: frames F.
        fps: frames a second.
        resolution: height and width in pixels.
        device: where to draw.
    """

    num_frames: int = 8
    fps: float = 8.0
    resolution: int = 128
    device: str | torch.device = "cpu"


USUAL_SHOT = Shot()
"""What the embedded models are trained on."""
