import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dreammotion_core import DreamMotionPipeline, EditConfig, Video
from tests.smoke_training import UNET_MODEL, smoke_words
from training.cascade import begin_as, new_detail_unet, new_first_frame_unet, new_interpolation_unet
from training.cascade_losses import (
    LossInputs,
    Sizes,
    interpolation_loss,
    key_frame_loss,
    smaller_clips,
    super_resolution_loss,
)
from training.loop import Setting
from training.run import main
from training.world import Shot, object_mask, render, sample_scene

SHOT = Shot(17)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    shutil.copytree(UNET_MODEL, folder / "toybox-unet")
    assert main(smoke_words("toybox-cascade", folder)) == 0
    return folder


def test_one_command_makes_a_cascade_that_edits_at_every_stage(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    index = tmp_path / "toybox-cascade" / "model_index.json"
    index.write_text(index.read_text().replace('"num_inference_steps": 12', '"num_inference_steps": 1'))
    pipe = DreamMotionPipeline.from_pretrained(str(index.parent))
    scene = sample_scene(1)

    events = pipe.stream(
        Video(render(scene, shot=SHOT).frames.numpy(), SHOT.fps),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=object_mask(scene, shot=SHOT).numpy(),
        config=EditConfig(num_optimization_steps=1, preview_interval=0, seed=0),
    )
    finished = list(events)

    assert [event.name for event in finished if hasattr(event, "frames")] == list(pipe.spec.stages[1:])
    assert finished[-1].output.frames.shape == (17, 128, 128, 3)
    assert finished[-1].output.max_difference_outside == 0


def test_the_parts_are_small_half_precision_and_logged(trained: Path) -> None:
    weights = list((trained / "toybox-cascade").rglob("*.safetensors"))
    parts = {path.relative_to(trained / "toybox-cascade").parts[0] for path in weights}

    assert parts == {"key_frames", "first_frame", "super_resolution", "interpolation"}
    assert max(path.stat().st_size for path in weights) < 10_000_000
    assert sum(path.stat().st_size for path in weights) < 18_000_000
    for part in parts:
        assert len((trained / "logs" / f"cascade-{part}.csv").read_text().splitlines()) >= 1
        assert (trained / "logs" / f"cascade-{part}.png").exists()


def test_the_same_command_again_trains_nothing_and_gives_the_same_weights(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "toybox-cascade")

    assert main(smoke_words("toybox-cascade", tmp_path)) == 0

    for path in (trained / "toybox-cascade").rglob("*.safetensors"):
        assert (tmp_path / path.relative_to(trained)).read_bytes() == path.read_bytes()


def test_without_a_toybox_beside_it_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(smoke_words("toybox-cascade", tmp_path)) == 2

    assert "train the U-Net model first" in capsys.readouterr().err


def test_a_video_unet_begins_as_the_picture_unet_on_every_frame() -> None:
    torch.manual_seed(0)
    picture, video = new_first_frame_unet().eval(), new_detail_unet().eval()
    begin_as(video, picture)
    clip, text = torch.randn(1, 6, 2, 16, 16), torch.randn(1, 20, 96)
    known = {"encoder_hidden_states": text, "class_labels": torch.tensor([30])}

    with torch.no_grad():
        frames = video(clip, torch.tensor([500]), **known).sample
        alone = [picture(clip[:, :, k], torch.tensor([500]), **known).sample for k in range(2)]

    torch.testing.assert_close(frames, torch.stack(alone, dim=2), rtol=1e-3, atol=1e-4)


def test_new_input_channels_begin_without_effect_and_other_layers_are_refused() -> None:
    detail, between = new_detail_unet(), new_interpolation_unet()
    begin_as(between, detail)

    weight = between.conv_in.weight
    assert torch.equal(weight[:, :6], detail.conv_in.weight)
    assert not weight[:, 6:].any()
    with pytest.raises(ValueError, match="more than their temporal layers"):
        begin_as(new_detail_unet(), between)


class Recorder(nn.Module):
    """Keeps what a U-Net would see and answers with zeros."""

    def forward(self, inputs: Tensor, timesteps: Tensor, _text: Tensor, **extra: Tensor) -> SimpleNamespace:
        self.inputs, self.timesteps, self.extra = inputs, timesteps, extra
        return SimpleNamespace(sample=torch.zeros_like(inputs[:, :1]).repeat(1, 6, 1, 1, 1))


def material(tmp_path: Path, *, alphas_cumprod: Tensor) -> LossInputs:
    """Two clips, no text."""
    scenes = [sample_scene(seed) for seed in range(2)]
    clips = np.stack([render(scene, shot=SHOT).frames.numpy() for scene in scenes])
    small = {size: smaller_clips(tmp_path, clips, size=size) for size in (32, 64)}
    coverage = np.zeros((2, 17, 16, 16), np.float16)
    return LossInputs(
        Sizes(small, coverage),
        lambda captions: torch.zeros(len(captions), 20, 96),
        alphas_cumprod,
        Setting(torch.device("cpu")),
    )


def test_interpolation_sees_both_ends_of_a_clean_window_and_where_they_are(tmp_path: Path) -> None:
    unet = Recorder()
    interpolation_loss(unet, material(tmp_path, alphas_cumprod=torch.ones(1000)), step=0, progress=0.0)
    clean, between, is_end = unet.inputs.split([3, 3, 1], dim=1)

    assert torch.equal(between[:, :, [0, 4]], clean[:, :, [0, 4]])
    torch.testing.assert_close(between[:, :, 2], clean[:, :, [0, 4]].mean(dim=2))
    assert is_end[0, 0, :, 0, 0].tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize(("progress", "side"), [(0.0, 32), (0.9, 64)])
def test_super_resolution_sees_a_clean_first_frame_and_the_others_enlarged(
    progress: float, side: int, tmp_path: Path
) -> None:
    unet = Recorder()
    super_resolution_loss(
        unet, material(tmp_path, alphas_cumprod=torch.ones(1000)), step=0, progress=progress
    )
    clean, seen = unet.inputs.chunk(2, dim=1)

    assert clean.shape[-2:] == (side, side)
    assert torch.equal(seen[:, :, 0], clean[:, :, 0])
    # Enlarged pictures are smooth, and still those of their frames, recoloured alike.
    assert seen[:, :, 1:].diff(dim=-1).abs().mean() < clean[:, :, 1:].diff(dim=-1).abs().mean()
    assert (seen - clean).abs().mean() < 0.1
    assert unet.extra["class_labels"].max() < 300


def test_noise_is_what_is_learnt(tmp_path: Path) -> None:
    at_full_noise = material(tmp_path, alphas_cumprod=torch.zeros(1000))

    class Perfect(Recorder):
        def forward(self, inputs: Tensor, *_others: Tensor, **_extra: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=torch.cat([inputs, torch.full_like(inputs, 9.0)], dim=1))

    assert key_frame_loss(Perfect(), at_full_noise, step=1, progress=0.0) == 0
    assert key_frame_loss(Recorder(), at_full_noise, step=1, progress=0.0) == pytest.approx(1, abs=0.1)


def test_the_velocity_is_what_the_later_stages_learn(tmp_path: Path) -> None:
    small = {size: np.full((2, 17, size, size, 3), 255, np.uint8) for size in (32, 64)}
    white = replace(
        material(tmp_path, alphas_cumprod=torch.zeros(1000)),
        sizes=Sizes(small, np.zeros((2, 17, 16, 16), np.float16)),
    )

    class White(Recorder):
        """Out of noise alone, the velocity leads away from the picture."""

        def forward(self, inputs: Tensor, *_others: Tensor, **_extra: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=-torch.ones_like(inputs[:, :1]).repeat(1, 6, 1, 1, 1))

    assert interpolation_loss(White(), white, step=1, progress=0.0) == 0
    assert interpolation_loss(Recorder(), white, step=1, progress=0.0) == 1


def test_clips_are_made_small_once(tmp_path: Path) -> None:
    clips = np.full((1, 2, 64, 64, 3), 40, np.uint8)

    small = smaller_clips(tmp_path, clips, size=32)

    assert small.shape == (1, 2, 32, 32, 3)
    assert (small == 40).all()
    assert len(list(tmp_path.iterdir())) == 1
