"""Downloads of models from the hub, with progress, that can be cancelled at any moment."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from downloads import Download, Transfer, check_room, follow
from dreammotion_core.errors import ModelLoadError, reason_of
from dreammotion_core.models.catalog import find_model
from dreammotion_core.spec import HubPart, ModelSpec

ModelDownload = Download
_WEIGHTS, _OLD_WEIGHTS = ".safetensors", (".bin", ".pth", ".pt", ".ckpt")
_OTHERS = (".json", ".txt", ".model")


def download_model(name_or_path: str) -> Generator[ModelDownload, None, None]:
    """Fetch a model from the hub, all its repositories at their pinned revisions, unless it is here.

    The progress comes a few times a second, and counts files that were here before; loading a model fetches
    it too, but without progress. Closing the generator cancels the download; the next one goes on from there.
    `ModelLoadError` says that the model is unknown or cannot be reached, or that the disk is full.
    """
    spec = find_model(name_or_path)
    if spec.is_local or spec.is_ready():
        return
    files = _Files(spec)
    try:
        yield from follow(files.fetch)
    except Exception as error:
        raise ModelLoadError(
            f"{spec.label} could not be downloaded from {files.source} ({reason_of(error)}); check the "
            "connection, the free space, and whether its owner asks to accept terms first"
        ) from error


class _Files:
    """The files of a model; `source` is the repository that is asked at the moment."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec, self.source = spec, spec.source

    def fetch(self, transfer: Transfer) -> None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.constants import HF_HUB_CACHE

        sizes = {part: self._sizes(part, transfer) for part in self._spec.hub_parts}
        transfer.total = sum(sum(files.values()) for files in sizes.values())
        lacking = sum(sum(_missing(part, files).values()) for part, files in sizes.items())
        check_room(Path(HF_HUB_CACHE), lacking)
        # Settings first: a repository that asks to accept terms says so before others have sent gigabytes.
        for is_weights in (False, True):
            for part, files in sizes.items():
                kinds = (_WEIGHTS, *_OLD_WEIGHTS)
                asked = {name: size for name, size in files.items() if name.endswith(kinds) == is_weights}
                self.source, done = part.source, transfer.received
                snapshot_download(
                    part.source,
                    revision=part.revision,
                    allow_patterns=list(asked),
                    tqdm_class=transfer.bar(),
                )
                # Without a connection the library is content with a folder that lacks files.
                if names := _missing(part, asked):
                    raise OSError(f"{', '.join(names)} did not arrive")
                transfer.received = done + sum(asked.values())

    def _sizes(self, part: HubPart, transfer: Transfer) -> dict[str, int]:
        from huggingface_hub import HfApi

        transfer.check()
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
