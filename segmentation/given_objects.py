"""Masks made elsewhere become objects of a project, every frame of them confirmed as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import FramesError
from segmentation.project import Project
from segmentation.prompts import Prompt

_NO_NAMES: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class AddedObjects:
    """A project with the objects of some given masks.

    Attributes:
        project: with these objects.
        numbers: what they are called in it, by their numbers in the masks.
    """

    project: Project
    numbers: Mapping[int, int]


def add_given_objects(
    project: Project, *, masks: Mapping[int, NDArray[np.bool_]], names: Mapping[int, str] = _NO_NAMES
) -> AddedObjects:
    """Add objects whose masks were made elsewhere.

    Every frame is a prompt of its own, also where the object is not there, so that nothing is followed and
    a correction changes its own frame alone. Objects about which nothing was said yet make way.

    Args:
        project: of the clip.
        masks: (F, H, W) bool by the numbers of the objects, taken one after the other.
        names: of the objects, by their numbers in the masks.

    Returns:
        The project, in which an object keeps its number where no other has had it.

    Raises:
        FramesError: if the masks are of another clip.
        SelectionError: if these are too many objects.
    """
    expected = (project.num_frames, project.height, project.width)
    project = _without_untouched(project)
    numbers: dict[int, int] = {}
    for given, mask in masks.items():
        if mask.shape != expected:
            raise FramesError(
                f"the masks are of a clip of {mask.shape} frames, height and width but this one has "
                f"{expected}; pass masks of this clip"
            )
        is_free = given not in project.used_numbers
        project = project.add_object(names.get(given), number=given if is_free else None)
        numbers[given] = project.objects[-1].number
        for index, frame in enumerate(mask):
            project = project.with_prompt(numbers[given], Prompt.of_mask(index, frame))
    return AddedObjects(project, numbers)


def _without_untouched(project: Project) -> Project:
    kept = tuple(tracked for tracked in project.objects if tracked.prompts)
    untouched = {tracked.number for tracked in project.objects if not tracked.prompts}
    return replace(project, objects=kept, used_numbers=project.used_numbers - untouched)
