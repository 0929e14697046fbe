"""What the next click on a frame adds to: what was said there, the mask that is seen there, or nothing."""

from __future__ import annotations

from segmentation.clicks import Selection
from segmentation.project import Project
from segmentation.prompts import Prompt
from segmentation.tracks import Tracks


def begin_prompt(tracks: Tracks, *, project: Project, number: int, frame_index: int) -> Prompt:
    """The prompt that a user's next click or box on a frame adds to.

    Where a followed mask is seen, it becomes part of the prompt, so that the click corrects it instead of
    selecting anew, and a negative click alone is enough.

    Args:
        tracks: of the clip.
        project: with the object.
        number: of the object.
        frame_index: 0-based frame that is shown.

    Returns:
        The prompt on this frame unless it says "not here"; else one of the mask seen there; else an empty
        one. It is not part of the project until `Project.with_prompt`.

    Raises:
        SelectionError: if there is no such object or frame.
        FramesError: if the project belongs to another clip.
    """
    earlier = project.object(number).prompt_on(frame_index)
    if earlier is not None and not earlier.says_absent:
        return earlier
    mask = tracks.mask(project, number=number, frame_index=frame_index)
    return Prompt.of_mask(frame_index, mask) if mask.any() else Prompt(Selection(frame_index))
