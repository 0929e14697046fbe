"""What the command line says of steps and results of an edit."""

from __future__ import annotations

from dreammotion_core.values import EditOutput, StepLosses


def losses_words(losses: StepLosses) -> str:
    """The losses of a step, for the bar."""
    return f"V-DDS {losses.appearance:.3f}, S-SSM {losses.spatial:.4f}, T-SSM {losses.temporal:.4f}"


def outside_words(output: EditOutput) -> str:
    """What an edit did outside its mask, which is not the given one where it was grown."""
    difference, grow = output.max_difference_outside, output.config.mask_grow
    if difference is None:
        return "the whole frame was edited"
    resized = f", {'grown' if grow > 0 else 'shrunk'} by {abs(grow)} pixels" if grow else ""
    changed = f"changed by up to {difference} of 255 levels" if difference else "unchanged"
    return f"outside the mask{resized}: {changed}"
