"""Tiny models beside those of the cost benchmarks."""

import pytest

from benchmarks.cost import MODELS, RandomModel

TINY_UNET = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 16,
}
TINY_WAN = {"num_attention_heads": 1, "attention_head_dim": 32, "num_layers": 3, "ffn_dim": 64, "text_dim": 8}


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config, like in (("tiny", TINY_UNET, "unet3d-64"), ("tiny-wan", TINY_WAN, "wan-small")):
        model = RandomModel(config, MODELS[like].backend_of, (5, 8))
        monkeypatch.setitem(MODELS, name, model)  # type: ignore[attr-defined]
