import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet3DConditionModel

from dreammotion_core.errors import InputError
from training.arguments import read_options
from training.checks import check_model_folder, load_trained
from training.data import kept_array, rendered_clips
from training.diffusion import train_diffusion
from training.flow_transformer import new_transformer, train_transformer
from training.loop import Budget, Setting
from training.run import main
from training.run_folder import RunFolder
from training.vae import new_vae, train_vae

TOYBOX = Path(__file__).resolve().parents[2] / "assets" / "toybox"
CLIPS = np.zeros((1, 1, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "-1"], "--seed: '-1' is no whole number from 0 to"),
        (["--seed", "18446744073709551616"], "is no whole number from 0 to"),
        (["--clips", "abc"], "--clips: 'abc' is no whole number from 1 to"),
        (["--clips", "0"], "--clips: '0' is no whole number from 1 to"),
        (["--budget-minutes", "soon"], "--budget-minutes: 'soon' is no number above 0"),
        (["--budget-minutes", "inf"], "--budget-minutes: 'inf' is no number above 0"),
    ],
)
def test_numbers_that_are_none_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read_options(["vae", *words])

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_damaged_weights_to_start_from_are_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(TOYBOX, tmp_path / "model")
    weights = next((tmp_path / "model" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    folders = [f"--{name}={tmp_path / name}" for name in ("out", "cache", "log-folder")]

    assert main(["toybox", "--smoke", "--device=cpu", *folders, "--from", str(tmp_path / "model")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert f"{weights} is damaged (" in line
    assert line.endswith(
        "pass the folder of an earlier model, such as assets/toybox, or leave the option out"
    )
    assert not any((tmp_path / "cache").iterdir())


def test_a_folder_to_start_from_needs_weights(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").touch()

    with pytest.raises(
        InputError, match=r"whose vae has no \.safetensors file; pass the folder of an earlier"
    ):
        check_model_folder(tmp_path, parts=("vae",))


def run_in(folder: Path) -> RunFolder:
    return RunFolder(folder / "run.pt", folder / "log.csv", ["step"])


def test_an_autoencoder_of_another_shape_is_refused(tmp_path: Path) -> None:
    config = new_vae().config | {"latent_channels": 4}
    AutoencoderKL.from_config(config).save_pretrained(tmp_path / "vae")
    setting = Setting(torch.device("cpu"), warm_start=tmp_path)

    with pytest.raises(
        InputError, match=r"vae cannot be loaded \(Error\(s\) in loading state_dict.*leave the"
    ):
        train_vae(CLIPS, tmp_path / "out", run_in(tmp_path), Budget(1), setting)


def test_a_unet_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.diffusion.training_set", lambda *_: None)
    shutil.copytree(TOYBOX, tmp_path / "model", ignore=shutil.ignore_patterns("unet", "vae"))
    config = UNet3DConditionModel.load_config(TOYBOX / "unet") | {"block_out_channels": (32, 64)}
    UNet3DConditionModel.from_config(config).save_pretrained(tmp_path / "model" / "unet")
    setting = Setting(torch.device("cpu"), warm_start=tmp_path / "model")

    with pytest.raises(InputError, match=r"model cannot be loaded \(Error\(s\) in loading state_dict"):
        train_diffusion(CLIPS, new_vae(), tmp_path, tmp_path / "out", run_in(tmp_path), Budget(1), setting)


def test_a_transformer_of_another_shape_is_refused(tmp_path: Path) -> None:
    new_transformer(12, latent_channels=4).save_pretrained(tmp_path / "transformer")
    data: Any = SimpleNamespace(vae=torch.nn.Linear(1, 1))
    data.vae.config = SimpleNamespace(z_dim=16)
    text: Any = SimpleNamespace(width=12)
    setting = Setting(torch.device("cpu"), warm_start=tmp_path)

    with pytest.raises(InputError, match=r"transformer cannot be loaded \(Error\(s\) in loading state_dict"):
        train_transformer(
            data, text=text, out=tmp_path / "out", run=run_in(tmp_path), budget=Budget(1), setting=setting
        )


@pytest.mark.parametrize("kept", [0, 5, 60, 5000])
@pytest.mark.parametrize("in_memory", [True, False])
def test_damaged_arrays_of_the_cache_say_what_to_delete(kept: int, in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / "clips.npy"
    np.save(path, np.zeros(10_000, np.uint8))
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(InputError, match=r"clips\.npy is damaged \(.+\); delete that file, and the same"):
        kept_array(path, in_memory=in_memory)


def test_clips_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    rendered_clips(tmp_path, 1, num_frames=1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(InputError, match=r"npy is damaged"):
        rendered_clips(tmp_path, 1, num_frames=1)


def test_an_error_that_says_nothing_is_named_by_its_kind(tmp_path: Path) -> None:
    def load(_folder: Path) -> None:
        raise ValueError

    with pytest.raises(InputError, match=r"cannot be loaded \(ValueError\); train it"):
        load_trained(load, tmp_path, remedy="train it")
