"""The receipt of an edit: what it takes to repeat it, and what came out, as plain JSON values."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from dreammotion_core.errors import VideoError
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import EditOutput, StepLosses
from dreammotion_core.version import __version__

RECEIPT_FORMAT = 2
RENAMED = {"0.1.0": {"toybox": "toybox-unet", "toybox-flow": "toybox"}}
"""Version -> the models whose names it used otherwise, with their names of today."""
_PACKAGES = ("torch", "diffusers", "transformers", "numpy", "av")


def build_receipt(
    output: EditOutput,
    *,
    source_path: str | Path | None = None,
    selection: Mapping[str, Any] | None = None,
    mask_path: str | Path | None = None,
    mask_object: int | None = None,
    result_path: str | Path | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Describe an edit in plain JSON values, so that it can be repeated and checked.

    Args:
        source_path: the edited file; the receipt has its name, size and SHA-256, not its folder. `VideoError`
            if it is gone.
        selection: objects and prompts that the mask came from, as plain JSON values.
        mask_path: file or folder that the mask came from, instead of a selection; `mask_object` is the number
            of its object that was taken.
        result_path: the written clip, so that one can tell that it belongs to the receipt.
        extra: more entries, such as ``segmenter`` or ``start_frame``; they replace entries of the same name.
    """
    height, width = output.video.size
    return {
        "format": RECEIPT_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": output.model,
        "precision": output.precision,
        "source_prompt": output.source_prompt,
        "target_prompt": output.target_prompt,
        "seed": output.config.seed,
        "settings": output.config.to_dict(),
        "source": None if source_path is None else _describe_file(Path(source_path)),
        "clip": {"frames": len(output.video), "width": width, "height": height, "fps": output.video.fps},
        "selection": None if selection is None else dict(selection),
        "mask": {
            "share": round(float(output.mask.mean()), 6),
            "sha256": hashlib.sha256(np.packbits(output.mask).tobytes()).hexdigest(),
            "file": None if mask_path is None else _describe_file(Path(mask_path)),
            "object": mask_object,
        },
        "result": {
            "frames_sha256": hashlib.sha256(np.ascontiguousarray(output.frames).data).hexdigest(),
            "file": None if result_path is None else _describe_file(Path(result_path)),
        },
        "computation": dict(output.computation),
        "notices": [asdict(notice) for notice in output.video.notices],
        "losses": _summarise(output.losses),
        "max_difference_outside": output.max_difference_outside,
        "seconds": round(output.seconds, 3),
        "versions": _versions(),
        **extra,
    }


def model_of(receipt: Mapping[str, Any]) -> tuple[str, str]:
    """Today's name of the model of a receipt, and a sentence if it had another name then, else ``""``."""
    name, version = str(receipt["model"]), receipt.get("versions", {}).get("dreammotion")
    today = RENAMED.get(version, {}).get(name, name)
    if today == name:
        return name, ""
    return today, f"The receipt is of version {version}, and the model that it calls {name} is {today} today."


def write_receipt(receipt: Mapping[str, Any], path: str | Path) -> Path:
    """Write a receipt as indented JSON and return its path, or raise `OutputError` and leave nothing behind.

    The folder is made if missing.
    """
    target = Path(path)
    text = json.dumps(receipt, indent=2, ensure_ascii=False, allow_nan=False)
    with written_atomically(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def _describe_file(path: Path) -> dict[str, Any]:
    try:
        if path.is_dir():
            each = [_describe_file(file) for file in sorted(path.iterdir()) if file.is_file()]
            digest = hashlib.sha256("".join(file["sha256"] for file in each).encode()).hexdigest()
            return {"name": path.name, "bytes": sum(file["bytes"] for file in each), "sha256": digest}
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"name": path.name, "bytes": file.tell(), "sha256": digest}
    except OSError as error:
        raise VideoError(
            f"{path} can no longer be read ({error.strerror}); pass the file that was edited"
        ) from error


def _summarise(losses: Sequence[StepLosses]) -> dict[str, Any]:
    if not losses:
        return {"steps": 0}
    steps = [asdict(step) for step in losses]
    mean = {name: fmean(step[name] for step in steps) for name in steps[0]}
    return {"steps": len(steps), "first": steps[0], "last": steps[-1], "mean": mean}


def _versions() -> dict[str, str]:
    ours = {"dreammotion": __version__, "python": platform.python_version(), "system": platform.system()}
    return ours | {package: metadata.version(package) for package in _PACKAGES}
