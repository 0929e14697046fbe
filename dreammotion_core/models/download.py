"""Downloads of models from the hub, with progress, that can be cancelled at any moment."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.models.catalog import find_model
from dreammotion_core.spec import HubPart, ModelSpec

_SECONDS_BETWEEN_REPORTS = 0.3
_WEIGHTS, _OLD_WEIGHTS = ".safetensors", (".bin", ".pth", ".pt", ".ckpt")
_OTHERS = (".json", ".txt", ".model")


@dataclass(frozen=True)
class ModelDownload:
    """How far the download of a model has come; the total is 0 until it is known."""

    received_bytes: int
    total_bytes: int


class _CancelledError(Exception):
    """Nobody waits for the download any more."""


def download_model(name_or_path: str) -> Generator[ModelDownload, None, None]:
    """Fetch a model from the hub, all its repositories at their pinned revisions, unless it is here.

    The progress comes a few times a second; loading a model fetches it too, but without progress. Closing the
    generator cancels the download; the next one goes on from there. `ModelLoadError` says that the model is
    unknown or cannot be reached, or that the disk is full.
    """
    spec = find_model(name_or_path)
    if spec.is_local or spec.is_ready():
        return
    transfer = _Transfer(spec)
    transfer.start()
    try:
        while transfer.is_alive():
            yield ModelDownload(transfer.received, transfer.total)
            transfer.join(_SECONDS_BETWEEN_REPORTS)
    finally:
        transfer.cancelled.set()
    if transfer.error is not None:
        raise ModelLoadError(
            f"{spec.label} could not be downloaded from {transfer.source} ({transfer.error}); check the "
            "connection, the free space, and whether its owner asks to accept terms first"
        ) from transfer.error


class _Transfer(threading.Thread):
    """Fetches the files of a model; `received` and `total` bytes include files that were here before."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(daemon=True)
        self._spec, self.source = spec, spec.source
        self.received, self.total = 0, 0
        self.cancelled = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._fetch()
        except _CancelledError:
            pass
        except Exception as error:
            self.error = error

    def _fetch(self) -> None:
        from huggingface_hub import snapshot_download

        sizes = {part: self._sizes(part) for part in self._spec.hub_parts}
        self.total = sum(sum(files.values()) for files in sizes.values())
        _check_room(sum(sum(_missing(part, files).values()) for part, files in sizes.items()))
        # Settings first: a repository that asks to accept terms says so before others have sent gigabytes.
        for is_weights in (False, True):
            for part, files in sizes.items():
                kinds = (_WEIGHTS, *_OLD_WEIGHTS)
                asked = {name: size for name, size in files.items() if name.endswith(kinds) == is_weights}
                self.source, done = part.source, self.received
                snapshot_download(
                    part.source,
                    revision=part.revision,
                    allow_patterns=list(asked),
                    tqdm_class=_counting_bar(self),
                )
                # Without a connection the library is content with a folder that lacks files.
                if lacking := _missing(part, asked):
                    raise OSError(f"{', '.join(lacking)} did not arrive")
                self.received = done + sum(asked.values())

    def _sizes(self, part: HubPart) -> dict[str, int]:
        from huggingface_hub import HfApi

        if self.cancelled.is_set():
            raise _CancelledError
        self.source = part.source
        info = HfApi().model_info(part.source, revision=part.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        return {name: sizes[name] for name in needed_files(list(sizes), folders=part.folders)}


def _missing(part: HubPart, files: Mapping[str, int]) -> dict[str, int]:
    from huggingface_hub import try_to_load_from_cache

    return {
        name: size
        for name, size in files.items()
        if not isinstance(try_to_load_from_cache(part.source, name, revision=part.revision), str)
    }


def _check_room(total_bytes: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = next(path for path in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < total_bytes:
        raise OSError(f"it needs {total_bytes / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free")


def needed_files(names: Sequence[str], *, folders: Sequence[str] = ()) -> list[str]:
    """The files of a repository that a model is loaded from.

    These are the manifest and, for every component (all, if no folders are named), its settings and its
    weights: safetensors if there are any, and no half-precision variants, samples or pictures.
    """
    parts: dict[str, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        is_asked = len(path.parts) == 2 and (not folders or path.parts[0] in folders)
        if is_asked and path.suffix in (*_OTHERS, _WEIGHTS, *_OLD_WEIGHTS):
            parts.setdefault(path.parts[0], []).append(name)
    chosen = [name for name in names if name == "model_index.json"]
    for files in parts.values():
        weights = [name for name in files if name.endswith(_WEIGHTS) and ".fp16" not in name]
        old = [name for name in files if name.endswith(_OLD_WEIGHTS) and ".fp16" not in name]
        chosen += weights or old
        superseded = ".bin.index" if weights else f"{_WEIGHTS}.index"
        others = [name for name in files if name.endswith(_OTHERS) and ".fp16" not in name]
        chosen += [name for name in others if superseded not in name]
    return chosen


def _counting_bar(transfer: _Transfer) -> Any:
    """A progress bar for `huggingface_hub` that shows nothing, counts bytes and ends a cancelled transfer."""
    from tqdm import tqdm

    before = transfer.received

    class CountingBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"disable": True}))
            # One bar counts files. Two count the same bytes, as they arrive and as they are written.
            self.counts_bytes = options.get("unit") == "B"

        def update(self, n: float | None = 1) -> bool | None:
            if transfer.cancelled.is_set():
                raise _CancelledError
            self.n += n or 0
            if self.counts_bytes:
                transfer.received = max(transfer.received, before + int(self.n))
            return None

    return CountingBar
