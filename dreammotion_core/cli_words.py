"""What the command line says of steps and results of an edit."""

from __future__ import annotations

from dreammotion_core.values import StepLosses


def losses_words(losses: StepLosses) -> str:
    """The losses of a step, for the bar."""
    return f"V-DDS {losses.appearance:.3f}, S-SSM {losses.spatial:.4f}, T-SSM {losses.temporal:.4f}"


def outside_words(difference: int | None) -> str:
    """What happened outside the mask.

    Args:
        difference: the largest there, in 8-bit levels; None where the whole frame was edited.
    """
    if difference is None:
        return "the whole frame was edited"
    if difference == 0:
        return "outside the mask: unchanged"
    return f"outside the mask: changed by up to {difference} of 255 levels"
