from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dreammotion_core import DreamMotionPipeline, EditConfig, LoadOptions, ModelLoadError, Video
from dreammotion_core.models.frame_vae import FrameAutoencoder
from dreammotion_core.models.video_transformer import VideoCodec
from tests.tiny_video import save_parts, tiny_wan_parts


def tiny_frame_vae() -> FrameAutoencoder:
    """Small, with weights that are not at their start."""
    torch.manual_seed(0)
    vae = FrameAutoencoder(
        z_dim=4,
        encoder_channels=(8, 8),
        decoder_channels=(8, 8),
        latents_mean=[0.5] * 4,
        latents_std=[2.0] * 4,
    )
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return vae.eval().requires_grad_(False)


def clip(num_frames: int) -> torch.Tensor:
    return torch.rand(1, 3, num_frames, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_every_frame_has_a_latent_frame_of_its_own(num_frames: int) -> None:
    vae, video = tiny_frame_vae(), clip(num_frames)

    latents = vae.encode(video).latent_dist.mean
    decoded = vae.decode(latents).sample

    assert latents.shape == (1, 4, num_frames, 2, 3)
    assert decoded.shape == video.shape
    assert decoded.abs().max() <= 1
    alone = vae.encode(video[:, :, -1:]).latent_dist.mean
    torch.testing.assert_close(latents[:, :, -1:], alone)
    torch.testing.assert_close(decoded[:, :, -1:], vae.decode(alone).sample)


def test_the_distribution_has_no_spread() -> None:
    distribution = tiny_frame_vae().encode(clip(2)).latent_dist

    assert torch.equal(distribution.sample(), distribution.mean)


def test_the_networks_begin_by_adding_nothing_to_the_linear_maps() -> None:
    vae, pictures = FrameAutoencoder(), clip(2)[0].transpose(0, 1)
    cells = torch.nn.functional.pixel_unshuffle(pictures, 8)

    latents = vae.encode_pictures(pictures)

    assert torch.equal(latents, vae.project(cells))
    linear = torch.nn.functional.pixel_shuffle(vae.unproject(latents), 8)
    assert torch.equal(vae.decode_pictures(latents), linear)


def test_the_codec_scales_its_latents(tmp_path: Path) -> None:
    vae, video = tiny_frame_vae(), clip(5)
    vae.save_pretrained(tmp_path)
    codec = VideoCodec(FrameAutoencoder.from_pretrained(tmp_path))
    frames = video[0].transpose(0, 1)

    latents = codec.encode(frames, device=torch.device("cpu"))
    decoded = codec.decode(latents, device=torch.device("cpu"))

    assert (codec.frame_step, codec.stride) == (1, 8)
    assert [len(group) for group in codec.frame_groups(5)] == [1] * 5
    raw = vae.encode(video).latent_dist.mean
    torch.testing.assert_close(latents, (raw - 0.5) / 2)
    torch.testing.assert_close(decoded, vae.decode(raw).sample[0].transpose(0, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of Wan's kind over latents of single frames."""
    parts = tiny_wan_parts() | {"vae": tiny_frame_vae()}
    return save_parts(parts, tmp_path, pipeline="WanPipeline", frame_step=1)


def test_a_model_over_it_edits_clips_of_any_length(folder: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(str(folder), options=LoadOptions.low_memory())
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    mask = np.zeros((3, 32, 32), bool)
    mask[:, 8:24, 8:24] = True

    output = pipe(
        Video(frames, 8.0),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=mask,
        config=EditConfig(num_optimization_steps=1, preview_interval=0),
    )

    assert output.frames.shape == frames.shape


def test_weights_that_are_missing_or_unknown_are_refused(folder: Path) -> None:
    path = next((folder / "vae").glob("*.safetensors"))
    weights = load_file(path)
    renamed = {"other" if name == "project.bias" else name: value for name, value in weights.items()}
    save_file(renamed, path, metadata={"format": "pt"})

    with pytest.raises(ModelLoadError, match="vae"):
        DreamMotionPipeline.from_pretrained(str(folder))
