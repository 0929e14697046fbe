from pathlib import Path

import numpy as np
import pytest
import torch

import training.autoencoder
from training.autoencoder import (
    held_out_frames,
    new_autoencoder,
    quality,
    random_frames,
    refine_decoder,
    set_statistics,
    train_autoencoder,
)
from training.data import PICTURE_PAIRS, Pairs, rendered_pairs
from training.loop import Budget, Setting
from training.run_folder import RunFolder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return rendered_pairs(tmp_path_factory.mktemp("pairs"), PICTURE_PAIRS, 12)


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.autoencoder, "HELD_OUT_SCENES", 6)
    monkeypatch.setattr(training.autoencoder, "LINEAR_SAMPLE", 48)


def test_an_autoencoder_begins_as_the_best_linear_code(data: Pairs) -> None:
    pictures, coverage = random_frames(data, np.random.default_rng(0), 24)
    held_out = held_out_frames()

    few, many = (new_autoencoder(pictures, coverage > 0, z_dim) for z_dim in (4, 32))

    assert quality(many, *held_out)[0] > quality(few, *held_out)[0] + 3
    assert quality(many, *held_out)[1] > 24
    latents = many.encode_pictures(pictures)
    assert latents.std().item() == pytest.approx(1, abs=0.3)


def test_statistics_keep_more_of_the_spread_of_the_first_components(data: Pairs) -> None:
    pictures, coverage = random_frames(data, np.random.default_rng(0), 24)
    vae = new_autoencoder(pictures, coverage > 0)

    set_statistics(vae, pictures, torch.linspace(4, 0.25, 32))

    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    normal = ((vae.encode_pictures(pictures) - mean) / std).detach()
    assert normal.square().mean().item() == pytest.approx(1, rel=0.01)
    spread = normal.std((0, 2, 3))
    assert (spread[0] / spread[-1]).item() == pytest.approx(4, rel=0.01)


def test_training_improves_on_the_linear_code_and_says_so(
    data: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.autoencoder, "CROPS", 4)
    monkeypatch.setattr(training.autoencoder, "FRAMES", 2)
    run = RunFolder(tmp_path / "run.pt", tmp_path / "log.csv")

    vae = train_autoencoder(
        data, out=tmp_path / "vae", run=run, budget=Budget(12), setting=Setting(torch.device("cpu"))
    )

    first, last = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines() if "dB" in line]
    assert last > first - 0.5
    loaded = type(vae).from_pretrained(tmp_path / "vae")
    assert loaded.config.latents_std == vae.config.latents_std
    assert max(path.stat().st_size for path in (tmp_path / "vae").glob("*.safetensors")) < 10_000_000

    refine_decoder(
        data,
        folder=tmp_path / "vae",
        run=RunFolder(tmp_path / "decoder.pt", tmp_path / "decoder.csv"),
        budget=Budget(3),
        setting=Setting(torch.device("cpu")),
    )
    refined = type(vae).from_pretrained(tmp_path / "vae").state_dict()
    changed = {name for name, value in loaded.state_dict().items() if not torch.equal(value, refined[name])}
    assert any(name.startswith("decoder") for name in changed)
    assert not any(name.startswith(("project", "encoder")) for name in changed)
