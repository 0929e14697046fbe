"""What was selected and how, as plain JSON values for a record of the work."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from segmentation.project import Project
from segmentation.prompts import PackedMask, Prompt


def describe_project(project: Project) -> dict[str, Any]:
    """Names and prompts of all objects about which something was said.

    Returns:
        ``{"objects": [{"number", "name", "prompts": [...]}]}``, prompts in the order of their frames, each
        ``{"frame_index", "clicks", "box", "mask"}``. A mask that was given or corrected is not in it, only
        its area in pixels and the SHA-256 of its bits, row by row, eight in a byte.
    """
    return {
        "objects": [
            {
                "number": tracked.number,
                "name": tracked.name,
                "prompts": [
                    _describe(prompt)
                    for prompt in sorted(tracked.prompts, key=lambda prompt: prompt.frame_index)
                ],
            }
            for tracked in project.objects
            if tracked.prompts
        ]
    }


def _describe(prompt: Prompt) -> dict[str, Any]:
    given = None if prompt.given is None else _describe_mask(prompt.given)
    return prompt.selection.to_dict() | {"mask": given}


def _describe_mask(mask: PackedMask) -> dict[str, Any]:
    bits = np.packbits(mask.unpacked()).tobytes()
    return {"area": mask.area, "sha256": hashlib.sha256(bits).hexdigest()}
