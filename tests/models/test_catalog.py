import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet3DConditionModel

from dreammotion_core import DreamMotionPipeline, ModelLoadError, list_models
from dreammotion_core.method.keys import KeyCapture, matching_modules
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.models.catalog import find_model, load_backend
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from tests.tiny import moving_square, save_tiny_unet3d, tiny_unet3d


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_unet3d(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def backend() -> UNet3DBackend:
    return tiny_unet3d()


def test_a_saved_model_answers_like_the_original(folder: Path, backend: UNet3DBackend) -> None:
    loaded = load_backend(str(folder), options=LoadOptions(torch_dtype=torch.float32))
    noisy, timestep = torch.randn(1, 4, 3, 8, 8), torch.tensor([500])

    answers = [b.predict_noise(noisy, timestep, b.encode_prompt("a red car")) for b in (backend, loaded)]

    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)


def test_the_manifest_of_a_folder_sets_the_facts(folder: Path) -> None:
    spec = find_model(str(folder))

    assert (spec.resolution, spec.num_frames, spec.max_frames, spec.fps) == ((16, 16), 3, 6, 8.0)
    assert spec.is_ready()
    assert spec.size_bytes > 100_000


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_denoiser_that_is_right_gives_back_the_drawn_noise(prediction_type: str) -> None:
    backend = tiny_unet3d(prediction_type)
    latents, noise = torch.randn(2, 1, 4, 3, 8, 8)
    timestep = torch.tensor([600])
    alpha_bar = backend.scheduler.alphas_cumprod[600]
    perfect = {"epsilon": noise, "v_prediction": alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents}
    # The real module runs; only what leaves it is replaced by the right answer.
    backend.denoiser.conv_out.register_forward_hook(
        lambda *_: perfect[prediction_type].transpose(1, 2).flatten(0, 1)
    )

    answer = backend.predict_noise(
        add_noise(latents, noise, *backend.signal_and_noise(timestep, latents)),
        timestep,
        backend.encode_prompt("a car"),
    )

    torch.testing.assert_close(answer, noise, rtol=1e-4, atol=1e-4)


def test_noise_follows_the_schedulers_own_rule(backend: UNet3DBackend) -> None:
    latents, noise = torch.randn(2, 1, 4, 3, 8, 8)
    timestep = torch.tensor([321])

    expected = backend.scheduler.add_noise(latents, noise, timestep)

    torch.testing.assert_close(
        add_noise(latents, noise, *backend.signal_and_noise(timestep, latents)), expected
    )


def test_shapes_follow_the_strides(backend: UNet3DBackend) -> None:
    latents = backend.encode_video(torch.rand(3, 3, 16, 24) * 2 - 1)

    assert latents.shape == (1, 4, 3, 8, 12)
    assert backend.decode_video(latents).shape == (3, 3, 16, 24)
    assert backend.spec.size_multiple == 4


def test_all_parts_are_frozen_and_in_evaluation_mode(backend: UNet3DBackend) -> None:
    for part in (backend.denoiser, backend.vae, backend.text_encoder):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())


def test_dropout_is_off_so_that_answers_repeat(backend: UNet3DBackend) -> None:
    arguments = (torch.randn(1, 4, 3, 8, 8), torch.tensor([500]), backend.encode_prompt("a red car"))

    assert torch.equal(backend.predict_noise(*arguments), backend.predict_noise(*arguments))


def test_the_default_key_sites_are_the_decoders_spatial_self_attention(backend: UNet3DBackend) -> None:
    names = list(matching_modules(backend.denoiser, backend.key_sites))

    assert names
    assert all(n.startswith("up_blocks") and ".attentions." in n and n.endswith("attn1.to_k") for n in names)


def test_key_sites_exist_in_a_model_of_zeroscopes_exact_shape() -> None:
    with torch.device("meta"):
        unet = UNet3DConditionModel()

    assert unet.config.block_out_channels == (320, 640, 1280, 1280)
    assert sum(p.numel() for p in unet.parameters()) == 1_411_233_860
    capture = KeyCapture(unet, load_sites(), batch_size=1, num_frames=8)
    assert len(capture._projections) == 9


