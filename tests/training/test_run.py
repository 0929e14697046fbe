import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.run
from diffusers import AutoencoderKL, UNet3DConditionModel

import training.diffusion
from dreammotion_core import DreamMotionPipeline, EditConfig, Video
from dreammotion_core.errors import InputError
from tests.smoke_training import UNET_MODEL, smoke_words
from training.diffusion import encoded_clips, new_vae, whiten
from training.run import main, new_parser, read_options
from training.run_folder import load_trained, start_from
from training.world import render, sample_scene


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    assert main(smoke_words("toybox-unet", folder)) == 0
    return folder


def test_one_command_makes_a_model_that_edits(trained: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(str(trained / "toybox-unet"))
    rendered = render(sample_scene(1))

    output = pipe(
        Video(rendered.frames.numpy(), 8.0),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=rendered.mask.numpy(),
        config=EditConfig(num_optimization_steps=1, preview_interval=0, seed=0),
    )

    assert output.frames.shape == (8, 128, 128, 3)
    assert pipe.spec.vocabulary is not None
    assert "balloon" in pipe.spec.vocabulary
    sizes = [path.stat().st_size for path in (trained / "toybox-unet").rglob("*.safetensors")]
    assert len(sizes) >= 3
    assert max(sizes) < 10_000_000  # what a Space takes
    for name in ("vae", "diffusion"):
        assert (trained / "logs" / f"{name}.png").stat().st_size > 1000


def test_the_judge_is_trained_by_its_own_stage(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")

    assert main(smoke_words("toybox-clip", tmp_path)) == 0

    assert (tmp_path / "toybox-clip" / "model.safetensors").stat().st_size < 10_000_000
    assert (tmp_path / "logs" / "judge.csv").exists()
    assert (tmp_path / "cache" / "judge.pt").exists()


def test_a_stopped_training_of_the_model_ends_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "toybox-unet" / "vae", tmp_path / "toybox-unet" / "vae")
    shutil.copytree(trained / "cache", tmp_path / "cache")
    checkpoint = tmp_path / "cache" / "diffusion.pt"
    checkpoint.unlink()
    original = training.diffusion._step_loss

    def step_loss(*arguments: Any) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.diffusion, "_step_loss", step_loss)
        assert main(smoke_words("toybox-unet", tmp_path)) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"Stopped at step 1, which {checkpoint} keeps. The same command goes on from there."
    assert main(smoke_words("toybox-unet", tmp_path)) == 0

    for path in (trained / "toybox-unet").rglob("*.safetensors"):
        assert (tmp_path / path.relative_to(trained)).read_bytes() == path.read_bytes()


def test_again_trains_every_part_from_its_start(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)

    assert main([*smoke_words("toybox-unet", tmp_path), "--again", "--seed", "1"]) == 0

    for part in ("vae", "unet"):
        for path in (trained / "toybox-unet" / part).glob("*.safetensors"):
            assert (tmp_path / path.relative_to(trained)).read_bytes() != path.read_bytes()


