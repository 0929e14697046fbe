"""One option of the command line for every setting of an edit."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from typing import Any

from dreammotion_core.config import CHOICES, PRESETS, EditConfig

_WHOLE: Mapping[str, Any] = {"type": int, "metavar": "N"}
_REAL: Mapping[str, Any] = {"type": float, "metavar": "X"}
_PIXELS: Mapping[str, Any] = {"type": int, "metavar": "PIXELS"}

_SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "method": (f"of {', '.join(CHOICES['method'])}", {"choices": CHOICES["method"], "metavar": "NAME"}),
    "strength": ("of sdedit and flowedit, up to 1", _REAL),
    "num_optimization_steps": ("optimisation steps", _WHOLE),
    "seed": ("repeats a run; -1 draws one", _WHOLE),
    "optimizer": ("how the steps are taken", {"choices": CHOICES["optimizer"]}),
    "learning_rate": ("length of the steps", _REAL),
    "learning_rate_end_factor": ("share of it that is left at the end", _REAL),
    "guidance_scale": ("weight of the prompts", _REAL),
    "timestep_range": ("of the noise, in 0 to 1000", {"type": int, "nargs": 2, "metavar": ("LOW", "HIGH")}),
    "timestep_order": ("in which they are taken", {"choices": CHOICES["timestep_order"]}),
    "direction_weighting": (
        "of the text's pull over the timesteps",
        {"choices": CHOICES["direction_weighting"]},
    ),
    "appearance_weight": ("of the text's pull; 0: off", _REAL),
    "spatial_weight": ("of keeping the structure; 0: off", _REAL),
    "temporal_weight": ("of keeping the motion; 0: off", _REAL),
    "matching_limit": ("of keeping both, in lengths of the text's pull; 0: off", _REAL),
    "mask_matching": ("match outside the mask too", {"action": "store_false"}),
    "mask_grow": ("grow the mask (negative: shrink)", _PIXELS),
    "mask_feather": ("soft rim of the mask", _PIXELS),
    "keep_detail": ("show the decoded clip as it is", {"action": "store_false"}),
    "colour_smoothing": ("of the object's mean colour; 0: off", {"type": float, "metavar": "SECONDS"}),
    "key_sites": ("layers whose keys are matched, as shell patterns", {"nargs": "+", "metavar": "PATTERN"}),
    "negative_prompt": ("what to stay away from", {"metavar": "TEXT"}),
    "preview_interval": ("steps between previews", _WHOLE),
    "resolution_scale": ("sides of the model's grid; below 1: less memory, coarser", _REAL),
    "last_stage": ("of a cascade, to stop after", {"metavar": "NAME"}),
}
"""What is said of each setting, and how it is read. `use_mask` has an option among those of the mask."""

_SHORT_FLAGS = {"num_optimization_steps": "--steps"}


def add_settings(parser: argparse.ArgumentParser, *, but_for: Collection[str] = ()) -> None:
    """Add an option for each setting, and one for the preset.

    Args:
        parser: of a command.
        but_for: names of settings that the command chooses itself.
    """
    group = parser.add_argument_group("settings (default: those of the preset)")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="fast",
        help="keep-shape: for new colours and materials; paper: its optimiser, slow (%(default)s)",
    )
    for name, (what, reading) in _SETTINGS.items():
        if name in but_for:
            continue
        no = "no-" if reading.get("action") == "store_false" else ""
        flag = _SHORT_FLAGS.get(name, f"--{no}{name.replace('_', '-')}")
        group.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=what, **reading)


def given_config(options: argparse.Namespace, *, usual: Mapping[str, Any]) -> EditConfig:
    """The preset with the settings that were given; where neither says anything, the model's usual ones.

    Raises:
        ConfigError: if one is out of its range.
    """
    given = {name: value for name, value in vars(options).items() if name in EditConfig.__dataclass_fields__}
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return EditConfig.preset(options.preset, usual=usual, **changes)
