"""The objects of a clip painted over one of its frames, as the edit will take them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import MaskError, feathered_alpha, grown_mask
from segmentation import invert
from web.clip import Clip
from web.encoding import MASK_COLOUR, Layer, encode_overlay
from web.refining import refined_masks
from web.settings import Refinement


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
    refinement = snapshot.refinement
    if refinement.is_inverted:
        union = np.any([masks[tracked] for tracked in edited], axis=0) if edited else None
        layers += [] if union is None else [_tinted(refinement, invert(union), MASK_COLOUR)]
    else:
        layers += [_tinted(refinement, masks[tracked], tracked.colour) for tracked in edited]
    if not any(layer.mask.any() for layer in layers):
        return None
    return encode_overlay(layers, size=clip.video.size)


def _tinted(refinement: Refinement, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> Layer:
    try:
        grown = grown_mask(mask, pixels=refinement.grow)
    except MaskError:
        # Nothing is left of it on this frame, and nothing is what is to be seen.
        grown = np.zeros_like(mask)
    return Layer(grown[0], colour, feathered_alpha(grown, width=refinement.feather)[0])
