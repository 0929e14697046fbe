"""The cascade at the published configurations, on the meta device: names and shapes of all weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import constants

from benchmarks.cost import BASE, FIRST_FRAME, INTERPOLATION, SUPER_RESOLUTION, as_image_config
from dreammotion_core.models.cascade.manifest import SHOW_1_MANIFEST, STAGES
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.catalog import SHOW_1, SHOW_1_STAGES
from tests.hub_cache import put_into_cache
from tests.show1_expected import expected_weights


@pytest.mark.parametrize(
    ("config", "num_weights", "gigabytes"),
    [
        # The published file of this one has 6.91 GB in float32.
        (BASE, 1827, 6.91),
        (INTERPOLATION, 1827, 6.91),
        (SUPER_RESOLUTION, 1639, 3.19),
    ],
    ids=["base", "interpolation", "super-resolution"],
)
def test_the_video_unets_have_exactly_the_published_weights(
    config: dict[str, Any], num_weights: int, gigabytes: float
) -> None:
    with torch.device("meta"):
        unet = Show1UNet(**config)

    weights = {name: tuple(weight.shape) for name, weight in unet.state_dict().items()}

    assert weights == expected_weights(config)
    assert len(weights) == num_weights
    assert sum(weight.numel() for weight in unet.parameters()) * 4 / 1e9 == pytest.approx(
        gigabytes, abs=0.005
    )


@pytest.mark.parametrize(
    ("config", "billions"),
    [
        # What DeepFloyd states for IF-I-L, IF-II-M and IF-II-L; Show-1 grew out of the first two.
        (BASE, 0.9),
        (SUPER_RESOLUTION, 0.45),
        (FIRST_FRAME, 1.2),
    ],
    ids=["base", "super-resolution", "first-frame"],
)
def test_the_image_models_they_grew_out_of_have_the_stated_sizes(
    config: dict[str, Any], billions: float
) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**as_image_config(config))

    assert sum(weight.numel() for weight in unet.parameters()) / 1e9 == pytest.approx(billions, rel=0.05)
    spatial = {name for name in expected_weights(config) if "temp_" not in name}
    assert set(unet.state_dict()) == spatial


def test_every_published_stage_is_pinned_to_a_commit() -> None:
    assert SHOW_1_MANIFEST.stages == STAGES
    sr = SHOW_1_MANIFEST.super_resolution
    assert sr is not None
    parts = (
        SHOW_1_MANIFEST.text,
        SHOW_1_MANIFEST.key_frames,
        SHOW_1_MANIFEST.interpolation,
        sr,
        sr.first_frame,
    )
    for part in (*parts, SHOW_1_MANIFEST.latent_super_resolution):
        assert part is not None
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", part.source)
        assert re.fullmatch(r"[0-9a-f]{40}", part.revision or "")


def test_the_cascade_is_ready_only_when_all_of_it_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert len({(part.source, part.revision) for part in SHOW_1.hub_parts}) == 1 + len(SHOW_1_STAGES) == 5
    latent = SHOW_1_STAGES["latent-super-resolution"]

    for part in SHOW_1.hub_parts:
        assert not SHOW_1.is_ready()
        networks = ("unet", "text_encoder", "vae") if part == latent else ("unet", "text_encoder")
        put_into_cache(tmp_path, part, {"model_index.json": dict.fromkeys(networks, "a class")})
        # Of the stages in pixels, only the first is loaded with its text encoder.
        for name in networks[:1] if part.folders else networks:
            assert not SHOW_1.is_ready()
            put_into_cache(tmp_path, part, {f"{name}/pytorch_model.bin": "weights"})

    assert SHOW_1.is_ready()
