"""What every model family promises, whatever it is made of."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    KeySiteError,
    LoadOptions,
    ModelLoadError,
    StepDone,
    StepLosses,
    VideoError,
)
from dreammotion_core.method.distillation import latent_mask
from dreammotion_core.method.editing import EditTask, PromptEmbeds, distill_step
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.models.catalog import find_model, load_backend
from tests.tiny import moving_square
from tests.tiny_families import FAMILIES, Family

FLOAT32 = LoadOptions(torch_dtype=torch.float32)
CONFIG = EditConfig(num_optimization_steps=2, seed=0, preview_interval=0)


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def family(name: str) -> Family:
    return FAMILIES[name]


@pytest.fixture(scope="module")
def backend(family: Family) -> Backend:
    return family.build()


@pytest.fixture(scope="module")
def folder(name: str, family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return family.save(tmp_path_factory.mktemp("models") / name)


@pytest.fixture(scope="module")
def frames(backend: Backend, family: Family) -> Tensor:
    """A clip of the length and size that the model takes."""
    return clip_for(backend, family.num_frames)


@pytest.fixture(scope="module")
def latents(backend: Backend, frames: Tensor) -> Tensor:
    return backend.encode_video(frames)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(backend: Backend) -> Iterator[None]:
    yield
    assert not any(module._forward_hooks for module in backend.denoiser.modules())
    assert all(p.grad is None for p in backend.denoiser.parameters())
    assert torch.is_grad_enabled()


def clip_for(backend: Backend, num_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(num_frames, 3, *backend.spec.fit_size((16, 24)), generator=generator) * 2 - 1


def answer(backend: Backend, latents: Tensor) -> Tensor:
    with torch.no_grad():
        return backend.predict_noise(latents, torch.tensor([500]), backend.encode_prompt("a red car"))


def captured_keys(backend: Backend, latents: Tensor) -> dict[str, Tensor]:
    capture = KeyCapture(
        backend.denoiser,
        backend.key_sites,
        batch_size=1,
        num_frames=latents.shape[2],
        stop_recording=True,
    )
    with capture:
        backend.predict_noise(latents, torch.tensor([500]), backend.encode_prompt("a red car"))
    return dict(capture.keys())


def test_a_denoiser_that_is_right_gives_back_the_drawn_noise(
    backend: Backend, family: Family, latents: Tensor
) -> None:
    latents = torch.cat([latents, latents.flip(-1)])
    noise, timestep = torch.randn_like(latents), torch.tensor([80, 700])
    alpha, sigma = backend.signal_and_noise(timestep, latents)
    right = family.right_answer(latents, noise, alpha, sigma)
    # The real module runs; only what leaves it is replaced by the right answer.
    hook = backend.denoiser.register_forward_hook(lambda _module, _inputs, output: type(output)(sample=right))
    try:
        predicted = backend.predict_noise(
            add_noise(latents, noise, alpha, sigma), timestep, backend.encode_prompt("a car").repeat(2, 1, 1)
        )
    finally:
        hook.remove()

    torch.testing.assert_close(predicted, noise, rtol=1e-4, atol=1e-4)


def test_noise_grows_with_the_timestep(backend: Backend, latents: Tensor) -> None:
    timesteps = torch.tensor([0, 200, 500, 999])

    alpha, sigma = backend.signal_and_noise(timesteps, latents.repeat(4, 1, 1, 1, 1))

    assert alpha.shape == sigma.shape == (4, 1, 1, 1, 1)
    assert (alpha.diff(dim=0) < 0).all()
    assert (sigma.diff(dim=0) > 0).all()
    assert sigma[0] < 0.1
    assert sigma[-1] > 0.95


def test_latents_are_float32_with_a_group_of_frames_for_each_latent_frame(
    backend: Backend, frames: Tensor, latents: Tensor
) -> None:
    groups = backend.frame_groups(len(frames))

    assert latents.dtype == torch.float32
    assert latents.shape[0] == 1
    assert latents.shape[2] == len(groups)
    assert latents.isfinite().all()
    assert [frame for group in groups for frame in group] == sorted(
        {frame for group in groups for frame in group}
    )
    assert groups[0] == range(1)
    assert groups[-1][-1] == len(frames) - 1


def test_a_clip_comes_back_in_its_own_shape(backend: Backend, frames: Tensor, latents: Tensor) -> None:
    decoded = backend.decode_video(latents)

    assert decoded.shape == frames.shape
    assert decoded.dtype == torch.float32


def test_a_mask_reaches_the_latent_frame_of_its_frame_only(
    backend: Backend, frames: Tensor, latents: Tensor
) -> None:
    groups = backend.frame_groups(len(frames))
    for index, group in enumerate(groups):
        mask = np.zeros((len(frames), *frames.shape[-2:]), dtype=bool)
        mask[group[-1], 0, 0] = True

        pooled = latent_mask(mask, latents, groups=groups)

        assert pooled.shape == (1, 1, *latents.shape[2:])
        assert torch.nonzero(pooled).tolist() == [[0, 0, index, 0, 0]]


def test_keys_come_by_frame_and_the_output_stays_bit_identical(backend: Backend, latents: Tensor) -> None:
    plain = answer(backend, latents)

    with torch.no_grad():
        keys = captured_keys(backend, latents)

    assert keys
    for value in keys.values():
        assert value.shape[:2] == (1, latents.shape[2])
        assert value.shape[2] > 1
        assert value.std(dim=2).max() > 0
    assert torch.equal(answer(backend, latents), plain)


def test_keys_of_a_frame_follow_what_the_frame_shows(backend: Backend, latents: Tensor) -> None:
    """Were frames and tokens mixed up, a change of one frame would not change its keys most."""
    changed = latents.clone()
    changed[:, :, 1] += torch.randn_like(changed[:, :, 1])

    with torch.no_grad():
        before, after = captured_keys(backend, latents), captured_keys(backend, changed)

    difference = sum((after[site] - before[site]).square().mean(dim=(0, 2, 3)) for site in before)
    assert difference.argmax() == 1


def test_the_gradient_of_the_keys_reaches_every_latent_frame(backend: Backend, latents: Tensor) -> None:
    variable = latents.clone().requires_grad_()

    keys = captured_keys(backend, variable)
    total = torch.stack([value.float().square().sum() for value in keys.values()]).sum()
    (gradient,) = torch.autograd.grad(total, variable)

    assert gradient.isfinite().all()
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_no_hook_survives_an_error(backend: Backend, latents: Tensor) -> None:
    with pytest.raises(RuntimeError):
        captured_keys(backend, latents[:, :1])


def test_fused_projections_are_noticed(family: Family, latents: Tensor) -> None:
    fused = family.build()
    if not hasattr(fused.denoiser, "fuse_qkv_projections"):
        pytest.skip("this denoiser cannot fuse them")
    fused.denoiser.fuse_qkv_projections()

    with pytest.raises(KeySiteError, match="unfuse_qkv_projections"):
        captured_keys(fused, latents)


def first_step(
    backend: Backend, latents: Tensor, config: EditConfig, *, target: str
) -> tuple[Tensor, StepLosses]:
    source, negative = backend.encode_prompt("a red car"), backend.encode_prompt("")
    task = EditTask(
        source_latents=latents,
        prompt_embeds=PromptEmbeds(source, backend.encode_prompt(target), negative),
        latent_mask=None,
        config=config,
        key_sites=backend.key_sites,
    )
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    return distill_step(backend, task, latents, torch.tensor([500]), noise)


def test_equal_branches_cancel_exactly(backend: Backend, latents: Tensor) -> None:
    gradient, losses = first_step(backend, latents, CONFIG, target="a red car")

    assert not gradient.any()
    assert (losses.appearance, losses.spatial, losses.temporal) == (0, 0, 0)


def test_the_weighting_by_velocity_scales_the_direction_at_the_source(
    backend: Backend, latents: Tensor
) -> None:
    """Both start at the source, where the two weightings differ by a factor of the timestep alone."""
    appearance = CONFIG.with_changes(spatial_weight=0.0, temporal_weight=0.0)
    alpha, sigma = backend.signal_and_noise(torch.tensor([500]), latents)

    directions = []
    for weighting in ("noise", "velocity"):
        config = appearance.with_changes(direction_weighting=weighting)
        directions.append(first_step(backend, latents, config, target="a blue car")[0])
    noise, velocity = directions

    assert noise.any()
    torch.testing.assert_close(velocity, (alpha + sigma) / alpha * noise)


def test_an_edit_runs_and_leaves_the_rest_of_the_clip(backend: Backend, family: Family) -> None:
    video, mask = moving_square(family.num_frames)

    output = DreamMotionPipeline(backend)(
        video, source_prompt="a red car", target_prompt="a blue car", mask=mask, config=CONFIG
    )

    assert output.video.frames.shape == video.frames.shape
    assert output.max_difference_outside == 0
    assert (output.video.frames[mask] != video.frames[mask]).any()
    assert all(step.appearance > 0 and step.spatial >= 0 for step in output.losses)


def test_key_sites_of_ones_own_keep_the_layout_of_the_family(backend: Backend, family: Family) -> None:
    video, mask = moving_square(family.num_frames)
    patterns = tuple(site.pattern for site in backend.key_sites)
    losses = []
    for key_sites in (None, patterns):
        config = CONFIG.with_changes(num_optimization_steps=1, key_sites=key_sites)
        events = DreamMotionPipeline(backend).stream(
            video, source_prompt="a red car", target_prompt="a blue car", mask=mask, config=config
        )
        losses.append(next(event.losses for event in events if isinstance(event, StepDone)))
        events.close()

    assert losses[0] == losses[1]
    assert losses[0].spatial > 0


def networks_of(owner: object) -> Iterator[torch.nn.Module]:
    """All networks that an object of this project holds, itself or in a part of it."""
    for value in vars(owner).values():
        if isinstance(value, torch.nn.Module):
            yield value
        elif type(value).__module__.startswith("dreammotion_core") and hasattr(value, "__dict__"):
            yield from networks_of(value)


def test_all_parts_are_frozen_and_in_evaluation_mode(backend: Backend) -> None:
    networks = set(networks_of(backend))

    assert len(networks) >= 2
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_long_prompts_are_cut_with_a_notice(backend: Backend) -> None:
    (notice,) = backend.check_prompt("a red car on the road " * 60)

    assert notice.code == "prompt_truncated"
    assert backend.encode_prompt("a red car on the road " * 60).shape == backend.encode_prompt("a").shape


def test_gradient_checkpointing_changes_nothing(folder: Path, latents: Tensor) -> None:
    gradients = []
    for checkpointing in (False, True):
        backend = load_backend(
            str(folder),
            options=LoadOptions(torch_dtype=torch.float32, gradient_checkpointing=checkpointing),
        )
        variable = latents.clone().requires_grad_()
        keys = captured_keys(backend, variable)
        total = torch.stack([value.square().sum() for value in keys.values()]).sum()
        gradients += torch.autograd.grad(total, variable)

    torch.testing.assert_close(*gradients)


def test_what_does_not_fit_is_computed_again_to_the_same_gradient(backend: Backend, latents: Tensor) -> None:
    gradients, kept = [], []
    try:
        for _ in range(2):
            variable, sizes = latents.clone().requires_grad_(), []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda tensor, sizes=sizes: sizes.append(tensor.nbytes) or tensor, lambda tensor: tensor
            ):
                keys = captured_keys(backend, variable)
            total = torch.stack([value.square().sum() for value in keys.values()]).sum()
            gradients += torch.autograd.grad(total, variable)
            kept.append(sum(sizes))
            assert backend.checkpointing.spare() == (len(kept) == 1)
    finally:
        backend.checkpointing.relax()

    torch.testing.assert_close(*gradients)
    assert kept[1] < 0.5 * kept[0]


# Loading.


def test_a_saved_model_answers_like_the_original_without_a_network(
    backend: Backend, folder: Path, latents: Tensor, frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a model in a folder needs no network")

    monkeypatch.setattr(socket, "socket", refuse)
    loaded = load_backend(str(folder), options=FLOAT32)

    torch.testing.assert_close(answer(loaded, latents), answer(backend, latents), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loaded.encode_video(frames), latents, rtol=1e-4, atol=1e-5)
    assert loaded.spec.size_multiple == backend.spec.size_multiple
    assert loaded.spec.frame_step == backend.spec.frame_step


def test_half_precision_weights_answer_in_single_precision(folder: Path, frames: Tensor) -> None:
    backend = load_backend(str(folder), options=LoadOptions(torch_dtype=torch.bfloat16))
    latents = backend.encode_video(frames)

    assert backend.spec.precision == "bfloat16"
    assert backend.denoiser.dtype == torch.bfloat16
    assert latents.dtype == answer(backend, latents).dtype == torch.float32
    assert backend.decode_video(latents).dtype == torch.float32


def test_float16_on_a_processor_without_it_says_what_to_do(
    folder: Path, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "dreammotion_core.models.placement.cpu_capabilities"
    monkeypatch.setattr(asked, lambda: {"architecture": "x86_64"})
    backend = load_backend(str(folder), options=LoadOptions(torch_dtype=torch.float16))

    with pytest.raises(ConfigError, match=r"float16.*bfloat16 or float32"):
        answer(backend, latents)


def test_every_missing_part_is_named(folder: Path, tmp_path: Path) -> None:
    for part in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        broken = shutil.copytree(folder, tmp_path / part)
        shutil.rmtree(broken / part)
        if part == "scheduler" and find_model(str(folder)).family == "wan":
            continue

        with pytest.raises(ModelLoadError, match=rf"lacks {part}"):
            load_backend(str(broken))


def test_half_downloaded_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for weights in sorted(folder.glob("*/*.safetensors")):
        part = weights.parent.name
        broken = shutil.copytree(folder, tmp_path / part)
        path = broken / part / weights.name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

        with pytest.raises(ModelLoadError, match=rf"{part} in .*half-downloaded"):
            load_backend(str(broken))


def test_a_missing_shard_is_refused(folder: Path, family: Family, backend: Backend, tmp_path: Path) -> None:
    part = family.denoiser_folder
    broken = shutil.copytree(folder, tmp_path / "broken")
    shutil.rmtree(broken / part)
    backend.denoiser.save_pretrained(broken / part, max_shard_size="50KB")
    assert load_backend(str(broken)).spec.family
    next((broken / part).glob("*00002-of-*.safetensors")).unlink()

    with pytest.raises(ModelLoadError, match=rf"{part} in .*half-downloaded"):
        load_backend(str(broken))


@pytest.mark.parametrize("setting", ["guidance_embeds", "time_cond_proj_dim"])
def test_a_model_distilled_from_guidance_is_refused(
    folder: Path, family: Family, tmp_path: Path, setting: str
) -> None:
    distilled = shutil.copytree(folder, tmp_path / "distilled")
    path = distilled / family.denoiser_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: 8}))

    with pytest.raises(ModelLoadError, match=r"guidance-distilled.*distilled from"):
        load_backend(str(distilled))


def test_a_folder_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    manifest = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (other / "model_index.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelLoadError, match=r"StableDiffusionPipeline.*not a text-to-video model"):
        load_backend(str(other))


def test_lengths_that_the_family_cannot_take_name_those_next_to_them(
    backend: Backend, family: Family
) -> None:
    if backend.spec.frame_step == 1:
        pytest.skip("this family takes any number of frames")
    video, mask = moving_square(family.num_frames + 1)

    with pytest.raises(VideoError, match=f"pass {family.num_frames} or {family.num_frames + 4}"):
        DreamMotionPipeline(backend)(
            video, source_prompt="a red car", target_prompt="a blue car", mask=mask, config=CONFIG
        )


def test_too_short_a_clip_is_told_the_shortest_that_works(backend: Backend) -> None:
    step = backend.spec.frame_step
    if step == 1:
        pytest.skip("this family takes any number of frames")

    with pytest.raises(VideoError, match=f"of them: pass {step + 1}$"):
        backend.spec.check_length(2)


def test_sizes_that_do_not_suit_the_grid_are_refused(backend: Backend, frames: Tensor) -> None:
    multiple = backend.spec.size_multiple

    with pytest.raises(VideoError, match=f"multiples of {multiple}"):
        backend.encode_video(frames[..., : multiple + 1])
