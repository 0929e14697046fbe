import json
import signal
from pathlib import Path

import pytest

import training.model_files
import training.text_to_video
from training.model_files import write_index, written_together
from training.text import build_tokenizer
from training.text_to_video import TextToVideo, export


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with weights in two files and a note that no training wrote."""
    for name in ("unet/a-1-of-2.safetensors", "unet/a-2-of-2.safetensors", "unet/a.safetensors.index.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    (tmp_path / "README.md").write_text("note")
    return tmp_path


def test_new_files_take_the_place_of_old_weights_and_of_nothing_else(model: Path) -> None:
    with written_together(model) as whole:
        (whole / "unet").mkdir()
        (whole / "unet" / "a.safetensors").write_text("new")
        (whole / "vae").mkdir()
        (whole / "vae" / "config.json").write_text("new")

    expected = {"README.md": "note", "unet/a.safetensors": "new", "vae/config.json": "new"}
    assert contents(model) == expected
    assert {path.name for path in model.iterdir()} == {"README.md", "unet", "vae"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_there_stays_if_writing_ends_early(model: Path, error: type[BaseException]) -> None:
    before = contents(model)

    def write() -> None:
        with written_together(model) as whole:
            (whole / "unet").mkdir()
            (whole / "unet" / "a-1-of-2.safetensors").write_text("new")
            raise error

    with pytest.raises(error):
        write()

    assert contents(model) == before


def test_ctrl_c_while_files_are_moved_waits_for_all_of_them(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = training.model_files.os.replace

    def interrupted(source: Path, target: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr("os.replace", replace)
        replace(source, target)

    def write() -> None:
        with written_together(model) as whole:
            (whole / "one").write_text("new")
            (whole / "two").write_text("new")
            monkeypatch.setattr("os.replace", interrupted)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGINT, handler)

    assert contents(model).items() >= {"one": "new", "two": "new"}.items()


def test_an_index_is_written_whole(tmp_path: Path) -> None:
    write_index(tmp_path, {"fps": 8})
    with pytest.raises(TypeError):
        write_index(tmp_path, {"fps": object()})

    assert json.loads((tmp_path / "model_index.json").read_text()) == {"fps": 8}
    assert [path.name for path in tmp_path.iterdir()] == ["model_index.json"]


def test_a_model_that_is_half_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = build_tokenizer()
    end = tokenizer.eos_token_id
    export(TextToVideo(len(tokenizer), end), tmp_path, tokenizer=tokenizer)
    weights = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert {path.parent.name for path in weights} == {"unet", "text_encoder"}

    def stop(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.text_to_video.CLIPTextModel, "save_pretrained", stop)
    with pytest.raises(KeyboardInterrupt):
        export(TextToVideo(len(tokenizer), end), tmp_path, tokenizer=tokenizer)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == weights
