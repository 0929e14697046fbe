import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

import training.autoencoder
import training.flow
import training.run
from dreammotion_core import DreamMotionPipeline, EditConfig, Video
from dreammotion_core.models.frame_vae import FrameAutoencoder
from tests.smoke_training import UNET_MODEL, smoke_words
from training.data import CLIP_PAIRS, PICTURE_PAIRS, Pairs
from training.flow import LatentPairs, encoded_pairs, new_batch, new_transformer, noise_levels
from training.run import main
from training.world import Shot, render, sample_scene


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    (folder / "toybox-unet").symlink_to(UNET_MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.autoencoder, "HELD_OUT_SCENES", 4)
        patch.setattr(training.flow, "NUM_PICTURES", 4)
        patch.setattr(training.flow, "NUM_CLIPS", 1)
        assert main(smoke_words("toybox", folder)) == 0
    return folder


@pytest.fixture
def begun(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the autoencoder is finished and the transformer is not begun."""
    monkeypatch.setattr(training.flow, "NUM_PICTURES", 4)
    monkeypatch.setattr(training.flow, "NUM_CLIPS", 1)
    (tmp_path / "toybox-unet").symlink_to(UNET_MODEL)
    shutil.copytree(trained / "toybox" / "vae", tmp_path / "toybox" / "vae")
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))
    return tmp_path


def test_one_command_writes_a_model_folder(trained: Path) -> None:
    out = trained / "toybox"
    manifest = json.loads((out / "model_index.json").read_text())
    transformer = WanTransformer3DModel.from_pretrained(out / "transformer")
    vae = FrameAutoencoder.from_pretrained(out / "vae")

    assert manifest["vae"] == ["dreammotion_core", "FrameAutoencoder"]
    assert manifest["frame_step"] == vae.config.scale_factor_temporal == 1
    assert transformer.config.in_channels == vae.config.z_dim
    sizes = [path.stat().st_size for path in out.rglob("*.safetensors")]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 30_000_000
    for name in ("autoencoder", "flow"):
        assert (trained / "logs" / f"{name}.csv").read_text().startswith("step,seconds,loss,learning_rate")


@pytest.mark.parametrize("num_frames", [2, 6])
def test_the_model_edits_clips_of_any_length(num_frames: int, trained: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(str(trained / "toybox"))
    rendered = render(sample_scene(1), shot=Shot(num_frames))

    output = pipe(
        Video(rendered.frames.numpy(), 8.0),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=rendered.mask.numpy(),
        config=EditConfig(num_optimization_steps=1, preview_interval=0, seed=0),
    )

    assert output.frames.shape == (num_frames, 128, 128, 3)
    assert output.max_difference_outside == 0
    assert (pipe.spec.family, pipe.spec.frame_step) == ("wan", 1)
    assert pipe.spec.vocabulary is not None
    assert "balloon" in pipe.spec.vocabulary


def test_a_stopped_training_ends_with_the_same_weights(
    trained: Path, begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, calls = training.flow.new_batch, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.flow, "new_batch", interrupted)
        assert main(smoke_words("toybox", begun)) == 130
    assert "Stopped at step 2" in capsys.readouterr().err
    assert main(smoke_words("toybox", begun)) == 0

    for path in (trained / "toybox").rglob("*.safetensors"):
        assert (begun / path.relative_to(trained)).read_bytes() == path.read_bytes()


def test_a_transformer_can_start_from_an_earlier_one_and_by_its_other_name(
    trained: Path, begun: Path
) -> None:
    words = ["toybox-flow", *smoke_words("toybox", begun)[1:], "--from", str(trained / "toybox")]

    assert main(words) == 0

    earlier, later = (
        WanTransformer3DModel.from_pretrained(folder / "toybox" / "transformer")
        for folder in (trained, begun)
    )
    difference = (earlier.patch_embedding.weight - later.patch_embedding.weight).abs().max()
    assert 0 < difference < 0.01


def test_a_transformer_of_another_shape_is_refused(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(UNET_MODEL, begun / "earlier")
    new_transformer(96, 4).save_pretrained(begun / "earlier" / "transformer")

    assert main([*smoke_words("toybox", begun), "--from", str(begun / "earlier")]) == 2

    assert "transformer cannot be loaded (Error(s) in loading state_dict" in capsys.readouterr().err


def test_the_text_encoder_of_the_unet_model_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.run, "ASSETS", tmp_path / "assets")
    assert main(smoke_words("toybox", tmp_path)) == 2

    said = capsys.readouterr().err.splitlines()[-1]
    assert f"there is no tokenizer at {tmp_path / 'toybox-unet' / 'tokenizer'}; train the U-Net model" in said


def test_a_new_transformer_predicts_no_velocity() -> None:
    transformer = new_transformer(12, 4)

    velocity = transformer(torch.randn(1, 4, 3, 4, 4), torch.tensor([500.0]), torch.randn(1, 5, 12)).sample

    assert velocity.shape == (1, 4, 3, 4, 4)
    assert (velocity == 0).all()


def latent_pairs(kind: Any = PICTURE_PAIRS, count: int = 40) -> LatentPairs:
    rng = np.random.default_rng(0)
    length = kind.shot.num_frames
    latents = rng.standard_normal((count, 2, length, 3, 16, 16)).astype(np.float16)
    coverage = np.zeros((count, 2, length, 16, 16), np.float16)
    coverage[:, 1, :, :8] = 1
    return LatentPairs(Pairs(kind, np.zeros((count, 2, length, 1, 1, 3), np.uint8), coverage), latents)


@pytest.mark.parametrize(("kind", "frames"), [(PICTURE_PAIRS, 1), (CLIP_PAIRS, 9)])
def test_both_members_of_a_pair_share_noise_and_level(kind: Any, frames: int) -> None:
    data = latent_pairs(kind)

    batch = new_batch(data, 32, np.random.default_rng(1))

    assert batch.noisy.shape == batch.velocity.shape == (64, 3, frames, 16, 16)
    assert torch.equal(batch.level[::2], batch.level[1::2])
    assert batch.weight.shape == (64, 1, frames, 16, 16)
    ratio = batch.weight[:, :, :, :8] / batch.weight[:, :, :, 8:]
    assert torch.allclose(ratio, torch.tensor(5.0))
    # From what is seen, a step along the velocity leads to the answer: the latents of one of the members.
    level = batch.level.view(-1, 1, 1, 1, 1)
    answers = batch.noisy - level * batch.velocity
    known = torch.from_numpy(data.latents).float().unfold(2, frames, frames).movedim(-1, 3).flatten(0, 2)
    nearest = torch.cdist(answers.flatten(1), known.transpose(1, 2).flatten(1)).amin(1)
    assert nearest.max() < 0.2
    texts = list(zip(batch.captions[::2], batch.captions[1::2], strict=True))
    assert all((one == "") == (other == "") for one, other in texts)
    assert any(one == "" for one, _ in texts)


def test_crossed_pairs_ask_for_the_other_member(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    for crossed in (0.0, 1.0):
        monkeypatch.setattr(training.flow, "CROSSED", crossed)
        seen[crossed] = new_batch(latent_pairs(), 8, np.random.default_rng(1))

    plain, crossed = seen[0.0], seen[1.0]
    level = plain.level.view(-1, 1, 1, 1, 1)
    answer = plain.noisy - level * plain.velocity
    swapped = (crossed.noisy - level * crossed.velocity).unflatten(0, (8, 2))
    torch.testing.assert_close(swapped.flatten(0, 1), answer, atol=1e-3, rtol=0)
    difference = (crossed.noisy - plain.noisy).unflatten(0, (8, 2))
    torch.testing.assert_close(difference[:, 0], -difference[:, 1], atol=1e-4, rtol=0)
    assert all(crossed.captions)
    assert crossed.weight.amax((1, 2, 3, 4)).max() <= 5


def test_latents_of_another_autoencoder_are_not_taken(tmp_path: Path) -> None:
    pairs = Pairs(
        replace(PICTURE_PAIRS, name="few"),
        np.random.default_rng(0).integers(256, size=(2, 2, 1, 128, 128, 3), dtype=np.uint8),
        np.zeros((2, 2, 1, 16, 16), np.float16),
    )
    one, other = (
        FrameAutoencoder(z_dim=4, encoder_channels=(8, 8), decoder_channels=(8, 8)) for _ in range(2)
    )

    latents = [encoded_pairs(pairs, vae, tmp_path).latents for vae in (one, other, one)]

    assert latents[0].shape == (2, 2, 1, 4, 16, 16)
    assert np.abs(latents[0] - latents[1]).max() > 1e-3
    assert np.array_equal(latents[0], latents[2])
    assert len(list(tmp_path.iterdir())) == 2


def test_most_noise_levels_are_in_the_middle() -> None:
    levels = noise_levels(4000, generator=torch.Generator().manual_seed(0))

    assert 0 < levels.min() < 0.02
    assert 0.98 < levels.max() < 1
    assert ((levels > 0.25) & (levels < 0.75)).float().mean() > 0.6
