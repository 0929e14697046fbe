"""Models whose parts do not belong together are refused when they are loaded, not during an edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTextModel

from dreammotion_core import ModelLoadError
from dreammotion_core.models.catalog import load_backend
from tests import tiny_animatediff
from tests.tiny import tiny_parts
from tests.tiny_animatediff import tiny_animatediff_parts
from tests.tiny_cascade import save_tiny_cascade
from tests.tiny_video import save_parts, tiny_cogvideox_parts, tiny_wan_parts


def remade(part: Any, **changes: Any) -> Any:
    """A network of the same class and settings but for some."""
    return type(part).from_config({**part.config, **changes})


def with_text_of_width(width: int) -> CLIPTextModel:
    config = tiny_parts()["text_encoder"].config  # type: ignore[attr-defined]
    config.hidden_size = width
    return CLIPTextModel(config)


@pytest.mark.parametrize(
    ("make", "part", "changes", "told"),
    [
        (tiny_parts, "unet", {"in_channels": 9}, "9 channels in and 4 out, .* latents of 4"),
        (tiny_parts, "unet", {"out_channels": 8}, "4 channels in and 8 out, .* latents of 4"),
        (tiny_parts, "unet", {"cross_attention_dim": 12}, "width 12, .* of width 8"),
        (tiny_wan_parts, "transformer", {"in_channels": 8, "out_channels": 8}, "8 channels in .* of 4"),
        (tiny_wan_parts, "transformer", {"text_dim": 12}, "width 12, .* of width 8"),
        (tiny_cogvideox_parts, "transformer", {"in_channels": 8, "out_channels": 8}, "8 channels in .* of 4"),
        (tiny_cogvideox_parts, "transformer", {"text_embed_dim": 12}, "width 12, .* of width 8"),
    ],
)
def test_a_denoiser_of_another_model_is_refused(
    tmp_path: Path, make: Callable[[], dict[str, Any]], part: str, changes: dict[str, Any], told: str
) -> None:
    parts = make()
    parts[part] = remade(parts[part], **changes)
    folder = save_parts(parts, tmp_path, pipeline="APipeline")

    with pytest.raises(ModelLoadError, match=told):
        load_backend(str(folder))


def test_motion_modules_in_a_model_for_inpainting_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_images = tiny_animatediff.UNet2DConditionModel
    monkeypatch.setattr(
        tiny_animatediff, "UNet2DConditionModel", lambda **settings: of_images(**settings, in_channels=9)
    )
    folder = save_parts(tiny_animatediff_parts(), tmp_path, pipeline="AnimateDiffPipeline", frame_step=1)

    with pytest.raises(ModelLoadError, match=r"9 channels in and 4 out.*one for inpainting"):
        load_backend(str(folder))


def test_a_cascade_with_another_text_encoder_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_cascade(tmp_path)
    with_text_of_width(12).save_pretrained(folder / "text_encoder")

    with pytest.raises(ModelLoadError, match=r"width 8, .* of width 12"):
        load_backend(str(folder))
