import csv
import re
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.run

import training.diffusion
import training.vae
from dreammotion_core import DreamMotionPipeline, EditConfig
from dreammotion_core.errors import InputError, OutputError
from tests.smoke_training import smoke_words
from training.arguments import new_parser
from training.interruption import Interruption
from training.loop import Budget, Recipe, learning_rate, train
from training.run import main
from training.run_folder import RunFolder
from training.state import Ema
from training.vae import new_vae, whiten
from training.world import render, sample_scene


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    assert main(["toybox", *smoke_words(folder)]) == 0
    return folder


def test_one_command_makes_a_model_that_edits(trained: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(str(trained / "out"))
    rendered = render(sample_scene(1))
    config = EditConfig(num_optimization_steps=1, preview_interval=0, seed=0)
    from dreammotion_core import Video

    output = pipe(
        Video(rendered.frames.numpy(), 8.0),
        source_prompt="a red ball",
        target_prompt="a blue ball",
        mask=rendered.mask.numpy(),
        config=config,
    )

    assert output.frames.shape == (8, 128, 128, 3)
    assert pipe.spec.vocabulary is not None
    assert "balloon" in pipe.spec.vocabulary


def test_the_judge_is_trained_by_its_own_stage(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")

    assert main(["toybox-clip", *smoke_words(tmp_path)]) == 0

    assert (tmp_path / "out" / "model.safetensors").stat().st_size < 10_000_000
    assert (tmp_path / "logs" / "judge.csv").exists()
    assert (tmp_path / "cache" / "judge.pt").exists()


def test_every_file_is_small_enough_for_a_space(trained: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in (trained / "out").rglob("*.safetensors")}

    assert len(sizes) >= 3
    assert max(sizes.values()) < 10_000_000


def test_a_log_is_written(trained: Path) -> None:
    for name in ("vae", "diffusion"):
        with (trained / "logs" / f"{name}.csv").open() as file:
            assert next(csv.reader(file)) == ["step", "seconds", "loss", "learning_rate"]
        assert (trained / "logs" / f"{name}.png").stat().st_size > 1000


def test_whitening_changes_the_latents_and_not_the_pictures() -> None:
    vae = new_vae().eval()
    clips = torch.stack([render(sample_scene(seed)).frames for seed in range(4)]).numpy()
    images = torch.from_numpy(clips[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(images).latent_dist.mean).sample

        whiten(vae, clips, torch.device("cpu"), seed=0)

        latents = vae.encode(images).latent_dist.mean
        torch.testing.assert_close(vae.decode(latents).sample, before, rtol=1e-3, atol=1e-3)
        assert latents.std() == pytest.approx(1, abs=0.5)


def test_the_learning_rate_warms_up_and_falls_to_almost_nothing() -> None:
    rates = [learning_rate(p / 100, peak=1.0) for p in range(101)]

    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[-1] == pytest.approx(0.02)


def test_a_resumed_budget_counts_the_time_before() -> None:
    assert Budget(10, minutes=1, seconds_before=60).progress == 1
    assert Budget(10, step=5).progress == 0.5


def test_the_average_follows_the_weights() -> None:
    module = torch.nn.Linear(2, 2)
    ema = Ema(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(3.0)
    for _ in range(200):
        ema.update(module)

    torch.testing.assert_close(ema.module.weight, module.weight)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    def run_until(folder: Path, stop_at: int | None) -> torch.nn.Module | None:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)

        def loss_at(step: int, _progress: float) -> torch.Tensor:
            if step == stop_at:
                raise KeyboardInterrupt
            inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

        recipe = Recipe(learning_rate=0.1, weight_decay=0.0, ema_decay=0.9, save_every=2)
        run = RunFolder(folder / "run.pt", folder / "log.csv", ["step"])
        return train(model, loss_at, recipe=recipe, run=run, budget=Budget(10))

    whole = run_until(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run_until(tmp_path / "broken", 7)
    resumed = run_until(tmp_path / "broken", None)

    assert whole is not None
    assert resumed is not None
    assert torch.equal(whole.weight, resumed.weight)  # type: ignore[arg-type]


def press_ctrl_c_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a step of the diffusion model."""
    original = training.diffusion._step_loss

    def step_loss(*arguments: Any) -> torch.Tensor:
        if arguments[-1] == step:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(training.diffusion, "_step_loss", step_loss)


def test_a_stopped_training_of_the_model_ends_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "out" / "vae", tmp_path / "out" / "vae")
    shutil.copytree(trained / "cache", tmp_path / "cache")
    checkpoint = tmp_path / "cache" / "diffusion.pt"
    checkpoint.unlink()

    with monkeypatch.context() as patch:
        press_ctrl_c_at(1, patch)
        assert main(["toybox", *smoke_words(tmp_path)]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"Stopped at step 2, which {checkpoint} keeps. The same command goes on from there."
    assert main(["toybox", *smoke_words(tmp_path)]) == 0

    for part in ("unet", "text_encoder"):
        for path in sorted((trained / "out" / part).glob("*.safetensors")):
            assert (tmp_path / "out" / part / path.name).read_bytes() == path.read_bytes()


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell ignores it for what runs in its background
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a training prints which cannot start."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("name", ["banana", "meta", "cuda:77"])
def test_a_device_that_does_not_work_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(["vae", *smoke_words(tmp_path), "--device", name], capsys)

    assert line.startswith(f"Error: --device is '{name}', which does not work here (")
    assert "pass one of auto, cpu" in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--out", "--cache", "--log-folder"])
def test_folders_that_cannot_be_written_to_are_found_before_anything_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    line = refusal(["toybox", *smoke_words(tmp_path), option, str(tmp_path / "file" / "folder")], capsys)

    assert re.search(rf"cannot be written to \(.+\); .*another folder with {option}$", line)
    assert not [path for path in tmp_path.glob("*/*") if path.is_file()]


def test_the_folder_to_start_from_must_hold_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(["toybox", *smoke_words(tmp_path), "--from", str(tmp_path)], capsys)

    assert "has no vae and no unet and no text_encoder; pass the folder of an earlier model" in line


def test_training_can_start_from_an_earlier_model(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))

    assert main(["vae", *smoke_words(tmp_path), "--from", str(trained / "out")]) == 0

    assert (tmp_path / "out" / "vae" / "config.json").exists()


def test_a_damaged_autoencoder_in_the_output_folder_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    shutil.copytree(trained / "out" / "vae", tmp_path / "out" / "vae")
    weights = next((tmp_path / "out" / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:5000])

    assert "cannot be loaded" in refusal(["toybox", *smoke_words(tmp_path)], capsys)


def linear_run(folder: Path, num_inputs: int = 3, steps: int = 2) -> None:
    """A few steps of the smallest model there is."""
    model = torch.nn.Linear(num_inputs, 1)
    recipe = Recipe(learning_rate=0.1, weight_decay=0.0, ema_decay=0.9, save_every=2)
    run = RunFolder(folder / "run.pt", folder / "log.csv", ["step"])
    train(model, lambda *_: model.weight.square().sum(), recipe=recipe, run=run, budget=Budget(steps))


@pytest.mark.parametrize("content", [b"", b"half of a file", "list", "format", "shape", "keys", "cut"])
def test_checkpoints_that_do_not_fit_say_what_to_delete(content: str | bytes, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    linear_run(tmp_path, num_inputs=4 if content == "shape" else 3)
    state = torch.load(checkpoint)
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    elif content == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    elif content != "shape":
        damaged = {"list": [1], "format": {**state, "format": 1}, "keys": {"format": state["format"]}}
        torch.save(damaged[content], checkpoint)
    before = checkpoint.read_bytes()

    with pytest.raises(InputError, match=r"run\.pt (is|has) .*; delete that file .* --again"):
        linear_run(tmp_path)

    assert checkpoint.read_bytes() == before


def test_a_finished_training_is_not_made_longer(tmp_path: Path) -> None:
    linear_run(tmp_path)

    with pytest.raises(InputError, match=r"finished at step 2, and a longer one is asked for .*--from"):
        linear_run(tmp_path, steps=3)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    linear_run(tmp_path)
    run = RunFolder(tmp_path / "run.pt", tmp_path / "log.csv", ["step"])
    before, files = run.checkpoint.read_bytes(), sorted(tmp_path.iterdir())

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(OutputError, match=r"run\.pt could not be written \(.+\); free space"):
            run.save({"model": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    assert run.checkpoint.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files


def test_running_out_of_memory_is_said_in_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.pt"))
    monkeypatch.setattr(training.vae, "_loss", lambda *_: torch.empty(2**50))

    assert main(["vae", *smoke_words(tmp_path)]) == 1

    assert "Error: the device ran out of memory; close other programs" in capsys.readouterr().err


def test_torchrun_takes_no_option_for_its_own() -> None:
    words = [f"{option}=1" for action in new_parser()._actions for option in action.option_strings]

    taken = torch.distributed.run.get_args_parser().parse_args(["-m", "training.run", "toybox", *words])

    assert taken.training_script_args == ["toybox", *words]
