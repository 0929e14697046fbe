"""AnimateDiff: what is its own. What all families promise is in `test_family_contract`."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel

from dreammotion_core import ModelLoadError
from dreammotion_core.method.keys import matching_modules
from dreammotion_core.models.catalog import find_model, load_backend
from dreammotion_core.models.unet3d import KEY_SITES, UNet3DBackend
from tests.tiny_animatediff import save_tiny_animatediff, tiny_animatediff


@pytest.fixture(scope="module")
def backend() -> UNet3DBackend:
    return tiny_animatediff()


@torch.no_grad()
def test_the_motion_modules_let_the_frames_see_each_other(backend: UNet3DBackend) -> None:
    latents, embeds = torch.randn(1, 4, 5, 8, 8), backend.encode_prompt("a red car")
    changed = latents.clone()
    changed[:, :, 3] *= -1

    before, after = (backend.predict_noise(z, torch.tensor([500]), embeds) for z in (latents, changed))

    assert ((after - before).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).all()


@torch.no_grad()
def test_every_clip_of_a_batch_reads_its_own_prompt(backend: UNet3DBackend) -> None:
    latents = torch.randn(2, 4, 3, 8, 8)
    embeds = torch.cat([backend.encode_prompt(prompt) for prompt in ("a red car", "the blue ball")])
    timestep = torch.tensor([500])

    together = backend.predict_noise(latents, timestep.repeat(2), embeds)
    alone = [backend.predict_noise(z[None], timestep, e[None]) for z, e in zip(latents, embeds, strict=True)]

    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_clips_are_no_longer_than_the_motion_modules_know(tmp_path: Path) -> None:
    folder = str(save_tiny_animatediff(tmp_path))

    assert find_model(folder).family == "animatediff"
    assert find_model(folder).max_frames == 13
    assert load_backend(folder).spec.max_frames == 9


def test_key_sites_exist_in_a_model_of_the_exact_shape() -> None:
    """Stable Diffusion 1.5 with the motion modules made for it."""
    with torch.device("meta"):
        image_unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8, in_channels=4
        )
        adapter = MotionAdapter(use_motion_mid_block=False)
        motion_unet = UNetMotionModel.from_unet2d(image_unet, adapter, load_weights=False)

    names = list(matching_modules(motion_unet, KEY_SITES))

    assert sum(p.numel() for p in image_unet.parameters()) == 859_520_964
    assert len(names) == 9
    assert not any("motion_modules" in name for name in names)


def test_the_noise_schedule_of_an_image_model_is_refused_until_it_is_linear(tmp_path: Path) -> None:
    of_images = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    folder = str(save_tiny_animatediff(tmp_path))
    of_images.save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ModelLoadError, match=r'scaled_linear.*write "beta_schedule": "linear" there'):
        load_backend(folder)

    # As docs/models.md makes a folder.
    fitting = DDIMScheduler.from_pretrained(
        folder,
        subfolder="scheduler",
        beta_schedule="linear",
        clip_sample=False,
        timestep_spacing="linspace",
        steps_offset=1,
    )
    fitting.save_pretrained(tmp_path / "scheduler")
    alpha, sigma = load_backend(folder).signal_and_noise(torch.tensor([500]), torch.zeros(1, 4, 1, 1, 1))

    assert (sigma / alpha).item() == pytest.approx(2.285, abs=1e-3)
