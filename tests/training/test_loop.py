import csv
import resource
import signal
from pathlib import Path

import pytest
import torch

import training.loop
from dreammotion_core.errors import InputError, OutputError
from training.loop import Budget, Recipe, Setting, train
from training.processes import Interruption
from training.run_folder import RunFolder

RECIPE = Recipe(learning_rate=0.1, weight_decay=0.0, ema_decay=0.9, save_every=2)


def linear_run(
    folder: Path, *, num_inputs: int = 3, steps: int = 10, stop_at: int | None = None
) -> torch.nn.Module:
    """A run of the smallest model there is."""
    torch.manual_seed(0)
    model = torch.nn.Linear(num_inputs, 1)

    def loss_at(step: int, _progress: float) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(8, num_inputs, generator=torch.Generator().manual_seed(step))
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    run = RunFolder(folder / "run.pt", folder / "log.csv")
    return train(model, loss_at, recipe=RECIPE, run=run, budget=Budget(steps))


def test_the_learning_rate_warms_up_holds_and_falls_to_almost_nothing() -> None:
    for hold in (0.0, 0.8):
        recipe = Recipe(1.0, 0.0, 0.9, save_every=1, hold=hold)
        rates = [recipe.rate(p / 100) for p in range(101)]

        assert rates[0] < 0.1
        assert max(rates) == pytest.approx(1.0, abs=0.02)
        assert rates[-1] == pytest.approx(0.02)
        assert (rates[79] == 1.0) == (hold == 0.8)


def test_a_resumed_budget_counts_the_time_before() -> None:
    assert Budget(10, minutes=1, seconds_before=60).progress == 1
    assert Budget(10, step=5).progress == 0.5


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = linear_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        linear_run(tmp_path / "broken", stop_at=7)
    resumed = linear_run(tmp_path / "broken")

    assert torch.equal(whole.weight, resumed.weight)


def test_slow_steps_have_checkpoints_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.loop, "SAVE_SECONDS", 0.0)

    with pytest.raises(KeyboardInterrupt):
        linear_run(tmp_path, stop_at=7)

    assert torch.load(tmp_path / "run.pt")["step"] == 7


def test_a_finished_training_is_left_alone_and_a_longer_budget_goes_on_from_its_end(tmp_path: Path) -> None:
    finished = linear_run(tmp_path, steps=4)
    again = linear_run(tmp_path, steps=4, stop_at=0)
    longer = linear_run(tmp_path, steps=6, stop_at=3)

    assert torch.equal(finished.weight, again.weight)
    assert not torch.equal(finished.weight, longer.weight)


@pytest.mark.parametrize("content", [b"", b"half of a file", "list", "shape", "keys", "cut"])
def test_checkpoints_that_do_not_fit_say_what_to_delete(content: str | bytes, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    linear_run(tmp_path, num_inputs=4 if content == "shape" else 3)
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    elif content == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    elif content != "shape":
        torch.save({"list": [1], "keys": {"step": 1}}[content], checkpoint)
    before = checkpoint.read_bytes()

    with pytest.raises(InputError, match=r"run\.pt cannot be used \(.+\); delete it to train"):
        linear_run(tmp_path)

    assert checkpoint.read_bytes() == before


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    linear_run(tmp_path)
    run = RunFolder(tmp_path / "run.pt", tmp_path / "log.csv")
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


@pytest.mark.parametrize("log", ["there", "gone", "without a header"])
def test_a_log_has_a_header_and_every_step_once(log: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        linear_run(tmp_path, steps=200, stop_at=151)  # rows of 50, 100 and 150, checkpoint of 150
    path = tmp_path / "log.csv"
    rows = path.read_text().splitlines()
    if log == "gone":
        path.unlink()
    elif log == "without a header":
        path.write_text("\n".join([*rows[1:], "200", ""]))
    linear_run(tmp_path, steps=200)

    steps = [] if log == "gone" else ["50", "100", "150"]
    with path.open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [*steps, "200"]
    assert path.with_suffix(".png").stat().st_size > 1000


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell ignores it for what runs in its background
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_compiler_nothing_is_compiled_which_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-here")

    assert Setting(torch.device("cpu")).compiled(abs) is abs
    assert "a-compiler-that-is-not-here was not found: nothing is compiled" in capsys.readouterr().out
    assert Setting(torch.device("cpu"), compiles=False).compiled(abs) is abs
    assert not capsys.readouterr().out