def test_training_can_start_from_an_earlier_model(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))

    assert main([*smoke_words("toybox-unet", tmp_path), "--from", str(trained / "toybox-unet")]) == 0

    earlier, later = (
        UNet3DConditionModel.from_pretrained(folder / "toybox-unet" / "unet")
        for folder in (trained, tmp_path)
    )
    assert 0 < (earlier.conv_in.weight - later.conv_in.weight).abs().max() < 0.01


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of a training that cannot start."""
    assert main(arguments) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["banana", "meta", "cuda:77"])
def test_a_device_that_does_not_work_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal([*smoke_words("toybox-unet", tmp_path), "--device", name], capsys)

    assert line.startswith(f"Error: --device is '{name}', which does not work here (")
    assert "pass one of auto, cpu" in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--out", "--cache", "--log-folder"])
def test_folders_that_cannot_be_written_to_are_found_before_anything_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    assert main([*smoke_words("toybox-unet", tmp_path), option, str(tmp_path / "file" / "folder")]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"could not be read or written \(.+\); free space and look at the folders", line)
    assert not [path for path in tmp_path.glob("*/*") if path.is_file()]


def test_the_unet_model_is_not_overwritten_by_the_default_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(UNET_MODEL, tmp_path / "toybox")

    line = refusal([*smoke_words("toybox", tmp_path), "--again"], capsys)

    assert f"holds the U-Net model; move it to {tmp_path / 'toybox-unet'}, or choose another folder" in line
    assert (tmp_path / "toybox" / "vae" / "config.json").exists()


def test_weights_to_start_from_must_be_there_and_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*smoke_words("toybox-unet", tmp_path), "--from", str(tmp_path / "earlier")]
    assert "there is no vae at" in refusal(words, capsys)

    shutil.copytree(UNET_MODEL / "vae", tmp_path / "earlier" / "vae")
    weights = next((tmp_path / "earlier" / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    line = refusal(words, capsys)
    assert "vae cannot be loaded (" in line
    assert line.endswith("pass the folder of an earlier model of this stage, or leave --from out")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    AutoencoderKL.from_config(new_vae().config | {"latent_channels": 4}).save_pretrained(tmp_path)

    with pytest.raises(InputError, match=r"cannot be loaded \(Error\(s\) in loading.*leave --from"):
        start_from(new_vae(), tmp_path)


def test_a_damaged_autoencoder_in_the_output_folder_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    shutil.copytree(trained / "toybox-unet" / "vae", tmp_path / "toybox-unet" / "vae")
    weights = next((tmp_path / "toybox-unet" / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:5000])

    assert "cannot be loaded" in refusal(smoke_words("toybox-unet", tmp_path), capsys)


def test_an_error_that_says_nothing_is_named_by_its_kind(tmp_path: Path) -> None:
    def load(_folder: Path) -> None:
        raise ValueError

    with pytest.raises(InputError, match=r"cannot be loaded \(ValueError\); train it"):
        load_trained(load, tmp_path, remedy="train it")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "-1"], "--seed: '-1' is not a whole number from 0 to"),
        (["--seed", "18446744073709551616"], "is not a whole number from 0 to"),
        (["--clips", "abc"], "--clips: 'abc' is not a whole number from 1 to"),
        (["--clips", "0"], "--clips: '0' is not a whole number from 1 to"),
        (["--budget-minutes", "soon"], "--budget-minutes: 'soon' is not a number above 0"),
        (["--budget-minutes", "inf"], "--budget-minutes: 'inf' is not a number above 0"),
    ],
)
def test_numbers_that_are_none_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read_options(["toybox-unet", *words])

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_old_name_of_the_flow_model_means_the_default_model() -> None:
    assert read_options(["toybox-flow"]).stage == "toybox"
    assert read_options(["toybox-flow"]).out.name == "toybox"


def test_running_out_of_memory_is_said_in_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))
    monkeypatch.setattr(training.diffusion, "_loss", lambda *_: torch.empty(2**50))

    assert main(smoke_words("toybox-unet", tmp_path)) == 1

    assert "Error: the device ran out of memory; close other programs" in capsys.readouterr().err


def test_torchrun_takes_no_option_for_its_own() -> None:
    words = [f"{option}=1" for action in new_parser()._actions for option in action.option_strings]

    taken = torch.distributed.run.get_args_parser().parse_args(["-m", "training.run", "toybox", *words])

    assert taken.training_script_args == ["toybox", *words]


def test_whitening_changes_the_latents_and_not_the_pictures() -> None:
    vae = new_vae().eval()
    clips = torch.stack([render(sample_scene(seed)).frames for seed in range(4)]).numpy()
    images = torch.from_numpy(clips[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(images).latent_dist.mean).sample

        whiten(vae, clips, torch.device("cpu"), seed=0)

        latents = vae.encode(images).latent_dist.mean
        torch.testing.assert_close(vae.decode(latents).sample, before, rtol=1e-3, atol=1e-3)
        assert latents.std().item() == pytest.approx(1, abs=0.5)


def test_latents_of_another_autoencoder_are_not_taken(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(256, size=(2, 1, 32, 32, 3), dtype=np.uint8)
    one, other = (new_vae().eval() for _ in range(2))
    device = torch.device("cpu")

    latents = [encoded_clips(clips, vae, tmp_path, device) for vae in (one, other)]

    assert np.abs(latents[0] - latents[1]).max() > 1e-3
    assert len(list(tmp_path.iterdir())) == 2
    assert np.array_equal(encoded_clips(clips, one, tmp_path, device), latents[0])
