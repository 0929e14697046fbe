"""Downloads: all or nothing, with progress, cancelled without a trace, explained when they fail."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path

import pytest

from segmentation import CheckpointError
from segmentation.weights import Download, download_checkpoint


def test_a_download_appears_only_when_its_checksum_is_right(tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "cache" / "weights.pth"
    source.write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="checksum"):
        list(download_checkpoint(source.as_uri(), target, sha256="0" * 64, size_bytes=7))
    assert list(target.parent.iterdir()) == []
    digest = hashlib.sha256(b"weights").hexdigest()
    told = list(download_checkpoint(source.as_uri(), target, sha256=digest, size_bytes=7))
    assert told == [Download(0, 7), Download(7, 7)]
    assert target.read_bytes() == b"weights"
    source.unlink()
    assert list(download_checkpoint(source.as_uri(), target, sha256=digest, size_bytes=7)) == []


def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "cache" / "weights.pth"
    source.write_bytes(bytes(3_000_000))
    download = download_checkpoint(source.as_uri(), target, sha256="0" * 64, size_bytes=3_000_000)
    next(download)
    assert next(download).received_bytes == 1 << 20
    assert len(list(target.parent.iterdir())) == 1

    download.close()

    assert list(target.parent.iterdir()) == []


def test_an_unreachable_download_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "weights.pth"
    with pytest.raises(CheckpointError, match="give a file that you have as the checkpoint"):
        list(download_checkpoint((tmp_path / "absent").as_uri(), target, sha256="0" * 64, size_bytes=7))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]
)
def test_a_server_that_answers_nonsense_or_breaks_off_is_explained(tmp_path: Path, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/weights"
        with pytest.raises(CheckpointError, match="check the connection"):
            list(download_checkpoint(url, tmp_path / "weights.pth", sha256="0" * 64, size_bytes=7))
        server.join()
    assert list(tmp_path.iterdir()) == []
