import copy
import csv
import re
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

import training.diffusion
import training.vae
from dreammotion_core.errors import InputError
from tests.smoke_training import smoke_words
from training.diffusion import encoded_clips, train_diffusion
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.run import main
from training.run_folder import RunFolder
from training.vae import new_vae

TOYBOX = Path(__file__).resolve().parents[2] / "assets" / "toybox"
COLUMNS = ["step", "seconds", "loss", "learning_rate"]


vae_in = partial(smoke_words, stage="vae")
"""A smoke run of the autoencoder."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("going_on")
    assert main(vae_in(folder)) == 0
    return folder


@pytest.fixture
def with_checkpoint(trained: Path, tmp_path: Path) -> Path:
    """A folder whose cache has a finished checkpoint that was made for another folder."""
    shutil.copytree(trained / "cache", tmp_path / "cache")
    return tmp_path


def said_by(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a training that succeeds prints."""
    capsys.readouterr()
    assert main(words) == 0
    return capsys.readouterr().out


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of a training that cannot go on."""
    assert main(words) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_finished_checkpoint_says_that_nothing_is_left(
    with_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(vae_in(with_checkpoint), capsys)

    at = with_checkpoint / "cache" / "vae.pt"
    assert f"vae: {at} was finished at step 2, so nothing is left to do; --again begins anew" in said


@pytest.mark.parametrize(
    ("words", "there", "asked"),
    [
        (["--seed", "7"], "--seed 0", "--seed 7"),
        (["--from", str(TOYBOX)], "--from nothing", "--from weights [0-9a-f]{12}"),
    ],
)
def test_a_checkpoint_that_was_begun_otherwise_is_refused_and_again_begins_anew(
    words: list[str], there: str, asked: str, with_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, command = with_checkpoint / "cache" / "vae.pt", [*vae_in(with_checkpoint), *words]
    before = torch.load(checkpoint)["model"]["encoder.conv_in.weight"]

    said = refusal(command, capsys)
    assert re.search(rf"vae\.pt was begun with {there}, and {asked} is asked for now; .*--again", said)
    assert not (with_checkpoint / "out" / "vae").exists()

    assert "nothing is left" not in said_by([*command, "--again"], capsys)
    after = torch.load(checkpoint)
    assert after["step"] == 2
    assert not torch.equal(after["model"]["encoder.conv_in.weight"], before)
    assert "nothing is left" in said_by(command, capsys)


def test_an_autoencoder_of_elsewhere_is_left_and_said_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))
    shutil.copytree(trained / "out", tmp_path / "out")

    assert "is finished and is used as it is; --again trains it anew" in said_by(vae_in(tmp_path), capsys)
    said = refusal([*vae_in(tmp_path), "--seed", "1"], capsys)
    assert "is finished, so --seed and --from would change nothing; train it anew with --again" in said


def test_a_training_anew_that_was_stopped_goes_on_without_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("out", "cache"):
        shutil.copytree(trained / name, tmp_path / name)
    original = training.vae._loss

    def loss(*arguments: Any) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.vae, "_loss", loss)
        assert main([*vae_in(tmp_path), "--again"]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("vae.pt keeps. The same command without --again goes on from there.")
    assert torch.load(tmp_path / "cache" / "vae.pt")["step"] == 1

    said_by(vae_in(tmp_path), capsys)
    assert torch.load(tmp_path / "cache" / "vae.pt")["step"] == 2


def test_latents_of_another_autoencoder_are_not_taken(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(256, size=(2, 1, 32, 32, 3), dtype=np.uint8)
    one, other = (new_vae().eval() for _ in range(2))
    device = torch.device("cpu")

    latents = [encoded_clips(clips, vae, tmp_path, device) for vae in (one, other)]

    assert np.abs(latents[0] - latents[1]).max() > 1e-3
    assert len(list(tmp_path.iterdir())) == 2
    saved_and_loaded = copy.deepcopy(one).half().float()
    assert np.array_equal(encoded_clips(clips, saved_and_loaded, tmp_path, device), latents[0])


def test_a_diffusion_model_of_another_autoencoder_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.diffusion, "training_set", lambda *_: None)
    monkeypatch.setattr(training.diffusion, "_step_loss", lambda model, *_: next(model.parameters()).sum())

    def run_with(vae: AutoencoderKL) -> None:
        run = RunFolder(tmp_path / "diffusion.pt", tmp_path / "log.csv", COLUMNS)
        clips = np.zeros((1, 1, 32, 32, 3), np.uint8)
        setting = Setting(torch.device("cpu"))
        train_diffusion(clips, vae, tmp_path, tmp_path / "out", run, Budget(1), setting)

    vae = new_vae()
    run_with(vae)
    run_with(vae)
    with pytest.raises(InputError, match=r"begun with autoencoder \w{12}, and autoencoder \w{12} is asked"):
        run_with(new_vae())


@pytest.mark.parametrize(
    ("finished", "made_for", "kept"), [(True, "out", True), (False, "out", False), (False, "b", True)]
)
def test_a_finished_part_is_replaced_only_by_a_stopped_training_for_its_folder(
    finished: bool, made_for: str, kept: bool, tmp_path: Path
) -> None:
    def run_for(name: str) -> RunFolder:
        return RunFolder(tmp_path / "run.pt", tmp_path / "log.csv", COLUMNS, out=tmp_path / name)

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").touch()
    run_for(made_for).save({"finished": finished})

    assert run_for("out").keeps(tmp_path / "out") == kept
    assert not run_for("out").keeps(tmp_path / "missing")


@pytest.mark.parametrize("log", ["there", "elsewhere", "without a header"])
def test_a_log_has_a_header_and_every_step_once(log: str, tmp_path: Path) -> None:
    def run(name: str, stop_at: int | None) -> Path:
        model = torch.nn.Linear(3, 1)

        def loss_at(step: int, _progress: float) -> torch.Tensor:
            if step == stop_at:
                raise MemoryError
            return model.weight.square().sum()

        recipe = Recipe(learning_rate=0.1, weight_decay=0.0, ema_decay=0.9, save_every=120)
        folder = RunFolder(tmp_path / "run.pt", tmp_path / name, COLUMNS)
        train(model, loss_at, recipe=recipe, run=folder, budget=Budget(200))
        return folder.log

    with pytest.raises(MemoryError):
        run("log.csv", 160)  # rows of 50, 100 and 150, checkpoint of 120
    if log == "without a header":
        rows = (tmp_path / "log.csv").read_text().splitlines()[1:]
        (tmp_path / "log.csv").write_text("\n".join([*rows, "15"]))
    path = run("other.csv" if log == "elsewhere" else "log.csv", None)

    steps = [] if log == "elsewhere" else ["50", "100"]
    with path.open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [*steps, "150", "200"]
    plot_log(path, tmp_path / "curve.png", "loss")
    assert (tmp_path / "curve.png").stat().st_size > 1000
