from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreammotion_core.models.video_vae import TILE_SIZE, VideoAutoencoder


def tiny_video_vae() -> VideoAutoencoder:
    """Random weights, and temporal networks that are more than linear."""
    torch.manual_seed(0)
    vae = VideoAutoencoder(
        block_out_channels=(4, 8),
        norm_num_groups=2,
        image_latent_channels=3,
        z_dim=5,
        hidden_channels=8,
        num_layers=1,
        scale_factor_spatial=2,
        latents_mean=[0.5] * 5,
    )
    for network in (vae.temporal_encoder, vae.temporal_decoder):
        torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    return vae.eval().requires_grad_(False)


def clip(num_frames: int) -> Tensor:
    """(1, 3, F, 8, 12) in [-1, 1]."""
    return torch.rand(1, 3, num_frames, 8, 12) * 2 - 1


@pytest.mark.parametrize(("num_frames", "latent_frames"), [(1, 1), (5, 2), (9, 3)])
def test_every_latent_frame_after_the_first_stands_for_four(num_frames: int, latent_frames: int) -> None:
    vae = tiny_video_vae()

    latents = vae.encode(clip(num_frames)).latent_dist.mean
    decoded = vae.decode(latents).sample

    assert latents.shape == (1, 5, latent_frames, 4, 6)
    assert decoded.shape == (1, 3, num_frames, 8, 12)
    assert decoded.abs().max() <= 1


@pytest.mark.parametrize("num_frames", [2, 4, 8])
def test_other_lengths_are_refused(num_frames: int) -> None:
    with pytest.raises(ValueError, match=rf"got {num_frames} frames; pass 4 k \+ 1, such as"):
        tiny_video_vae().encode(clip(num_frames))


def test_no_latent_frame_depends_on_a_later_picture() -> None:
    vae, video = tiny_video_vae(), clip(9)
    changed = video.clone()
    changed[:, :, 5:] = -changed[:, :, 5:]

    before, after = (vae.encode(v).latent_dist.mean for v in (video, changed))

    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.equal(before[:, :, 2], after[:, :, 2])


def test_no_picture_depends_on_a_later_latent_frame() -> None:
    vae = tiny_video_vae()
    latents = torch.randn(1, 5, 3, 4, 6)
    changed = latents.clone()
    changed[:, :, 2] += 1

    before, after = (vae.decode(z).sample for z in (latents, changed))

    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert not torch.equal(before[:, :, 5:], after[:, :, 5:])


def test_a_clip_in_which_nothing_moves_has_the_latents_of_its_picture() -> None:
    vae, picture = tiny_video_vae(), clip(1)

    still = vae.encode(picture.expand(-1, -1, 9, -1, -1)).latent_dist.mean

    assert torch.allclose(still, vae.encode(picture).latent_dist.mean.expand_as(still), atol=1e-5)


def test_a_batch_is_encoded_and_decoded_clip_by_clip() -> None:
    vae = tiny_video_vae()
    videos = torch.cat([clip(5), clip(5)])

    latents = vae.encode(videos).latent_dist.mean

    assert torch.allclose(latents[1:], vae.encode(videos[1:]).latent_dist.mean, atol=1e-5)
    assert torch.allclose(vae.decode(latents).sample[1:], vae.decode(latents[1:]).sample, atol=1e-5)


def test_a_saved_autoencoder_is_loaded_with_its_statistics(tmp_path: Path) -> None:
    vae = tiny_video_vae()
    vae.save_pretrained(tmp_path)

    loaded = VideoAutoencoder.from_pretrained(tmp_path)

    latents = torch.randn(1, 5, 2, 4, 6)
    assert torch.equal(loaded.decode(latents).sample, vae.decode(latents).sample)
    assert loaded.config.latents_mean == [0.5] * 5
    assert loaded.config.latents_std == [1.0] * 5
    assert loaded.config.scale_factor_temporal == 4
    assert loaded.config.scale_factor_spatial == 2


def test_a_stride_that_the_levels_do_not_make_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale_factor_spatial is 8, and 2 levels .* make 2; change one"):
        VideoAutoencoder(block_out_channels=(4, 8), norm_num_groups=2, scale_factor_spatial=8)


def test_tiles_are_made_of_large_pictures_only() -> None:
    vae, small, large = tiny_video_vae(), clip(5), torch.rand(1, 3, 1, TILE_SIZE + 8, 8) * 2 - 1
    whole = [vae.encode(video).latent_dist.mean for video in (small, large)]

    vae.enable_tiling()
    tiled = [vae.encode(video).latent_dist.mean for video in (small, large)]

    assert torch.equal(tiled[0], whole[0])
    assert not torch.equal(tiled[1], whole[1])
    torch.testing.assert_close(tiled[1], whole[1], rtol=0, atol=0.5)
    torch.testing.assert_close(tiled[1].mean(), whole[1].mean(), rtol=0, atol=0.05)
    assert vae.decode(tiled[1]).sample.shape == large.shape
