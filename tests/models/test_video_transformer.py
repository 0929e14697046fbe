"""Wan and CogVideoX: what is their own. What all families promise is in `test_family_contract`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from diffusers import (
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    WanTransformer3DModel,
)

from dreammotion_core import ConfigError, EditConfig, ModelLoadError
from dreammotion_core.method.baselines import method_for
from dreammotion_core.method.keys import matching_modules
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.models.catalog import find_model, load_backend
from dreammotion_core.models.cogvideox import CogVideoXBackend
from dreammotion_core.models.video_transformer import middle_key_sites
from dreammotion_core.models.wan import WanBackend
from tests.tiny_video import (
    MAX_TOKENS,
    save_tiny_cogvideox,
    save_tiny_wan,
    tiny_cogvideox,
    tiny_cogvideox_parts,
    tiny_wan,
)


@pytest.fixture(scope="module")
def wan() -> WanBackend:
    return tiny_wan()


@pytest.fixture(scope="module")
def cogvideox() -> CogVideoXBackend:
    return tiny_cogvideox()


def clip(num_frames: int) -> torch.Tensor:
    return torch.rand(num_frames, 3, 16, 24) * 2 - 1


def test_wans_noise_lies_on_the_straight_path_of_flow_matching(wan: WanBackend) -> None:
    latents, noise = torch.randn(2, 1, 4, 2, 4, 6)
    timestep = torch.tensor([371])
    scheduler = FlowMatchEulerDiscreteScheduler()

    noisy = add_noise(latents, noise, *wan.signal_and_noise(timestep, latents))

    torch.testing.assert_close(noisy, scheduler.scale_noise(latents, timestep.float(), noise))


def test_cogvideox_noise_follows_its_schedulers_own_rule(cogvideox: CogVideoXBackend) -> None:
    latents, noise = torch.randn(2, 1, 4, 2, 4, 6)
    timestep = torch.tensor([321])

    noisy = add_noise(latents, noise, *cogvideox.signal_and_noise(timestep, latents))

    torch.testing.assert_close(noisy, cogvideox.scheduler.add_noise(latents, noise, timestep))


def test_wans_latents_are_normalised_by_channel(wan: WanBackend) -> None:
    frames, vae = clip(5), wan.codec.vae

    latents = wan.encode_video(frames)

    raw = vae.encode(frames.transpose(0, 1)[None]).latent_dist.mean
    mean, std = (
        torch.tensor(values).reshape(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    torch.testing.assert_close(latents, (raw - mean) / std)
    torch.testing.assert_close(wan.decode_video(latents), vae.decode(raw).sample[0].transpose(0, 1))


def test_cogvideox_latents_are_scaled(cogvideox: CogVideoXBackend) -> None:
    frames, vae = clip(9), cogvideox.codec.vae

    latents = cogvideox.encode_video(frames)

    raw = vae.encode(frames.transpose(0, 1)[None]).latent_dist.mean
    torch.testing.assert_close(latents, raw * vae.config.scaling_factor)
    torch.testing.assert_close(cogvideox.decode_video(latents), vae.decode(raw).sample[0].transpose(0, 1))


def test_wans_latent_frames_depend_on_no_frame_after_their_group(wan: WanBackend) -> None:
    """Which frames a mask has to be pooled over follows from this."""
    frames = clip(9)
    for index, group in enumerate(wan.frame_groups(9)):
        later = frames.clone()
        later[group.stop :] *= -1
        changed = frames.clone()
        changed[group.start :] *= -1

        until, at = (
            (wan.encode_video(f) - wan.encode_video(frames)).abs().amax((0, 1, 3, 4))
            for f in (later, changed)
        )

        torch.testing.assert_close(until[: index + 1], torch.zeros(index + 1), atol=1e-5, rtol=0)
        assert at[index] > 1e-3


@pytest.mark.parametrize("num_frames", [1, 5, 9, 13])
def test_cogvideox_gives_back_as_many_frames_as_it_took(cogvideox: CogVideoXBackend, num_frames: int) -> None:
    latents = cogvideox.encode_video(clip(num_frames))

    assert latents.shape[2] == (num_frames - 1) // 4 + 1
    assert cogvideox.decode_video(latents).shape == (num_frames, 3, 16, 24)


def test_wan_does_not_look_at_padding(wan: WanBackend) -> None:
    """What the tokens of a prompt become is the same alone as within the padding, which is zero."""
    embeds = wan.encode_prompt("a red car")

    ids = wan.tokenizer("a red car", return_tensors="pt").input_ids
    length = ids.shape[1]
    assert embeds.shape == (1, MAX_TOKENS, 8)
    torch.testing.assert_close(embeds[:, :length], wan.text_encoder(ids).last_hidden_state)
    assert not embeds[:, length:].any()


@pytest.mark.parametrize("method", ["dreammotion", "sdedit"])
def test_a_timestep_at_which_nothing_is_left_of_the_clip_is_refused(
    cogvideox: CogVideoXBackend, wan: WanBackend, method: Literal["dreammotion", "sdedit"]
) -> None:
    config = EditConfig(method=method, timestep_range=(50, 1000))
    method_for(config, backend=wan)

    with pytest.raises(ConfigError, match=r"at timestep 999 .* sees noise alone; end it at 999 or below"):
        method_for(config, backend=cogvideox)


def test_cogvideox_reads_prompts_as_its_own_pipeline_does() -> None:
    backend = tiny_cogvideox()
    pipeline = CogVideoXPipeline(**tiny_cogvideox_parts())
    pipeline.text_encoder.eval()

    expected = pipeline._get_t5_prompt_embeds("a red car", max_sequence_length=MAX_TOKENS)

    torch.testing.assert_close(backend.encode_prompt("a red car"), expected)


@pytest.mark.parametrize("size", [(16, 16), (16, 32), (48, 16)])
def test_rotary_embeddings_are_those_of_the_pipeline(size: tuple[int, int]) -> None:
    backend = tiny_cogvideox(rotary=True)
    pipeline = CogVideoXPipeline(**tiny_cogvideox_parts(rotary=True))
    height, width = size

    expected = pipeline._prepare_rotary_positional_embeddings(height, width, 3, torch.device("cpu"))
    cosines, sines = backend._rotary_embeddings(torch.zeros(1, 4, 3, height // 4, width // 4))

    assert torch.equal(cosines, expected[0])
    assert torch.equal(sines, expected[1])


def test_rotary_models_answer_differently_at_different_places() -> None:
    """A forgotten embedding would leave equal tokens indistinguishable."""
    backend = tiny_cogvideox(rotary=True)
    with torch.no_grad():
        answer = backend.predict_noise(
            torch.ones(1, 4, 3, 4, 4), torch.tensor([500]), backend.encode_prompt("a red car")
        )
        for attention in (block.attn1 for block in backend.denoiser.transformer_blocks):
            assert attention.norm_k is not None  # so that the rotation does not reach the captured keys

    assert answer[..., 0, 0].std(dim=-1).max() > 0


@pytest.mark.parametrize(
    ("num_layers", "middle"), [(1, [0]), (2, [0, 1]), (3, [1]), (8, [2, 3, 4, 5]), (30, list(range(10, 20)))]
)
def test_keys_come_from_the_middle_third_of_the_layers(num_layers: int, middle: list[int]) -> None:
    sites = middle_key_sites("blocks", num_layers=num_layers)

    assert [site.pattern for site in sites] == [f"blocks.{layer}.attn1.to_k" for layer in middle]


WAN_1_3B = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
WAN_14B = {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}


@pytest.mark.parametrize(
    ("settings", "num_parameters", "layers"),
    [(WAN_1_3B, 1_418_996_800, range(10, 20)), (WAN_14B, 14_288_491_584, range(13, 27))],
)
def test_key_sites_exist_in_models_of_wans_exact_shape(
    settings: dict[str, int], num_parameters: int, layers: range
) -> None:
    with torch.device("meta"):
        transformer = WanTransformer3DModel(**settings)
    sites = middle_key_sites("blocks", num_layers=transformer.config.num_layers)

    assert sum(p.numel() for p in transformer.parameters()) == num_parameters
    assert list(matching_modules(transformer, sites)) == [f"blocks.{i}.attn1.to_k" for i in layers]


COGVIDEOX_2B = {"num_attention_heads": 30, "num_layers": 30}
COGVIDEOX_5B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}


@pytest.mark.parametrize(
    ("settings", "num_parameters", "layers"),
    [(COGVIDEOX_2B, 1_693_783_872, range(10, 20)), (COGVIDEOX_5B, 5_570_283_072, range(14, 28))],
)
def test_key_sites_exist_in_models_of_cogvideoxs_exact_shape(
    settings: dict[str, int], num_parameters: int, layers: range
) -> None:
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel(**settings)
    sites = middle_key_sites(
        "transformer_blocks", num_layers=transformer.config.num_layers, num_text_tokens=226
    )

    assert sum(p.numel() for p in transformer.parameters()) == num_parameters
    assert list(matching_modules(transformer, sites)) == [
        f"transformer_blocks.{i}.attn1.to_k" for i in layers
    ]
    assert {site.num_text_tokens for _, site in matching_modules(transformer, sites).values()} == {
        transformer.config.max_text_seq_length
    }


def change_config(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("save", "file", "changes", "message"),
    [
        (save_tiny_wan, "transformer/config.json", {"image_dim": 8}, "wants a picture beside the text"),
        (save_tiny_wan, "transformer/config.json", {"in_channels": 8}, "wants a picture beside the text"),
        (save_tiny_wan, "model_index.json", {"boundary_ratio": 0.9}, "two transformers"),
        (save_tiny_cogvideox, "transformer/config.json", {"patch_size_t": 2}, r"CogVideoX 1\.5"),
        (save_tiny_cogvideox, "transformer/config.json", {"in_channels": 8}, "wants a picture"),
    ],
)
def test_variants_that_want_something_else_are_refused(
    tmp_path: Path, save: Callable[[Path], Path], file: str, changes: dict[str, object], message: str
) -> None:
    folder = save(tmp_path)
    change_config(folder, file, **changes)

    with pytest.raises(ModelLoadError, match=message):
        load_backend(str(folder))


def test_tokenizers_of_cogvideox_come_as_sentencepiece_files(tmp_path: Path) -> None:
    """Its repository has no tokenizer.json, and transformers converts what is there."""
    import sentencepiece

    folder = save_tiny_cogvideox(tmp_path / "model")
    (tmp_path / "text.txt").write_text("a red car on the road\na blue ball on the road\n" * 20)
    (folder / "tokenizer" / "tokenizer.json").unlink()
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(folder / "tokenizer" / "spiece"),
        vocab_size=19,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2},
    )

    tokenizer = load_backend(str(folder)).tokenizer

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer" / "spiece.model"))
    assert tokenizer("a red car").input_ids == [*pieces.encode("a red car"), 1]


def test_a_folder_takes_the_facts_of_its_family_where_it_tells_none(tmp_path: Path) -> None:
    folder = save_tiny_wan(tmp_path)
    manifest = json.loads((folder / "model_index.json").read_text())
    own = {key: value for key, value in manifest.items() if key in ("_class_name", "transformer")}
    (folder / "model_index.json").write_text(json.dumps(own))

    spec = find_model(str(folder))

    assert (spec.family, spec.resolution, spec.frame_step, spec.max_frames) == ("wan", (480, 832), 4, 81)
    assert spec.vocabulary is None
