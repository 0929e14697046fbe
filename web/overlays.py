"""The objects of a clip painted over one of its frames, as the edit will take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import MaskError, feathered_alpha, grown_mask
from segmentation import TrackedObject, invert
from web.clip import Clip
from web.encoding import MASK_COLOUR, Layer, encode_overlay
from web.refining import refined_masks
from web.form import Refinement


def overlay(clip: Clip, *, index: int) -> str | None:
    """A PNG data URI of the objects on a frame; None where there are none.

    What the edit changes is tinted, as far as it is grown, shrunk, feathered or inverted; objects that it
    leaves alone are outlined.

    Args:
        clip: with the objects and what is done to their masks.
        index: 0-based frame.

    Raises:
        SelectionError: if there is no such frame.
    """
    snapshot, within = clip.snapshot(), range(index, index + 1)
    masks = {
        tracked: refined_masks(snapshot, number=tracked.number, within=within)
        for tracked in snapshot.selected
    }
    edited = [tracked for tracked in masks if tracked in snapshot.chosen]
    layers = [Layer(masks[tracked][0], tracked.colour) for tracked in masks if tracked not in edited]
    if edited:
        layers += _taken(snapshot.refinement, {tracked: masks[tracked] for tracked in edited})
    if not any(layer.mask.any() for layer in layers):
        return None
    return encode_overlay(layers, size=clip.video.size)


def _taken(refinement: Refinement, masks: Mapping[TrackedObject, NDArray[np.bool_]]) -> list[Layer]:
    """What the edit takes of a frame: the objects as one, and only then each in its own colour."""
    together = np.any(list(masks.values()), axis=0)
    taken = _grown(invert(together) if refinement.is_inverted else together, pixels=refinement.grow)
    opacity = feathered_alpha(taken, width=refinement.feather)[0]
    if refinement.is_inverted:
        return [Layer(taken[0], MASK_COLOUR, opacity)]
    reach = max(0, refinement.grow)
    return [
        Layer((taken & _grown(mask, pixels=reach))[0], tracked.colour, opacity)
        for tracked, mask in masks.items()
    ]


def _grown(mask: NDArray[np.bool_], *, pixels: int) -> NDArray[np.bool_]:
    try:
        return grown_mask(mask, pixels=pixels)
    except MaskError:
        # Nothing is left of it on this frame, and nothing is what is to be seen.
        return np.zeros_like(mask)
