"""What is selected on a clip at one moment; it stays the same while the visitor goes on clicking."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dreammotion_core import Video
from segmentation import Project, TrackedObject, Tracks, describe_project
from web.form import Refinement


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What an edit or an export is made from, so that all that comes of it is about the same objects.

    Attributes:
        video: the frames.
        project: the objects.
        tracks: their masks.
        segmenter: name of what makes them.
        left_alone: numbers of the objects that the edit does not change.
        refinement: what is done to the masks before the edit.
    """

    video: Video
    project: Project
    tracks: Tracks
    segmenter: str
    left_alone: frozenset[int]
    refinement: Refinement

    @property
    def selected(self) -> tuple[TrackedObject, ...]:
        """The objects about which something was said, those changed last at the end."""
        objects = [each for each in self.project.objects if each.prompts]
        return tuple(sorted(objects, key=lambda each: each.last_change))

    @property
    def chosen(self) -> tuple[TrackedObject, ...]:
        """The selected objects that the edit changes, those changed last at the end."""
        return tuple(each for each in self.selected if each.number not in self.left_alone)

    @property
    def is_followed(self) -> bool:
        """Whether something is selected, and every mask that follows from it is known."""
        return bool(self.selected) and self.tracks.num_missing(self.project) == 0

    def record(self) -> dict[str, Any]:
        """What was said about the objects, and what the edit makes of them, as plain JSON values."""
        edited = [tracked.number for tracked in self.chosen]
        return describe_project(self.project) | {"edited": edited, "refinement": asdict(self.refinement)}
