"""Show-1's pixel U-Net: the published architecture, and what an edit needs of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from dreammotion_core.errors import BackendError
from dreammotion_core.models.cascade.unet import Show1UNet
from tests.tiny_cascade import TINY, as_image_config, tiny_show1_unet

TEMPORAL = ("temp_convs", "temp_attentions", "transformer_in")


def inputs(num_frames: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(2, 3, num_frames, 8, 12, generator=generator)
    return sample, torch.tensor([30, 700]), torch.randn(2, 5, 8, generator=generator)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_embed_type": "timestep", "in_channels": 6, "layers_per_block": (2, 1)},
        {"resnet_skip_time_act": True, "time_embedding_act_fn": "gelu", "time_embedding_dim": 48},
        {"resnet_out_scale_factor": 1.414, "mid_block_scale_factor": 1.414},
        {"only_cross_attention": (False, True)},
        {"only_cross_attention": True},
        {"only_cross_attention": True, "mid_block_only_cross_attention": False},
        {"mid_block_only_cross_attention": True},
    ],
    ids=str,
)
def test_one_frame_without_temporal_layers_is_the_image_model(changes: dict[str, Any]) -> None:
    unet = tiny_show1_unet(**changes)
    for name, parameter in unet.named_parameters():
        if "conv4.3" in name or ("temp_attentions" in name and "proj_out" in name):
            nn.init.zeros_(parameter)
    image_model = UNet2DConditionModel(**as_image_config({**TINY, **changes})).eval()
    shared = {k: v for k, v in unet.state_dict().items() if not any(part in k for part in TEMPORAL)}
    image_model.load_state_dict(shared, strict=True)
    sample, timestep, text = inputs(num_frames=1)
    sample = sample.repeat(1, changes.get("in_channels", 3) // 3, 1, 1, 1)
    labels = torch.tensor([250, 10]) if "class_embed_type" in changes else None

    ours = unet(sample, timestep, text, class_labels=labels).sample[:, :, 0]

    expected = image_model(sample[:, :, 0], timestep, text, class_labels=labels).sample
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_layers_run_convolution_and_attention_each_with_its_temporal_partner_behind_it() -> None:
    unet, order = tiny_show1_unet(), []
    parts = (
        r"(?:down_blocks|up_blocks|mid_block)\.(?:\d\.)?(?:resnets|temp_convs|attentions|temp_attentions)\.\d"
    )
    for name, module in unet.named_modules():
        if re.fullmatch(parts, name):
            module.register_forward_hook(lambda *_, name=name: order.append(name))

    unet(*inputs())

    def layer(block: str, index: int, *, attends: bool) -> list[str]:
        kinds = ("resnets", "temp_convs") + (("attentions", "temp_attentions") if attends else ())
        return [f"{block}.{kind}.{index}" for kind in kinds]

    assert order == [
        *layer("down_blocks.0", 0, attends=False),
        *layer("down_blocks.1", 0, attends=True),
        *layer("mid_block", 0, attends=True),
        *layer("mid_block", 1, attends=False),
        *layer("up_blocks.0", 0, attends=True),
        *layer("up_blocks.0", 1, attends=True),
        *layer("up_blocks.1", 0, attends=False),
        *layer("up_blocks.1", 1, attends=False),
    ]


def test_temporal_attention_has_as_many_heads_as_spatial_attention_has_channels_a_head() -> None:
    unet = tiny_show1_unet()
    level = unet.down_blocks[1]

    assert (level.attentions[0].heads, level.attentions[0].inner_dim // level.attentions[0].heads) == (4, 8)
    for number in (1, 2):
        attention = getattr(level.temp_attentions[0].transformer_blocks[0], f"attn{number}")
        assert (attention.heads, attention.inner_dim // attention.heads) == (8, 4)
        assert not attention.is_cross_attention


def test_frames_know_of_each_other() -> None:
    unet = tiny_show1_unet()
    sample, timestep, text = inputs()
    changed = sample.clone()
    changed[:, :, 2] += 1

    difference = (unet(changed, timestep, text).sample - unet(sample, timestep, text).sample).abs()

    assert difference.amax(dim=(0, 1, 3, 4)).min() > 1e-4


def test_text_and_noise_level_reach_the_prediction() -> None:
    unet = tiny_show1_unet(class_embed_type="timestep")
    sample, timestep, text = inputs()
    prediction = unet(sample, timestep, text, class_labels=torch.tensor([250])).sample

    assert not torch.allclose(prediction, unet(sample, timestep, text.flip(1), torch.tensor([250])).sample)
    assert not torch.allclose(prediction, unet(sample, timestep, text, torch.tensor([10])).sample)


def test_a_published_folder_loads_strictly(tmp_path: Path) -> None:
    unet = tiny_show1_unet(transfromer_in_opt=True, block_out_channels=(32, 32))
    unet.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    published = {
        **json.loads(path.read_text()),
        "_class_name": "UNet3DConditionModel",
        "conv_in_kernel": 3,
        "upcast_attention": False,
        "time_embedding_type": "positional",
        "use_linear_projection": False,
    }
    path.write_text(json.dumps(published))

    loaded, report = Show1UNet.from_pretrained(tmp_path, output_loading_info=True)

    assert not any(report.values())
    torch.testing.assert_close(loaded(*inputs()).sample, unet(*inputs()).sample)
    assert "transformer_in.proj_in.weight" in loaded.state_dict()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D")}, "CrossAttnDownBlock3D, DownBlock3D"),
        ({"mid_block_type": "UNetMidBlock3DCrossAttn"}, "UNetMidBlock3DSimpleCrossAttn"),
        ({"conv_in_kernel": 5}, "conv_in_kernel = 5"),
        ({"class_embed_type": "projection"}, "'projection'"),
    ],
    ids=str,
)
def test_the_configuration_of_another_architecture_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BackendError, match=told):
        Show1UNet.from_config({**TINY, **changes})


@pytest.mark.parametrize(("wanted", "given"), [("timestep", None), (None, torch.tensor([250]))])
def test_the_noise_level_is_passed_exactly_where_it_is_wanted(
    wanted: str | None, given: Tensor | None
) -> None:
    with pytest.raises(BackendError, match="class_embed_type"):
        tiny_show1_unet(class_embed_type=wanted)(*inputs(), class_labels=given)