def load_sites() -> tuple[object, ...]:
    return tiny_unet3d().key_sites  # type: ignore[return-value]


def test_half_precision_weights_answer_in_single_precision(folder: Path) -> None:
    backend = load_backend(str(folder), options=LoadOptions(torch_dtype=torch.bfloat16))

    answer = backend.predict_noise(
        torch.randn(1, 4, 3, 8, 8), torch.tensor([5]), backend.encode_prompt("a car")
    )

    assert backend.denoiser.dtype == torch.bfloat16
    assert answer.dtype == torch.float32
    assert backend.encode_video(torch.zeros(2, 3, 16, 16)).dtype == torch.float32


def test_long_prompts_are_cut_with_a_notice(backend: UNet3DBackend) -> None:
    assert not backend.check_prompt("a red car")
    (notice,) = backend.check_prompt("a red car on the road " * 6)

    assert notice.code == "prompt_truncated"
    assert "first 24" in notice.text


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_half_downloaded_folder_says_what_is_missing(folder: Path, tmp_path: Path, part: str) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    shutil.rmtree(broken / part)

    with pytest.raises(ModelLoadError, match=f"lacks {part}"):
        DreamMotionPipeline.from_pretrained(str(broken))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_truncated_weights_are_refused(folder: Path, tmp_path: Path, part: str) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = next((broken / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:2000])

    with pytest.raises(ModelLoadError, match=f"{part} in .*half-downloaded"):
        load_backend(str(broken))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kind", ["*.safetensors", "config.json"])
def test_missing_files_are_refused(folder: Path, tmp_path: Path, part: str, kind: str) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    next((broken / part).glob(kind)).unlink()

    with pytest.raises(ModelLoadError, match=f"{part}(/config.json)? in .*half-downloaded"):
        load_backend(str(broken))


def test_a_missing_shard_is_refused(folder: Path, tmp_path: Path, backend: UNet3DBackend) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken", ignore=shutil.ignore_patterns("*.safetensors"))
    for part in ("vae", "text_encoder"):
        shutil.copytree(folder / part, broken / part, dirs_exist_ok=True)
    backend.denoiser.save_pretrained(broken / "unet", max_shard_size="100KB")
    assert load_backend(str(broken)).spec.name == "broken"
    next((broken / "unet").glob("*00002-of-*.safetensors")).unlink()

    with pytest.raises(ModelLoadError, match=r"unet in .*half-downloaded"):
        load_backend(str(broken))


def test_a_model_may_have_settings_of_its_own(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    manifest = json.loads((other / "model_index.json").read_text())
    settings = {"guidance_scale": 3.0, "timestep_range": [100, 900], "num_optimization_steps": 2}
    (other / "model_index.json").write_text(json.dumps(manifest | {"settings": settings}))
    spec = find_model(str(other))

    config = spec.config(guidance_scale=4.0)
    assert (config.guidance_scale, config.timestep_range, config.num_optimization_steps) == (
        4.0,
        (100, 900),
        2,
    )
    assert spec.config("paper").num_optimization_steps == 200
    pipe, (video, mask) = DreamMotionPipeline.from_pretrained(str(other)), moving_square()
    output = pipe(video, source_prompt="a red car", target_prompt="a blue car", mask=mask)
    # Only the colour differs, so the words choose this preset.
    assert output.config == spec.config("keep-shape", seed=output.config.seed)


@pytest.mark.parametrize("settings", [{"guidance": 3.0}, {"guidance_scale": "much"}, 5])
def test_a_model_with_settings_that_are_none_is_refused(
    folder: Path, tmp_path: Path, settings: object
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    manifest = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps(manifest | {"settings": settings}))

    with pytest.raises(ModelLoadError, match=r"model_index\.json .* cannot be read"):
        find_model(str(broken))


@pytest.mark.parametrize(
    "fact",
    [
        {"num_frames": "16"},
        {"num_frames": 0},
        {"max_frames": None},
        {"max_frames": 8.5},
        {"frame_step": 0},
        {"frame_step": True},
        {"fps": "x"},
        {"fps": 0},
        {"fps": 10**400},
        {"resolution": [64]},
        {"resolution": [0, 64]},
        {"resolution": "ab"},
        {"vocabulary": "red"},
        {"vocabulary": [1, 2]},
        {"stages": "key-frames"},
    ],
    ids=lambda fact: str(fact)[:30],
)
def test_a_manifest_with_facts_that_cannot_be_is_refused(tmp_path: Path, fact: dict[str, Any]) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(fact))

    with pytest.raises(ModelLoadError, match=r"model_index\.json .* cannot be read"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(("version", "remedy"), [(99, "update this program"), (0, "fetch the model folder")])
def test_manifests_of_unknown_formats_say_what_to_do(
    folder: Path, tmp_path: Path, version: int, remedy: str
) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    manifest = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps(manifest | {"format_version": version}))

    with pytest.raises(ModelLoadError, match=f"has format version {version}, .*{remedy}"):
        load_backend(str(other))


