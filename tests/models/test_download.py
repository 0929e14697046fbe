"""Models arrive with a report, the files that are needed alone, and can be stopped at any moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import RepoFile, constants, try_to_load_from_cache

from downloads import CancelledError
from dreammotion_core import ModelLoadError, ModelSpec, download_model
from dreammotion_core.models.catalog import find_model
from dreammotion_core.models.download import needed_files
from dreammotion_core.spec import HubPart
from tests.hub_cache import put_into_cache
from tests.publisher import publisher_of
from tests.tiny import tiny_spec

REVISION = "0" * 40
FILES = {
    "model_index.json": 100,
    "README.md": 5000,
    "sample.mp4": 900_000,
    "zeroscope.ckpt": 900_000,
    "unet/config.json": 200,
    "unet/diffusion_pytorch_model.safetensors": 70_000,
    "unet/diffusion_pytorch_model.fp16.safetensors": 35_000,
    "unet/diffusion_pytorch_model.bin": 70_000,
    "vae/config.json": 100,
    "vae/diffusion_pytorch_model.bin": 9_000,
    "tokenizer/merges.txt": 600,
}
NEEDED = {
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
    "tokenizer/merges.txt",
}
WEIGHTS = {"unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"}


@dataclass
class Hub:
    """A hub that sends a file in blocks, and stops before its second one until it is let go on.

    Files go through the hub's own library up to the download of a single file, and arrive in its cache.
    """

    monkeypatch: pytest.MonkeyPatch
    cache: Path
    is_open: bool = True

    def __post_init__(self) -> None:
        self.go_on, self.cancelled, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.asked: list[tuple[str, str]] = []
        self.refuses: str | None = None
        self.loses: str | None = None
        if self.is_open:
            self.go_on.set()
        self.monkeypatch.setattr(constants, "HF_HUB_CACHE", str(self.cache))
        self.monkeypatch.setattr("huggingface_hub.HfApi.model_info", self.model_info)
        self.monkeypatch.setattr("huggingface_hub.HfApi.list_repo_tree", self.list_repo_tree)
        self.monkeypatch.setattr("huggingface_hub._snapshot_download.hf_hub_download", self.hf_hub_download)
        spec = replace(tiny_spec("owner/tiny"), revision=REVISION)
        self.monkeypatch.setattr("dreammotion_core.models.download.find_model", lambda _: self.spec(spec))

    @property
    def fetched(self) -> list[str]:
        return [name for _, name in self.asked]

    def spec(self, spec: ModelSpec) -> ModelSpec:
        return spec

    def model_info(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in FILES.items()]
        )

    def list_repo_tree(self, **__: Any) -> Iterator[RepoFile]:
        return (RepoFile(path=name, size=size, oid=name) for name, size in FILES.items())

    def hf_hub_download(
        self, source: str, *, filename: str, revision: str, tqdm_class: Any, **__: Any
    ) -> str:
        assert revision == REVISION
        if source == self.refuses:
            raise PermissionError("its owner asks to accept terms")
        part, size = HubPart(source, revision), FILES[filename]
        if isinstance(try_to_load_from_cache(source, filename, revision=revision), str):
            return filename
        with self.lock:
            self.asked.append((source, filename))
        bar = tqdm_class(total=size, initial=0, desc=filename)
        try:
            for _ in range(2):
                bar.update(size // 2)
                bar.update_transfer(size // 2)
                self.go_on.wait(5)
        except CancelledError:
            self.cancelled.set()
            raise
        if filename != self.loses:
            put_into_cache(self.cache, part, {filename: "arrived"})
        return filename


@dataclass
class HubOfSeveral(Hub):
    """A hub with a model in three repositories, of which two are needed in part."""

    def spec(self, spec: ModelSpec) -> ModelSpec:
        parts = (HubPart(f"owner/{name}", REVISION, ("unet",)) for name in ("second", "third"))
        return replace(spec, stages=("first", "second", "third"), further_sources=tuple(parts))


def test_only_what_a_model_is_loaded_from_is_fetched() -> None:
    assert set(needed_files(list(FILES))) == NEEDED


def test_parts_of_large_weights_come_with_their_index() -> None:
    names = ["text_encoder/model.safetensors.index.json", "text_encoder/model-00001-of-00002.safetensors"]
    assert set(needed_files([*names, "text_encoder/pytorch_model.bin.index.json"])) == set(names)


def test_a_download_tells_how_far_it_is_and_brings_the_weights_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = Hub(monkeypatch, tmp_path)

    reports = list(download_model("tiny"))

    assert set(hub.fetched) == NEEDED
    assert set(hub.fetched[-2:]) == WEIGHTS
    received = [report.received_bytes for report in reports]
    assert received == sorted(received)
    assert received[-1] <= 80_000
    assert all(report.total_bytes in (0, 80_000) for report in reports)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [Hub, HubOfSeveral])
def test_closing_the_report_ends_the_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Hub]
) -> None:
    hub = kind(monkeypatch, tmp_path, is_open=False)
    reports = download_model("tiny")
    while next(reports).received_bytes == 0:
        pass

    reports.close()
    hub.go_on.set()

    assert hub.cancelled.wait(10)
    assert {source for source, _ in hub.asked} == {"owner/tiny"}
    assert WEIGHTS.isdisjoint(hub.fetched)


def test_a_cancelled_download_goes_on_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_into_cache(tmp_path, HubPart("owner/tiny", REVISION), dict.fromkeys(NEEDED - WEIGHTS, "here"))
    hub = Hub(monkeypatch, tmp_path)

    list(download_model("tiny"))

    assert set(hub.fetched) == WEIGHTS


def test_what_is_here_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub(monkeypatch, tmp_path)
    monkeypatch.setattr(ModelSpec, "is_ready", lambda _: True)

    assert list(download_model("tiny")) == []
    assert list(download_model(str(tmp_path))) == []
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError("no route to host"), "no route to host"), (PermissionError("gated"), "accept terms first")],
)
def test_a_hub_that_cannot_be_reached_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    hub = Hub(monkeypatch, tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)

    with pytest.raises(ModelLoadError, match=said):
        list(download_model("tiny"))
    assert hub.fetched == []


@pytest.mark.parametrize("how", ["nobody", "nonsense", "no list", 401, 403, 404, 429, 500])
def test_what_the_hub_answers_becomes_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str | int
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with publisher_of(b"no list") as publisher:
        publisher.stand_in_for_the_hub(monkeypatch)
        if how == "nobody":
            publisher.shutdown()
            publisher.server_close()
        elif isinstance(how, int):
            publisher.status = how
        elif how == "nonsense":
            publisher.mode = how

        with pytest.raises(ModelLoadError) as refused:
            list(download_model("cogvideox-2b"))

    assert "\n" not in str(refused.value)
    assert "could not be downloaded from" in str(refused.value)
    assert str(refused.value).endswith("whether its owner asks to accept terms first")
    assert len(str(refused.value)) < 600


def test_a_file_that_does_not_arrive_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub(monkeypatch, tmp_path)
    hub.loses = "unet/config.json"

    with pytest.raises(ModelLoadError, match=r"from owner/tiny \(unet/config.json did not arrive\)"):
        list(download_model("tiny"))
    assert WEIGHTS.isdisjoint(hub.fetched)


def test_a_full_disk_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = Hub(monkeypatch, tmp_path)
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr("downloads.shutil.disk_usage", lambda _: full)

    with pytest.raises(ModelLoadError, match=r"needs 0 MB, and .* has 0 MB free"):
        list(download_model("tiny"))
    assert hub.fetched == []


def test_a_model_in_several_repositories_is_fetched_whole_with_one_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = HubOfSeveral(monkeypatch, tmp_path, is_open=False)

    reports = download_model("tiny")
    under_way = next(report for report in reports if report.received_bytes)
    hub.go_on.set()
    list(reports)

    of_second = {name for source, name in hub.asked if source == "owner/second"}
    assert {name for source, name in hub.asked if source == "owner/tiny"} == NEEDED
    assert of_second == {name for name in NEEDED if name.startswith("unet/") or name == "model_index.json"}
    assert set(hub.fetched[-4:]) == WEIGHTS
    assert under_way.total_bytes == 80_000 + 2 * 70_300


def test_a_closed_repository_is_named_before_large_files_came(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = HubOfSeveral(monkeypatch, tmp_path)
    hub.refuses = "owner/third"

    with pytest.raises(ModelLoadError, match=r"from owner/third \(.*accept terms"):
        list(download_model("tiny"))
    assert WEIGHTS.isdisjoint(hub.fetched)


def test_what_came_before_needs_no_room_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub, disk = Hub(monkeypatch, tmp_path), SimpleNamespace(free=9_999)
    large = "unet/diffusion_pytorch_model.safetensors"
    put_into_cache(tmp_path, HubPart("owner/tiny", REVISION), {large: "here"})
    monkeypatch.setattr("downloads.shutil.disk_usage", lambda _: disk)

    with pytest.raises(ModelLoadError, match=r"has 0 MB free"):
        list(download_model("tiny"))
    assert hub.fetched == []

    disk.free = 10_000
    list(download_model("tiny"))
    assert set(hub.fetched) == NEEDED - {large}


WAN_FILES = {
    "model_index.json": dict.fromkeys(("transformer", "vae", "text_encoder", "tokenizer"), "a class"),
    "transformer/config.json": {},
    "text_encoder/model.safetensors.index.json": {
        "weight_map": {"embedding": "model-1-of-2.safetensors", "last": "model-2-of-2.safetensors"}
    },
    "text_encoder/model-1-of-2.safetensors": "weights",
    "text_encoder/model-2-of-2.safetensors": "weights",
    "transformer/diffusion_pytorch_model.safetensors": "weights",
    "vae/diffusion_pytorch_model.safetensors": "weights",
}
"""In the order in which the libraries fetch them."""


def test_a_model_is_ready_when_the_last_of_its_weights_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    spec = find_model("wan-1.3b")
    (part,) = spec.hub_parts

    for name, value in WAN_FILES.items():
        assert not spec.is_ready(), f"without {name}"
        put_into_cache(tmp_path, part, {name: value})

    assert spec.is_ready()
    assert list(download_model("wan-1.3b")) == []


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "text_encoder/model.safetensors.index.json",
        "text_encoder/model-1-of-2.safetensors",
        "transformer/diffusion_pytorch_model.safetensors",
    ],
)
def test_a_model_that_lost_a_file_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    spec = find_model("wan-1.3b")
    snapshot = put_into_cache(tmp_path, spec.hub_parts[0], WAN_FILES)
    assert spec.is_ready()

    (snapshot / lost).unlink()
    assert not spec.is_ready()
    (snapshot / lost).write_text("{")
    assert spec.is_ready() == lost.endswith(".safetensors")
