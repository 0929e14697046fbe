import pytest
import torch

import benchmarks.training_speed
from benchmarks.training_speed import main, step_seconds
from training.flow import new_transformer


def test_a_step_changes_the_weights_and_takes_time() -> None:
    model = new_transformer(96, 4)
    before = model.proj_out.bias.clone()

    seconds = step_seconds(model, model, 1, 1, is_fused=True, steps=1)

    assert seconds > 0
    assert not torch.equal(model.proj_out.bias, before)


def test_the_gain_is_told_for_pictures_and_clips(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training_speed", "--no-compile", "--steps", "1"])
    monkeypatch.setattr(benchmarks.training_speed, "BATCHES", {"pictures": (2, 1), "clips": (1, 2)})

    main()

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("frames a second, x 1.0" in line for line in lines[:2])
