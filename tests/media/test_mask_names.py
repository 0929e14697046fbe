"""Names of objects travel with their masks; a file that is no list of names is left out, and said to be."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dreammotion_core import GivenObjects, MaskError, read_masks, read_objects, write_masks

NUM_FRAMES, SIZE = 2, (6, 9)
NAMES = {2: "the car", 200: "der Bär 🐻"}


@pytest.fixture
def numbers() -> np.ndarray:
    numbers = np.zeros((NUM_FRAMES, *SIZE), np.uint8)
    numbers[:, 1:3, 1:4], numbers[1, 4:, 5:] = 2, 200
    return numbers


def read(path: Path) -> GivenObjects:
    return read_objects(path, num_frames=NUM_FRAMES, size=SIZE)


def archive_with(path: Path, numbers: np.ndarray, sheet: bytes) -> Path:
    write_masks(numbers, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("objects.json", sheet)
    return path


def test_names_go_out_and_come_back(tmp_path: Path, numbers: np.ndarray) -> None:
    given = read(write_masks(numbers, tmp_path / "masks.zip", names=NAMES))

    assert given.names == NAMES
    assert np.array_equal(given.numbers, numbers)
    assert given.notices == ()


def test_names_of_objects_that_are_not_there_are_left_out(tmp_path: Path, numbers: np.ndarray) -> None:
    given = read(write_masks(numbers, tmp_path / "masks.zip", names=NAMES | {3: "nowhere"}))

    assert given.names == NAMES


def test_one_object_black_and_white_keeps_its_name(tmp_path: Path, numbers: np.ndarray) -> None:
    path = write_masks(numbers > 0, tmp_path / "masks.zip", names={1: "both"})

    assert read(path).names == {1: "both"}
    assert read_masks(path, num_frames=NUM_FRAMES, size=SIZE).notices == ()


@pytest.mark.parametrize(
    "sheet",
    [
        b"not json",
        b"[" * 60_000,
        b"\xff\xfe",
        b"[1]",
        b'{"0": "zero"}',
        b'{"256": "too many"}',
        b'{"one": "no number"}',
        b'{"1": ""}',
        b'{"1": "a\\u0000b"}',
        b'{"1": 7}',
        b'{"1": "' + b"x" * 41 + b'"}',
        b'{"1": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_a_file_that_is_no_list_of_names_is_left_out_with_a_notice(
    tmp_path: Path, numbers: np.ndarray, sheet: bytes
) -> None:
    given = read(archive_with(tmp_path / "masks.zip", numbers, sheet))

    assert given.names == {}
    assert np.array_equal(given.numbers, numbers)
    assert "left out: objects.json" in given.notices[0].text


@pytest.mark.parametrize("names", [{1: ""}, {1: "x" * 41}, {1: "two\nlines"}, {0: "none"}, {256: "many"}])
def test_a_name_that_could_not_be_read_again_is_refused(
    tmp_path: Path, numbers: np.ndarray, names: dict[int, str]
) -> None:
    with pytest.raises(MaskError, match="printable characters"):
        write_masks(numbers, tmp_path / "masks.zip", names=names)

    assert list(tmp_path.iterdir()) == []
