"""Every motion of the world by its name."""

from __future__ import annotations

MOTIONS: dict[str, tuple[str, ...]] = {
    "right": ("moving to the right", "going right"),
    "left": ("moving to the left", "going left"),
    "bounce": ("bouncing", "bouncing up and down"),
    "spin": ("spinning", "turning round"),
    "zoom": ("coming closer", "getting bigger"),
    "arc": ("jumping", "leaping"),
    "wobble": ("wobbling", "rocking"),
    "pan": ("followed by the camera", "seen by a moving camera"),
}
"""The words that captions use for it, the usual ones first. Scenes are drawn by the order of the names."""
