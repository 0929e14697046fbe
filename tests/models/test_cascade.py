"""The cascade backend: what is optimised, and what the later stages make of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet3DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreammotion_core import DreamMotionPipeline, EditConfig, ModelLoadError
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import RenderedStage
from dreammotion_core.models.cascade.backend import CascadeBackend
from dreammotion_core.models.cascade.manifest import CascadeManifest
from dreammotion_core.models.cascade.stages import (
    Draws,
    Guidance,
    PixelStage,
    blended,
    count_heads_as_show1,
    enlarged,
    redraw,
    super_resolve,
    windows,
)
from dreammotion_core.models.catalog import find_model, load_backend
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.values import StageDone
from tests.tiny import moving_square, tiny_parts
from tests.tiny_cascade import MANIFEST, save_tiny_cascade, tiny_cascade

PROMPTS = {"source_prompt": "a red car on the road", "target_prompt": "a blue car on the road"}
STAGES = ("key-frames", "interpolation", "super-resolution", "latent-super-resolution")


@pytest.fixture(scope="module")
def backend() -> CascadeBackend:
    return tiny_cascade()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cascade(tmp_path_factory.mktemp("models") / "cascade")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "models" / "cascade"))


@pytest.fixture(scope="module")
def key_frames() -> Tensor:
    return torch.rand(1, 3, 3, 8, 12, generator=torch.Generator().manual_seed(5)) * 2 - 1


def rendered(backend: CascadeBackend, key_frames: Tensor, *, seed: int = 3) -> dict[str, Tensor]:
    stages = backend.render(
        key_frames,
        size=(32, 48),
        prompt="a blue car",
        negative_prompt="",
        generator=torch.Generator().manual_seed(seed),
    )
    return {stage.name: stage.frames for stage in stages}


@pytest.fixture(scope="module")
def drawn(backend: CascadeBackend, key_frames: Tensor) -> dict[str, Tensor]:
    """Name of a later stage -> what it makes of the key frames, with the usual seed."""
    return rendered(backend, key_frames)


def calls_of(module: torch.nn.Module, run: Callable[[], Any]) -> list[tuple[Tensor, Tensor, dict[str, Any]]]:
    """(sample, timesteps, keyword arguments) of every call of a U-Net while something runs."""
    calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []
    handle = module.register_forward_pre_hook(
        lambda _, arguments, named: calls.append((*arguments, named)), with_kwargs=True
    )
    try:
        run()
    finally:
        handle.remove()
    return calls


# --- What is optimised ---


def test_every_fourth_frame_is_a_key_frame(backend: CascadeBackend) -> None:
    frames = torch.rand(9, 3, 32, 48) * 2 - 1

    latents = backend.encode_video(frames)

    assert latents.shape == (1, 3, 3, 8, 12)
    # The mean survives being made small; pixel noise does not, as it would without antialiasing.
    torch.testing.assert_close(latents[0, :, 1].mean((1, 2)), frames[4].mean((1, 2)), rtol=0, atol=0.05)
    assert latents.std() < 0.6 * frames.std()
    assert backend.frame_groups(9) == [range(0, 1), range(4, 5), range(8, 9)]


def test_a_smaller_grid_has_smaller_key_frames(backend: CascadeBackend) -> None:
    latents = backend.encode_video(torch.zeros(5, 3, 16, 24))

    assert latents.shape == (1, 3, 2, 4, 6)
    assert backend.decode_video(latents).shape == (5, 3, 16, 24)


def test_the_quick_look_holds_the_key_frames_and_mixtures_of_them(
    backend: CascadeBackend, key_frames: Tensor
) -> None:
    frames = backend.decode_video(key_frames)

    assert frames.shape == (9, 3, 32, 48)
    torch.testing.assert_close(frames[::4, ..., 2::4, 2::4], key_frames[0].transpose(0, 1), rtol=0, atol=0.5)
    torch.testing.assert_close(frames[2], (frames[0] + frames[4]) / 2)


def test_the_noise_is_that_of_the_published_schedule(backend: CascadeBackend, key_frames: Tensor) -> None:
    noise, timestep = torch.randn_like(key_frames), torch.tensor([700])

    noisy = add_noise(key_frames, noise, *backend.signal_and_noise(timestep, key_frames))

    schedule = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    torch.testing.assert_close(noisy, schedule.add_noise(key_frames, noise, timestep))


def test_keys_are_those_of_the_picture_in_the_decoder(backend: CascadeBackend, key_frames: Tensor) -> None:
    leaf = key_frames.clone().requires_grad_()
    with KeyCapture(backend.denoiser, backend.key_sites, batch_size=1, num_frames=3) as capture:
        backend.predict_noise(leaf, torch.tensor([500]), backend.encode_prompt("a car"))
    keys = capture.keys()

    assert set(keys) == {f"up_blocks.0.attentions.{index}.to_k" for index in (0, 1)}
    assert {tuple(value.shape) for value in keys.values()} == {(1, 3, 4 * 6, 32)}
    sum(value.square().sum() for value in keys.values()).backward()  # type: ignore[union-attr]
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


def test_prompts_are_read_in_small_letters(backend: CascadeBackend) -> None:
    assert torch.equal(backend.encode_prompt(" A Red Car "), backend.encode_prompt("a red car"))
    assert not torch.equal(backend.encode_prompt("a blue car"), backend.encode_prompt("a red car"))
    assert [notice.code for notice in backend.check_prompt("a purple car")] == ["unknown_words"]


# --- The later stages ---


@pytest.mark.parametrize("num_frames", [2, 5, 8, 9, 17, 29, 57])
@pytest.mark.parametrize("longest", [2, 4, 5, 8])
def test_windows_cover_the_clip_and_share_one_frame(num_frames: int, longest: int) -> None:
    found = windows(num_frames, longest=longest)

    assert found[0].start == 0
    assert found[-1].stop == num_frames
    for before, after in pairwise(found):
        assert after.start == before.stop - 1
    assert 2 <= min(map(len, found)) <= max(map(len, found)) <= longest
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_the_published_lengths_give_the_published_windows() -> None:
    assert windows(29, longest=8) == [range(start, start + 8) for start in (0, 7, 14, 21)]
    assert windows(29, longest=5) == [range(start, start + 5) for start in range(0, 28, 4)]


def test_every_stage_has_its_size_and_length(drawn: dict[str, Tensor]) -> None:
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {
        "interpolation": (9, 3, 8, 12),
        "super-resolution": (9, 3, 16, 24),
        "latent-super-resolution": (9, 3, 32, 48),
    }
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in drawn.values())


def test_the_generator_decides_what_is_drawn(
    backend: CascadeBackend, key_frames: Tensor, drawn: dict[str, Tensor]
) -> None:
    again, other = (rendered(backend, key_frames, seed=seed) for seed in (3, 4))

    for name in STAGES[1:]:
        assert torch.equal(drawn[name], again[name])
        assert not torch.allclose(drawn[name], other[name])


def test_interpolation_sees_the_pair_blended_and_where_it_stands(
    backend: CascadeBackend, key_frames: Tensor
) -> None:
    assert backend.stages.interpolation is not None
    calls = calls_of(backend.stages.interpolation.unet, lambda: rendered(backend, key_frames))

    assert len(calls) == 2 * 2  # windows times steps
    first, _, second, _ = (call[0] for call in calls)
    assert first.shape == (2, 7, 5, 8, 12)
    assert torch.equal(first[:, :3], second[:, :3])  # all windows begin with the same noise
    pairs = [key_frames[0].transpose(0, 1)[start : start + 2] for start in (0, 1)]
    for sample, pair in zip((first, second), pairs, strict=True):
        torch.testing.assert_close(sample[0, 3:6].transpose(0, 1), blended(pair))
        assert sample[0, 6].mean((1, 2)).tolist() == [1, 0, 0, 0, 1]


class Recording(PixelStage):
    """Keeps what it was given and what it made."""

    def sample(self, noise: Tensor, **named: Any) -> Tensor:
        made = super().sample(noise, **named)
        vars(self).setdefault("calls", []).append((noise, named["condition"], made))
        return made


def test_super_resolution_begins_every_window_with_a_frame_that_is_drawn_already(
    backend: CascadeBackend,
) -> None:
    assert backend.stages.super_resolution is not None
    of_clips = backend.stages.super_resolution[1]
    stage = Recording(of_clips.unet, of_clips.scheduler)
    frames, first = torch.rand(9, 3, 8, 12), torch.rand(1, 3, 16, 24)

    result = super_resolve(
        stage,
        frames,
        first,
        settings=backend.manifest.super_resolution,  # type: ignore[arg-type]
        guidance=Guidance(backend.encode_prompt("a car"), backend.encode_prompt("")),
        draws=Draws(torch.Generator().manual_seed(0)),
    )

    calls = vars(stage)["calls"]
    found = windows(9, longest=4)
    drawn_before = [first[0], *(made[-1] for _, _, made in calls)]
    alpha_bar = backend.scheduler.alphas_cumprod[250].item()
    assert len(calls) == len(found)
    for (noise, condition, made), window, start in zip(calls, found, drawn_before, strict=False):
        assert torch.equal(noise, calls[0][0][: len(window)])
        assert torch.equal(condition[0], start)
        added = condition[1:] - enlarged(frames, scale=2)[window.start + 1 : window.stop] * alpha_bar**0.5
        assert added.std().item() == pytest.approx((1 - alpha_bar) ** 0.5, rel=0.1)
        assert torch.equal(result[window.start : window.stop - 1], made[:-1])


def test_the_video_unet_is_told_the_noise_level(backend: CascadeBackend, key_frames: Tensor) -> None:
    assert backend.stages.super_resolution is not None
    calls = calls_of(backend.stages.super_resolution[1].unet, lambda: rendered(backend, key_frames))

    assert {tuple(named["class_labels"].tolist()) for *_, named in calls} == {(250, 250)}
    assert {tuple(sample.shape[:2]) for sample, *_ in calls} == {(2, 6)}


def test_the_image_model_enlarges_the_first_frame_alone(backend: CascadeBackend, key_frames: Tensor) -> None:
    assert backend.stages.super_resolution is not None
    calls = calls_of(backend.stages.super_resolution[0].unet, lambda: rendered(backend, key_frames))

    assert [tuple(sample.shape) for sample, *_ in calls] == [(2, 6, 16, 24)] * 2
    assert all(named["class_labels"].tolist() == [150, 150] for *_, named in calls)


def test_the_last_stage_runs_a_part_of_the_schedule_from_the_noise_of_its_begin(
    backend: CascadeBackend, key_frames: Tensor
) -> None:
    assert backend.stages.latent is not None
    found: dict[str, Tensor] = {}
    calls = calls_of(backend.stages.latent.denoiser, lambda: found.update(rendered(backend, key_frames)))

    assert len(calls) == 2  # half of four steps
    assert calls[0][0].shape == (2, 4, 9, 16, 24)
    small = found["super-resolution"]
    source = backend.stages.latent.encode_video(
        torch.nn.functional.interpolate(small, (32, 48), mode="bicubic", antialias=True).clamp(-1, 1)
    )
    noisy, timesteps, *_ = calls[0]
    alpha, sigma = backend.stages.latent.signal_and_noise(timesteps[:1], source)
    assert 400 <= timesteps[0] < 800
    assert (noisy[:1] - alpha * source).std().item() == pytest.approx(sigma.item(), rel=0.05)


@pytest.mark.parametrize(("users", "read"), [("", "blur"), ("ugly, " * 9, "blur, " + "ugly, " * 9)])
def test_the_words_of_the_last_stage_come_before_the_users_and_are_not_cut(
    backend: CascadeBackend, monkeypatch: pytest.MonkeyPatch, users: str, read: str
) -> None:
    latent, settings = backend.stages.latent, backend.manifest.latent_super_resolution
    assert latent is not None
    assert settings is not None
    encode, asked = latent.encode_prompt, []
    monkeypatch.setattr(latent, "encode_prompt", lambda prompt: asked.append(prompt) or encode(prompt))

    redraw(
        latent,
        torch.zeros(2, 3, 4, 6),
        size=(8, 12),
        settings=settings,
        prompts=("a blue car", users),
        draws=Draws(torch.Generator().manual_seed(0)),
    )

    assert asked == ["a blue car", read]


def test_guidance_goes_beyond_the_prompt_and_can_be_left_out() -> None:
    prompt, negative = torch.ones(1, 2, 4), torch.zeros(1, 2, 4)
    predictions = torch.tensor([[1.0], [3.0]])

    assert Guidance(prompt, negative, 4.0).embeds.shape == (2, 2, 4)
    assert Guidance(prompt, negative, 4.0).combine(predictions).item() == 1 + 4 * (3 - 1)
    assert torch.equal(Guidance(prompt, negative, 1.0).embeds, prompt)
    assert Guidance(prompt, negative, 1.0).combine(predictions[1:]).item() == 3


@pytest.mark.parametrize(("variance_type", "channels"), [("learned_range", 6), ("fixed_small", 3)])
def test_a_scheduler_gets_the_variance_only_if_it_reads_it(
    backend: CascadeBackend, monkeypatch: pytest.MonkeyPatch, variance_type: str, channels: int
) -> None:
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type=variance_type)
    assert backend.stages.super_resolution is not None
    stage = PixelStage(backend.stages.super_resolution[0].unet, scheduler)
    seen: list[Tensor] = []
    step = scheduler.step
    monkeypatch.setattr(
        scheduler, "step", lambda given, *rest, **more: seen.append(given) or step(given, *rest, **more)
    )

    stage.sample(
        torch.randn(1, 3, 8, 12),
        condition=torch.zeros(1, 3, 8, 12),
        settings=backend.manifest.super_resolution.first_frame,  # type: ignore[union-attr]
        guidance=Guidance(backend.encode_prompt("a car"), backend.encode_prompt("")),
        draws=Draws(torch.Generator().manual_seed(0)),
        noise_level=150,
    )

    assert {given.shape for given in seen} == {(1, channels, 8, 12)}


# --- Through the pipeline ---


def test_a_scaled_edit_scales_every_stage(backend: CascadeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    video, mask = moving_square(5, (32, 48))
    sizes: list[tuple[int, ...]] = []
    render = backend.render

    def watched(*arguments: Any, **named: Any) -> Iterator[RenderedStage]:
        for stage in render(*arguments, **named):
            sizes.append(tuple(stage.frames.shape[-2:]))
            yield stage

    monkeypatch.setattr(backend, "render", watched)
    config = EditConfig(num_optimization_steps=1, seed=1, preview_interval=0, resolution_scale=0.5)
    DreamMotionPipeline(backend)(video, **PROMPTS, mask=mask, config=config)

    assert sizes == [(4, 6), (8, 12), (16, 24)]


@pytest.mark.parametrize("last_stage", [*STAGES, None])
def test_an_edit_stops_after_the_stage_asked_for_and_leaves_the_background(
    backend: CascadeBackend, last_stage: str | None
) -> None:
    video, mask = moving_square(9, (32, 48))
    config = EditConfig(num_optimization_steps=1, seed=1, last_stage=last_stage, preview_interval=0)

    events = list(DreamMotionPipeline(backend).stream(video, **PROMPTS, mask=mask, config=config))

    last = len(STAGES) if last_stage is None else STAGES.index(last_stage) + 1
    assert [event.name for event in events if isinstance(event, StageDone)] == list(STAGES[1:last])
    output = events[-1].output  # type: ignore[union-attr]
    assert output.max_difference_outside == 0
    assert not np.array_equal(output.video.frames[mask], video.frames[mask])


# --- Loading ---


def test_a_folder_loads_as_a_cascade(folder: Path, key_frames: Tensor, drawn: dict[str, Tensor]) -> None:
    loaded = load_backend(str(folder), options=LoadOptions(torch_dtype=torch.float32))

    assert isinstance(loaded, CascadeBackend)
    assert loaded.spec.stages == STAGES
    assert (loaded.spec.frame_step, loaded.spec.keeps_detail, loaded.spec.size_multiple) == (4, False, 4)
    for name, frames in rendered(loaded, key_frames).items():
        torch.testing.assert_close(frames, drawn[name])


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in manifest.items() if value is not None}))


def test_a_cascade_may_end_early(copied: Path) -> None:
    shutil.rmtree(copied / "video")
    rewrite_manifest(copied, **{"super-resolution": None, "latent-super-resolution": None, "stages": None})

    loaded = load_backend(str(copied))

    assert loaded.spec.stages == ("key-frames", "interpolation")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": None}, "lacks text"),
        ({"interpolation": None}, "but not interpolation, which they need"),
        ({"interpolation": {"source": "."}}, "it needs guidance_scale, num_inference_steps, source"),
        ({"key-frames": {"source": ".", "size": [8, 12], "colour": 1}}, "colour for KeyFrameSettings"),
        ({"key-frames": {"source": "../../elsewhere", "size": [8, 12]}}, "lies outside"),
        ({"key-frames": {"source": "nowhere", "size": [8, 12]}}, "lacks nowhere, which its manifest names"),
        ({"key-frames": {"source": "interpolation", "size": [8, 12]}}, "7 channels in; this stage .* has 3"),
        ({"key-frames": {"source": "latent", "size": [8, 12]}}, "cannot be used: .*CrossAttnDownBlock3D"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_manifest_that_cannot_be_used_is_explained(
    copied: Path, changes: dict[str, Any], told: str
) -> None:
    rewrite_manifest(copied, **changes)

    with pytest.raises(ModelLoadError, match=told):
        load_backend(str(copied))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("text", "source", 5),
        ("text", "max_tokens", 0),
        ("text", "mask_padding", "no"),
        ("key-frames", "size", ["a", "b"]),
        ("key-frames", "size", [8]),
        ("key-frames", "size", 8),
        ("interpolation", "num_inference_steps", 0),
        ("interpolation", "num_inference_steps", "5"),
        ("interpolation", "guidance_scale", None),
        ("super-resolution", "window", 1),
        ("super-resolution", "scale", 0),
        ("super-resolution", "noise_level", 5000),
        ("super-resolution", "first_frame", None),
        ("latent-super-resolution", "strength", 2.0),
        ("latent-super-resolution", "strength", "x"),
        ("latent-super-resolution", "negative_prompt", None),
    ],
)
def test_settings_that_a_stage_cannot_have_are_refused_when_they_are_read(
    section: str, name: str, value: object
) -> None:
    changed = MANIFEST | {section: MANIFEST[section] | {name: value}}

    with pytest.raises(ModelLoadError, match=r"the manifest of the cascade gives .*Settings"):
        CascadeManifest.read(changed)


def test_the_settings_of_the_first_frame_are_looked_at_too() -> None:
    larger = MANIFEST["super-resolution"]
    changed = larger | {"first_frame": larger["first_frame"] | {"noise_level": 1000}}

    with pytest.raises(ModelLoadError, match=r"FirstFrameSettings .*noise_level is 1000; .*from 0 to 999"):
        CascadeManifest.read(MANIFEST | {"super-resolution": changed})


def test_a_part_may_lie_beside_the_cascade(copied: Path) -> None:
    (copied / "latent").rename(copied.parent / "another model")
    last = MANIFEST["latent-super-resolution"] | {"source": "../another model"}
    rewrite_manifest(copied, **{"latent-super-resolution": last})

    assert load_backend(str(copied)).spec.stages == STAGES


def test_a_stage_without_its_scheduler_is_named(copied: Path) -> None:
    shutil.rmtree(copied / "video" / "scheduler")

    with pytest.raises(ModelLoadError, match=r"video lacks scheduler"):
        load_backend(str(copied))


def test_weights_that_do_not_fit_are_refused_rather_than_drawn_at_random(copied: Path) -> None:
    path = copied / "interpolation" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    left_out = {name: weight for name, weight in weights.items() if name != "conv_out.weight"}
    for changed, told in (
        (left_out, r"the weights lack conv_out\.weight"),
        (weights | {"transformer_in.norm.weight": torch.ones(8)}, r"no place for \(transformer_in\.norm"),
        (weights | {"conv_out.weight": torch.ones(3, 8, 3, 3)}, r"unet in .*interpolation cannot be loaded"),
    ):
        save_file(changed, path)
        with pytest.raises(ModelLoadError, match=told):
            load_backend(str(copied))


def test_a_refused_model_leaves_no_precision_behind(copied: Path) -> None:
    rewrite_manifest(copied, **{"key-frames": {"source": "latent", "size": [8, 12]}})

    with pytest.raises(ModelLoadError):
        load_backend(str(copied), options=LoadOptions(torch_dtype=torch.bfloat16))

    assert torch.get_default_dtype() == torch.float32


def test_a_number_means_heads_in_show1s_own_latent_model() -> None:
    unet = tiny_parts()["unet"]
    assert isinstance(unet, UNet3DConditionModel)
    attention = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    assert (attention.heads, attention.inner_dim) == (2, 8)  # diffusers: the number is the width of a head

    count_heads_as_show1(unet)

    heads = {name: module.heads for name, module in unet.named_modules() if name.endswith(("attn1", "attn2"))}
    assert {count for name, count in heads.items() if "transformer_in" not in name} == {4}
    assert heads["transformer_in.transformer_blocks.0.attn1"] == 8
    sample = unet(torch.randn(1, 4, 3, 8, 8), torch.tensor([5]), torch.randn(1, 24, 8)).sample
    assert sample.isfinite().all()


def test_a_manifest_without_a_later_stage_says_so() -> None:
    text, key_frames = MANIFEST["text"], MANIFEST["key-frames"]

    assert CascadeManifest.read({"text": text, "key-frames": key_frames}).stages == ("key-frames",)


def test_the_embedded_twin_is_what_the_list_of_models_says() -> None:
    spec = find_model("toybox-cascade")
    video, mask = moving_square(5, (64, 64))
    config = EditConfig(num_optimization_steps=1, seed=1, preview_interval=0, last_stage="key-frames")

    pipeline = DreamMotionPipeline.from_pretrained("toybox-cascade")
    output = pipeline(video, **PROMPTS, mask=mask, config=config)

    assert spec.is_ready()
    assert pipeline.spec.stages == spec.stages
    assert (pipeline.spec.frame_step, pipeline.spec.keeps_detail) == (spec.frame_step, spec.keeps_detail)
    assert output.max_difference_outside == 0
