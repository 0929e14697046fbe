import csv
import json
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from numpy.typing import NDArray

import training.flow_transformer
from dreammotion_core import DreamMotionPipeline, EditConfig, Video
from dreammotion_core.models.video_vae import VideoAutoencoder
from tests.smoke_training import smoke_words
from training.data import as_pictures
from training.flow_data import CLIPS, PICTURES, FlowData, latent_statistics, windows
from training.flow_transformer import new_transformer, noise_levels
from training.run import main
from training.vae import new_vae
from training.video_vae import PIXEL_CLIPS, new_video_vae, pixel_error
from training.world import Shot, render, sample_scene

TOYBOX = Path(__file__).resolve().parents[2] / "assets" / "toybox"


options_for = partial(smoke_words, stage="toybox-flow", out="toybox-flow")
"""A smoke run in a folder that also holds `toybox`."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    (folder / "toybox").symlink_to(TOYBOX)
    assert main(options_for(folder)) == 0
    return folder


def test_one_command_writes_a_model_folder(trained: Path) -> None:
    out = trained / "toybox-flow"
    manifest = json.loads((out / "model_index.json").read_text())
    transformer = WanTransformer3DModel.from_pretrained(out / "transformer")
    vae = VideoAutoencoder.from_pretrained(out / "vae")

    assert manifest["transformer"] == ["diffusers", "WanTransformer3DModel"]
    assert manifest["num_frames"] % manifest["frame_step"] == 1
    assert transformer.config.in_channels == vae.config.z_dim
    assert transformer.num_parameters() < 6_000_000
    assert FlowMatchEulerDiscreteScheduler.from_pretrained(out / "scheduler").config.shift == 1.0
    for part in ("text_encoder", "tokenizer"):
        for path in (TOYBOX / part).glob("*.safetensors"):
            assert (out / part / path.name).read_bytes() == path.read_bytes()


def test_the_model_edits_clips_of_its_length(trained: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(str(trained / "toybox-flow"))
    rendered = render(sample_scene(1), shot=Shot(num_frames=9))

    output = pipe(
        Video(rendered.frames.numpy(), 8.0),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=rendered.mask.numpy(),
        config=EditConfig(num_optimization_steps=1, preview_interval=0, seed=0),
    )

    assert output.frames.shape == (9, 128, 128, 3)
    assert (pipe.spec.family, pipe.spec.frame_step) == ("wan", 4)
    assert pipe.spec.vocabulary is not None
    assert "balloon" in pipe.spec.vocabulary


def test_the_autoencoder_has_a_copy_of_the_one_for_pictures(trained: Path) -> None:
    copy = VideoAutoencoder.from_pretrained(trained / "toybox-flow" / "vae").image_vae.state_dict()

    for name, value in AutoencoderKL.from_pretrained(TOYBOX / "vae").state_dict().items():
        assert torch.equal(copy[name], value), name


def test_every_file_is_small_enough_for_a_space(trained: Path) -> None:
    sizes = [path.stat().st_size for path in (trained / "toybox-flow").rglob("*.safetensors")]

    assert len(sizes) >= 3
    assert max(sizes) < 10_000_000


def test_logs_and_curves_are_written(trained: Path) -> None:
    for name in ("flow-vae", "flow"):
        with (trained / "logs" / f"{name}.csv").open() as file:
            assert next(csv.reader(file)) == ["step", "seconds", "loss", "learning_rate"]
        assert (trained / "logs" / f"{name}.png").stat().st_size > 1000


def test_a_stopped_training_ends_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toybox").symlink_to(TOYBOX)
    shutil.copytree(trained / "toybox-flow" / "vae", tmp_path / "toybox-flow" / "vae")
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))
    original = training.flow_transformer._step_loss

    def step_loss(*arguments: Any) -> torch.Tensor:
        if arguments[-1] == 1:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.flow_transformer, "_step_loss", step_loss)
        assert main(options_for(tmp_path)) == 130
    assert "Stopped at step 2" in capsys.readouterr().err
    assert main(options_for(tmp_path)) == 0

    for path in (trained / "toybox-flow" / "transformer").glob("*.safetensors"):
        assert (tmp_path / "toybox-flow" / "transformer" / path.name).read_bytes() == path.read_bytes()


def test_a_transformer_can_start_from_an_earlier_one(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "toybox").symlink_to(TOYBOX)
    shutil.copytree(trained / "toybox-flow" / "vae", tmp_path / "toybox-flow" / "vae")
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))

    assert main([*options_for(tmp_path), "--from", str(trained / "toybox-flow")]) == 0

    earlier, later = (
        WanTransformer3DModel.from_pretrained(folder / "toybox-flow" / "transformer")
        for folder in (trained, tmp_path)
    )
    difference = (earlier.patch_embedding.weight - later.patch_embedding.weight).abs().max()
    assert 0 < difference < 0.01


@pytest.mark.parametrize("part", ["text_encoder", "vae"])
def test_a_toybox_beside_the_folder_is_needed(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(TOYBOX, tmp_path / "toybox", ignore=shutil.ignore_patterns(part, "unet"))

    assert main(options_for(tmp_path)) == 2

    said = capsys.readouterr().err.splitlines()[-1]
    assert f"there is no {part} at {tmp_path / 'toybox' / part}; train toybox first" in said


def image_latents(num_clips: int = 3, num_frames: int = 11) -> NDArray[np.float16]:
    return np.random.default_rng(0).standard_normal((num_clips, num_frames, 8, 4, 4)).astype(np.float16)


def test_windows_are_parts_of_the_clips_that_they_name() -> None:
    latents = image_latents()

    parts, where = windows(latents, rng=np.random.default_rng(1), count=20)

    assert {tuple(pair) for pair in where} > {(0, 0), (2, 2)}
    for part, (clip, first) in zip(parts, where, strict=True):
        assert np.array_equal(part.transpose(0, 1).numpy(), latents[clip, first : first + 9])


def test_batches_are_latents_of_unit_scale_with_their_coverage() -> None:
    vae = new_video_vae(new_vae()).eval()
    vae.register_to_config(latents_mean=[2.0] * 16, latents_std=[4.0] * 16)
    latents = image_latents()
    coverage = np.zeros((3, 11, 4, 4), np.float16)
    coverage[:, 1::2] = 1  # every second frame
    data = FlowData(latents, coverage, vae)

    clips, covered, seeds = data.batch(np.random.default_rng(0), whole=True, scale=1)
    pictures, covered_pictures, _ = data.batch(np.random.default_rng(0), whole=False, scale=2)

    assert clips.shape == (CLIPS, 16, 3, 4, 4)
    assert pictures.shape == (2 * PICTURES, 16, 1, 4, 4)
    assert covered.shape == (CLIPS, 1, 3, 4, 4)
    assert (covered[:, :, 1:] == 0.5).all()
    assert set(covered_pictures.unique().tolist()) == {0.0, 1.0}
    assert set(seeds) == {0, 1, 2}
    parts, _ = windows(latents, rng=np.random.default_rng(0), count=CLIPS)
    mean, std = latent_statistics(vae)
    assert torch.allclose(clips * std + mean, vae.encode_image_latents(parts).mean, atol=1e-5)


def test_the_error_of_pictures_is_that_of_the_autoencoder_for_true_latents() -> None:
    image_vae = new_vae().eval()
    vae = new_video_vae(image_vae).eval()
    clips = np.random.default_rng(0).integers(256, size=(2, 9, 16, 16, 3), dtype=np.uint8)
    pictures = as_pictures(torch.from_numpy(clips).flatten(0, 1))
    where = np.array([[0, 0]] * PIXEL_CLIPS)
    with torch.no_grad():
        latents = image_vae.encode(pictures[:9]).latent_dist.mean.transpose(0, 1)
        whole = image_vae.decode(latents.transpose(0, 1)).sample
        frames = np.random.default_rng(3).choice(9, size=2, replace=False)

        error = pixel_error(
            vae, latents.expand(PIXEL_CLIPS, -1, -1, -1, -1), clips, where=where, rng=np.random.default_rng(3)
        )

    expected = (whole - pictures[:9])[frames].square().mean()
    assert error.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_new_transformer_predicts_no_velocity() -> None:
    transformer = new_transformer(12, latent_channels=4)

    velocity = transformer(torch.randn(1, 4, 3, 4, 4), torch.tensor([500.0]), torch.randn(1, 5, 12)).sample

    assert velocity.shape == (1, 4, 3, 4, 4)
    assert (velocity == 0).all()


def test_most_noise_levels_are_in_the_middle() -> None:
    levels = noise_levels(4000, generator=torch.Generator().manual_seed(0))

    assert 0 < levels.min() < 0.02
    assert 0.98 < levels.max() < 1
    assert ((levels > 0.25) & (levels < 0.75)).float().mean() > 0.6
