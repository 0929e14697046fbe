"""The stores of the source branch: bounded, the least recently used first, and robust against damage."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dreammotion_core.method import source_cache
from dreammotion_core.method.source_cache import DiskSourceCache, MemorySourceCache, Prediction, SourceCache

ENTRY_BYTES = 4096


def answer(value: float) -> Prediction:
    keys = torch.full((1, 2, 32, 12), value, dtype=torch.float32)
    return Prediction(torch.full((1, 4, 2, 8, 4), value, dtype=torch.float32), {"a.to_k": keys})


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> SourceCache:
    """Room for two answers, and for the headers of their files."""
    if request.param == "memory":
        return MemorySourceCache(max_bytes=2 * ENTRY_BYTES + 1024)
    return DiskSourceCache(tmp_path, max_bytes=2 * ENTRY_BYTES + 1024)


def test_an_answer_comes_back_as_it_was(cache: SourceCache) -> None:
    kept = answer(0.1)
    assert kept.num_bytes == ENTRY_BYTES

    cache.put("one", kept)
    found = cache.get("one")

    assert found is not None
    assert torch.equal(found.noise_pred, kept.noise_pred)
    assert list(found.keys) == ["a.to_k"]
    assert torch.equal(found.keys["a.to_k"], kept.keys["a.to_k"])
    assert cache.get("other") is None


def test_half_precision_keys_survive(cache: SourceCache) -> None:
    kept = Prediction(torch.ones(1), {"a": torch.randn(3).bfloat16()})

    cache.put("one", kept)
    found = cache.get("one")

    assert found is not None
    assert torch.equal(found.keys["a"], kept.keys["a"])


def test_the_least_recently_used_answer_of_earlier_runs_leaves_first(cache: SourceCache) -> None:
    cache.put("one", answer(1))
    cache.put("two", answer(2))
    cache.begin_run()
    assert cache.get("one") is not None

    cache.put("three", answer(3))

    assert cache.get("two") is None
    assert cache.get("one") is not None
    assert cache.get("three") is not None


def test_a_run_longer_than_the_cache_keeps_its_first_steps_for_the_next_one(cache: SourceCache) -> None:
    steps = ["one", "two", "three"]
    for _ in range(2):
        cache.begin_run()
        found = [cache.get(step) is not None for step in steps]
        for step in steps:
            cache.put(step, answer(1))

    assert found == [True, True, False]


def test_memory_is_bounded() -> None:
    cache = MemorySourceCache(max_bytes=3 * ENTRY_BYTES)
    for index in range(9):
        cache.begin_run()
        cache.put(str(index), answer(index))

    assert cache.num_bytes == 3 * ENTRY_BYTES


def test_the_disk_is_bounded(tmp_path: Path) -> None:
    cache = DiskSourceCache(tmp_path, max_bytes=4 * ENTRY_BYTES)
    for index in range(9):
        cache.begin_run()
        cache.put(str(index), answer(index))

    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert sum(sizes) <= 4 * ENTRY_BYTES


def test_answers_that_never_fit_are_not_kept(cache: SourceCache) -> None:
    cache.put("huge", Prediction(torch.zeros(10_000), {}))

    assert cache.get("huge") is None


def test_later_processes_find_the_files(tmp_path: Path) -> None:
    DiskSourceCache(tmp_path / "new").put("one", answer(1))

    assert DiskSourceCache(tmp_path / "new").get("one") is not None


@pytest.mark.parametrize("content", [b"", b"no safetensors file at all"])
def test_a_damaged_file_counts_as_absent_and_is_removed(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cache = DiskSourceCache(tmp_path)
    cache.put("one", answer(1))
    (tmp_path / "one.safetensors").write_bytes(content)

    with caplog.at_level(logging.WARNING):
        assert cache.get("one") is None

    assert "is damaged" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")

    DiskSourceCache(tmp_path / "file").put("one", answer(1))

    assert "was not kept" in caplog.text


def test_a_file_that_another_process_evicts_while_it_is_read_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, path = DiskSourceCache(tmp_path), tmp_path / "one.safetensors"
    cache.put("one", answer(1))

    def load_as_it_goes(file: Path) -> dict[str, torch.Tensor]:
        tensors = load_file(file)
        file.unlink()
        return tensors

    monkeypatch.setattr(source_cache, "load_file", load_as_it_goes)

    assert cache.get("one") is not None
    assert not path.exists()


def test_files_that_another_process_evicts_meanwhile_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, glob = DiskSourceCache(tmp_path), Path.glob
    cache.put("one", answer(1))

    def glob_as_they_go(folder: Path, pattern: str) -> Iterator[Path]:
        for file in glob(folder, pattern):
            file.unlink()
            yield file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "glob", glob_as_they_go)
        cache.put("two", answer(2))

    assert cache.get("one") is None
    assert cache.get("two") is not None
