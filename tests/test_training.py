import csv
from pathlib import Path

import pytest
import torch

from dreammotion_core import DreamMotionPipeline, EditConfig
from training.loop import Budget, Recipe, RunFolder, learning_rate, train
from training.run import main
from training.state import Ema
from training.vae import new_vae, whiten
from training.world import render, sample_scene


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    arguments = ["toybox", "--smoke", "--device", "cpu"]
    for option, name in (("out", "out"), ("cache", "cache"), ("log-folder", "logs")):
        arguments += [f"--{option}", str(folder / name)]
    assert main(arguments) == 0
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
