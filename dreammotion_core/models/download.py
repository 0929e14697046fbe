"""Downloads of models from the hub, with progress, that can be cancelled at any moment."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator, Sequence
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
    """How far the download of a model has come.

    Attributes:
        received_bytes: so far.
        total_bytes: of all its files.
    """

    received_bytes: int
    total_bytes: int


class _CancelledError(Exception):
    """Nobody waits for the download any more."""


def download_model(name_or_path: str) -> Generator[ModelDownload, None, None]:
    """Fetch a model from the hub, all its repositories at their pinned revisions, unless it is here.

    Loading a model does so too, but says nothing while it lasts. Closing the generator cancels it; what was
    fetched by then is kept, and the next download goes on from there.

    Args:
        name_or_path: as `DreamMotionPipeline.from_pretrained` takes it.

    Yields:
        How far it has come, a few times a second.

    Raises:
        ModelLoadError: if there is no such model, or it cannot be reached, or the disk is full.
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


@dataclass(frozen=True)
class _File:
    """A file of a repository, and its size in bytes."""

    part: HubPart
    name: str
    size: int

    @property
    def is_here(self) -> bool:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.part.source, self.name, revision=self.part.revision)
        return isinstance(found, str)


class _Transfer(threading.Thread):
    """Fetches the files of a model, one after the other.

    Attributes:
        source: the repository that is asked now.
        received: bytes that came, files that were here already included.
        total: bytes of all files; 0 until they are known.
        cancelled: ends it at the next block.
        error: why it failed, if it did.
    """

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
        from huggingface_hub import hf_hub_download

        bar = _counting_bar(self)
        files = [file for part in self._spec.hub_parts for file in self._listed(part)]
        self.total = sum(file.size for file in files)
        _check_room(sum(file.size for file in files if not file.is_here))
        # Small ones first: a repository that asks to accept terms says so before others have sent gigabytes.
        done = 0
        for file in sorted(files, key=lambda each: each.size):
            self.source = file.part.source
            hf_hub_download(self.source, file.name, revision=file.part.revision, tqdm_class=bar)
            done += file.size
            self.received = done

    def _listed(self, part: HubPart) -> list[_File]:
        """The files of a repository that are needed."""
        from huggingface_hub import HfApi

        if self.cancelled.is_set():
            raise _CancelledError
        self.source = part.source
        info = HfApi().model_info(part.source, revision=part.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        return [_File(part, name, sizes[name]) for name in needed_files(list(sizes), folders=part.folders)]


def _check_room(total_bytes: int) -> None:
    """Refuse a download that the disk has no room for; what is here already takes none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = next(path for path in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < total_bytes:
        raise OSError(f"it needs {total_bytes / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free")


def needed_files(names: Sequence[str], *, folders: Sequence[str] = ()) -> list[str]:
    """Which files of a repository a model is loaded from.

    Args:
        names: of all files, with slashes.
        folders: the only ones of its components that are loaded; empty takes all.

    Returns:
        The manifest, and of every component its settings and its weights: safetensors where there are any,
        and neither half-precision variants nor samples, pictures and the like.
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
        chosen += [
            name
            for name in files
            if name.endswith(_OTHERS) and ".fp16" not in name and superseded not in name
        ]
    return chosen


def _counting_bar(transfer: _Transfer) -> Any:
    """A progress bar for `huggingface_hub` that shows nothing, counts, and ends what was cancelled."""
    from tqdm import tqdm

    class CountingBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **(options | {"disable": True}))
            transfer.received += int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            if transfer.cancelled.is_set():
                raise _CancelledError
            transfer.received += int(n or 0)
            return None

    return CountingBar