@pytest.mark.parametrize("text", ["{", "[]", '{"resolution": 3}', '{"format_version": "new"}'])
def test_a_damaged_manifest_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model_index.json").write_text(text)

    with pytest.raises(ModelLoadError, match=r"model_index\.json (in|of) .*cannot be (read|loaded)"):
        find_model(str(broken))


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    config = json.loads((broken / "unet" / "config.json").read_text())
    (broken / "unet" / "config.json").write_text(json.dumps(config | {"block_out_channels": [16, 16]}))

    with pytest.raises(ModelLoadError, match="unet"):
        load_backend(str(broken))


@pytest.mark.parametrize(
    "name", ["no-such-model", "owner/model", "./missing/folder", "x" * 300, "no\0name"], ids=range(5)
)
def test_unknown_names_list_what_is_accepted(name: str) -> None:
    with pytest.raises(ModelLoadError, match=r"pass one of toybox, toybox-unet, .*an existing folder"):
        find_model(name)


def test_a_hub_model_without_a_network_is_a_clear_error() -> None:
    with pytest.raises(ModelLoadError, match=r"check the network.*use the embedded model"):
        load_backend("zeroscope")


def test_hub_models_are_pinned_and_every_model_shows_its_licence() -> None:
    for spec in list_models():
        assert spec.licence
        assert spec.is_local or len(spec.revision or "") == 40


def test_clips_of_any_shape_keep_it_at_the_trained_area() -> None:
    spec = find_model("toybox")

    assert spec.fit_size((128, 128)) == (128, 128)
    assert spec.fit_size((480, 854)) == (96, 176)
    assert spec.fit_size((100, 400)) == (64, 256)
    assert spec.fit_size((17, 8000)) == (16, 2784)


def test_a_cpu_that_computes_in_bfloat16_does_so_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_tiny_unet3d(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", lambda: {"avx512_bf16": True})
    fast = load_backend(folder)
    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", dict)
    plain, told = load_backend(folder), load_backend(folder, options=LoadOptions(torch_dtype=torch.bfloat16))

    assert (fast.spec.precision, plain.spec.precision) == ("bfloat16", "float32")
    assert fast.denoiser.dtype == told.denoiser.dtype == torch.bfloat16
    frames = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(fast.encode_video(frames), plain.encode_video(frames), rtol=0, atol=0)
    assert fast.encode_prompt("a red car").dtype == torch.float32


def test_bfloat16_gives_nearly_the_same_noise(tmp_path: Path) -> None:
    folder = str(save_tiny_unet3d(tmp_path))
    latents = torch.randn(1, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    predictions = []
    for dtype in (torch.float32, torch.bfloat16):
        backend = load_backend(folder, options=LoadOptions(torch_dtype=dtype))
        with torch.no_grad():
            prediction = backend.predict_noise(latents, torch.tensor([500]), backend.encode_prompt("a car"))
        assert prediction.dtype == torch.float32
        predictions.append(prediction)

    similarity = torch.cosine_similarity(predictions[0].flatten(), predictions[1].flatten(), dim=0)
    assert 0.99 < similarity < 1 - 1e-9
