"""Downloads: all or nothing, with progress, cancelled without a trace, explained when they fail."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from segmentation import CheckpointError
from segmentation.weights import EDGETAM, MOBILE_SAM, Download, Variant
from tests.publisher import Publisher, publisher_of

SIZE = 3_000_000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("segmentation.weights._TIMEOUT_SECONDS", 1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 1)
    return tmp_path / "cache"


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    with publisher_of(os.urandom(SIZE)) as server:
        server.stand_in_for_the_hub(monkeypatch)
        yield server


@pytest.fixture(params=[MOBILE_SAM, EDGETAM], ids=["from a server", "from the hub"])
def variant(request: pytest.FixtureRequest, publisher: Publisher, cache: Path) -> Variant:
    assert not cache.exists()
    return publisher.published(request.param)


def test_a_download_tells_how_far_it_is_and_happens_once(
    variant: Variant, publisher: Publisher, cache: Path
) -> None:
    told = list(variant.download())

    assert told[-1] == Download(SIZE, SIZE)
    assert [each.received_bytes for each in told] == sorted(each.received_bytes for each in told)
    assert {each.total_bytes for each in told[1:]} == {SIZE}
    assert variant.path == cache / variant.file_name
    assert variant.path.read_bytes() == publisher.content
    assert [path.name for path in cache.iterdir()] == [variant.file_name]
    assert list(variant.download()) == []
    assert publisher.num_sent == 1


def test_a_download_appears_only_when_its_checksum_is_right(
    variant: Variant, publisher: Publisher, cache: Path
) -> None:
    publisher.mode = "broken"
    with pytest.raises(CheckpointError, match=r"has the checksum .*…, not .*…; try again, or give a file"):
        list(variant.download())
    assert list(cache.iterdir()) == []


def test_a_cancelled_download_leaves_nothing(variant: Variant, publisher: Publisher, cache: Path) -> None:
    publisher.mode, publisher.content = "slow", os.urandom(20 * SIZE)
    download = variant.download()
    while not next(download).received_bytes:
        pass
    assert len(list(cache.iterdir())) == 1

    download.close()

    deadline = time.monotonic() + 30  # The hub's library looks up once in ten megabytes.
    while list(cache.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(cache.iterdir()) == []
    assert publisher.num_sent == 0


@pytest.mark.parametrize("how", ["nobody", "short", "silent", "nonsense", "endless", 401, 403, 404, 429, 500])
def test_a_publisher_that_fails_is_explained_and_nothing_stays(
    variant: Variant, publisher: Publisher, cache: Path, how: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "nobody":
        publisher.shutdown()
        publisher.server_close()
    elif isinstance(how, int):
        publisher.status = how
    else:
        publisher.mode = how
    monkeypatch.setattr("time.sleep", lambda _: None)

    with pytest.raises(CheckpointError) as refused:
        list(variant.download())

    assert "check the connection and the free space, or give a file that you have as the checkpoint" in str(
        refused.value
    )
    assert variant.url in str(refused.value)
    assert list(cache.iterdir()) == []


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    variant: Variant, publisher: Publisher, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))

    with pytest.raises(CheckpointError, match=r"it needs 3 MB, and .* has 1 MB free"):
        list(variant.download())
    assert list(cache.iterdir()) == []
    assert publisher.num_sent == 0


def test_a_disk_that_fills_up_is_explained_and_nothing_stays(variant: Variant, cache: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"File too large.*check the connection and the free space"):
            list(variant.download())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(cache.iterdir()) == []


def test_a_place_that_cannot_be_written_is_explained(variant: Variant, cache: Path) -> None:
    cache.write_text("no folder")

    with pytest.raises(CheckpointError, match="could not be downloaded to"):
        list(variant.download())


def test_several_that_fetch_the_same_get_one_whole_file(
    variant: Variant, publisher: Publisher, cache: Path
) -> None:
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: variant.downloaded(), range(3)))

    assert set(paths) == {cache / variant.file_name}
    assert paths[0].read_bytes() == publisher.content
    assert [path.name for path in cache.iterdir()] == [variant.file_name]


@pytest.mark.usefixtures("publisher")
def test_the_hub_is_not_reachable_where_it_must_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EDGETAM.is_reachable()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not EDGETAM.is_reachable()


@pytest.mark.parametrize("place", ["x" * 5000, "/dev/null"])
def test_a_cache_that_cannot_be_is_like_an_empty_one(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", place)

    assert not MOBILE_SAM.spec.is_ready()
    with pytest.raises(CheckpointError, match="could not be downloaded to"):
        list(MOBILE_SAM.download())
