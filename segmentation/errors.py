"""Everything that can go wrong while an object is being selected, as one tree below `SegmentationError`.

Every message says what was received, what is accepted, and what to do next. One warning is for those who
follow an object without `Tracks`: `SceneCutWarning`.
"""


class SegmentationError(Exception):
    """Root of all errors this package raises on purpose."""


class SceneCutWarning(UserWarning):
    """An object is not followed any further, because another scene begins."""


class SelectionError(SegmentationError, ValueError):
    """Clicks or a box that cannot be used."""


class FramesError(SegmentationError, ValueError):
    """Frames or masks of a wrong shape, type or count."""


class UnknownSegmenterError(SegmentationError, ValueError):
    """A segmenter that is not in the list, or an option it does not have."""


class CheckpointError(SegmentationError, RuntimeError):
    """Weights that are missing, damaged or could not be downloaded."""


def reason_of(error: BaseException) -> str:
    """The text of a library's error on one line of at most 200 characters; its type if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
