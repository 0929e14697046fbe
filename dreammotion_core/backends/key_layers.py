"""Which layers of a video transformer the keys are taken from."""

from __future__ import annotations

from dreammotion_core.keys import KeyLayout, KeySite


def middle_key_sites(blocks: str, *, num_layers: int, num_text_tokens: int = 0) -> tuple[KeySite, ...]:
    """The self-attention keys of the middle third of the layers.

    The first layers still see little more than patches and the last ones prepare the output; studies of
    such transformers found the correspondence of positions over frames in a few layers around the middle.
    Nothing after the last of them has to be kept for the backward pass either. `EditConfig.key_sites`
    names others.

    Args:
        blocks: name of the list of layers within the denoiser.
        num_layers: their number.
        num_text_tokens: tokens of text that a layer attends to jointly, before those of the frames.
    """
    margin = num_layers // 3
    layers = "|".join(str(layer) for layer in range(margin, num_layers - margin))
    return (KeySite(rf"{blocks}\.({layers})\.attn1\.to_k", KeyLayout.JOINT_TOKENS, num_text_tokens),)
