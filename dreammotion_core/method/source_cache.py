"""The source branch of a run, and bounded stores of its answers in memory or on disk.

With clip, seed and settings fixed, the source branch does not depend on the target prompt. A cache lets all
runs of a clip share it (docs/method.md, "Exact savings").
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from dreammotion_core.errors import OutputError
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.method.keys import KeySite, matching_modules
from dreammotion_core.method.prior import Backend

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 4 * 2**30
DISK_LIMIT = 32 * 2**30


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer of one branch in one step: the (1, C, f, h, w) guided prediction, and the keys.

    Keys are site name -> (1, f, N, C) of the conditional half.
    """

    noise_pred: Tensor
    keys: Mapping[str, Tensor]

    def kept_at(self, device: torch.device | str) -> Prediction:
        """A copy without a graph, contiguous and on a device."""
        keys = {site: keys.detach().to(device).contiguous() for site, keys in self.keys.items()}
        return Prediction(self.noise_pred.detach().to(device).contiguous(), keys)

    @property
    def num_bytes(self) -> int:
        """Memory that the tensors hold."""
        return sum(t.untyped_storage().nbytes() for t in (self.noise_pred, *self.keys.values()))


class SourceCache(Protocol):
    """Keeps answers of the source branch for later runs on the same clip, seed and settings."""

    def begin_run(self) -> None:
        """Mark the start of a run. A run never evicts its own answers, or the next would find none."""

    def get(self, key: str) -> Prediction | None:
        """The answer under a key, if it is still there."""

    def put(self, key: str, prediction: Prediction) -> None:
        """Keep an answer, if there is room."""


def evicted(
    sizes: Iterable[tuple[str, int]], *, needed: int, protected: set[str], max_bytes: int
) -> list[str] | None:
    """The keys of the entries to evict so that a new one of `needed` bytes fits; None if it cannot fit.

    Entries are key and bytes, the least recently used first; protected ones must stay.
    """
    entries = list(sizes)
    excess = sum(size for _, size in entries) + needed - max_bytes
    going = []
    for key, size in entries:
        if excess <= 0:
            break
        if key not in protected:
            going.append(key)
            excess -= size
    return going if excess <= 0 else None


class MemorySourceCache:
    """Answers in the machine's own memory, or a GPU's. The least recently used ones are evicted first.

    `max_bytes` limits all together. One step of a large U-Net takes about 10 MB a frame; an answer that does
    not fit is computed again.
    """

    def __init__(self, *, max_bytes: int = MEMORY_LIMIT, device: torch.device | str = "cpu") -> None:
        self._max_bytes, self._device = max_bytes, device
        self._entries: dict[str, Prediction] = {}
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def begin_run(self) -> None:
        """See `SourceCache`."""
        with self._lock:
            self._used.clear()

    def get(self, key: str) -> Prediction | None:
        """See `SourceCache`."""
        with self._lock:
            found = self._entries.pop(key, None)
            if found is not None:
                self._entries[key] = found  # at the end: the most recently used
                self._used.add(key)
            return found

    def put(self, key: str, prediction: Prediction) -> None:
        """See `SourceCache`."""
        kept = prediction.kept_at(self._device)
        with self._lock:
            sizes = [(name, entry.num_bytes) for name, entry in self._entries.items()]
            going = evicted(sizes, needed=kept.num_bytes, protected=self._used, max_bytes=self._max_bytes)
            if going is None:
                return
            for name in going:
                del self._entries[name]
            self._entries[key] = kept
            self._used.add(key)

    def forget(self, keys: Iterable[str]) -> None:
        """Let some answers go."""
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)

    @property
    def num_bytes(self) -> int:
        """Memory of all answers."""
        with self._lock:
            return sum(entry.num_bytes for entry in self._entries.values())


class DiskSourceCache:
    """Answers in a folder, one safetensors file each, for later processes too.

    A damaged file counts as absent. If the disk is full or the folder is read-only, the run goes on and keeps
    no more. Several processes may share a folder, which is made if missing and holds nothing else.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int = DISK_LIMIT) -> None:
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._used: set[str] = set()

    def begin_run(self) -> None:
        """See `SourceCache`."""
        self._used.clear()

    def get(self, key: str) -> Prediction | None:
        """See `SourceCache`."""
        path = self._path(key)
        try:
            tensors = load_file(path)
            noise_pred = tensors.pop("noise_pred")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError) as error:
            logger.warning("%s is damaged and will be made again (%s)", path, error)
            _remove(path)
            return None
        with suppress(OSError):  # another process may have evicted it, or the folder may only be read
            os.utime(path)  # says when it was used last
        self._used.add(key)
        return Prediction(noise_pred, {site.removeprefix("keys."): keys for site, keys in tensors.items()})

    def put(self, key: str, prediction: Prediction) -> None:
        """See `SourceCache`."""
        kept = prediction.kept_at("cpu")
        content = save({"noise_pred": kept.noise_pred} | {f"keys.{site}": k for site, k in kept.keys.items()})
        going = evicted(self._sizes(), needed=len(content), protected=self._used, max_bytes=self._max_bytes)
        if going is None:
            return
        for name in going:
            _remove(self._path(name))
        try:
            with written_atomically(self._path(key)) as part:
                part.write_bytes(content)
        except OutputError as error:
            logger.warning("an answer of the source branch was not kept: %s", error)
            return
        self._used.add(key)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _sizes(self) -> list[tuple[str, int]]:
        found = []
        for file in self._folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # another process may evict meanwhile
                facts = file.stat()
                found.append((facts.st_mtime_ns, file.stem, facts.st_size))
        return [(key, size) for _, key, size in sorted(found)]


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


SAMPLES = 64
"""Values of each parameter in a model's fingerprint. Any training changes nearly all of them."""


class SourceBranch:
    """The source branch of one run; its answers depend on the inputs and on the context (`source_branch`)."""

    def __init__(self, cache: SourceCache | None = None, *, context: str = "") -> None:
        self._cache, self._context = cache, context

    def __call__(self, inputs: Sequence[Tensor], compute: Callable[[], Prediction]) -> Prediction:
        """The answer to all tensors that it depends on, computed if the cache does not have it."""
        device = inputs[0].device
        if self._cache is None:
            return compute().kept_at(device)
        key = _digest(inputs, context=self._context)
        found = self._cache.get(key)
        if found is None:
            found = compute().kept_at(device)
            self._cache.put(key, found)
        return found.kept_at(device)


UNCACHED = SourceBranch()


def source_branch(
    cache: SourceCache | None, *, backend: Backend, guidance_scale: float, key_sites: Sequence[KeySite]
) -> SourceBranch:
    """The source branch of a run that starts now.

    Answers are the same bits with and without a cache, because their key covers everything they depend on:
    the noisy latents, timestep and text embeddings; the model's weights, settings, kind of prediction,
    precision, device and threads; the guidance scale and the key sites.
    """
    if cache is None:
        return UNCACHED
    sites = {name: site for name, (_, site) in matching_modules(backend.denoiser, key_sites).items()}
    cache.begin_run()
    return SourceBranch(cache, context=f"{_fingerprint(backend)} {guidance_scale!r} {sites!r}")


def weights_digest(network: nn.Module) -> str:
    """Text that differs between trainings of a network, from a few values of each of its parameters.

    Layout, precision and device are not part of it, but rounding to another precision is.
    """
    return _digest([_samples(network)], context="weights")


def _fingerprint(backend: Backend) -> str:
    """Text that differs between models, and between ways to compute one model that give different bits."""
    spec, denoiser = backend.spec, backend.denoiser
    layout = [(name, t.dtype, tuple(t.shape), t.stride()) for name, t in _named_tensors(denoiser)]
    device = backend.device
    context = (
        (backend.prediction_type, [(name, _settings(module)) for name, module in denoiser.named_modules()]),
        (spec.name, spec.family, spec.source, spec.revision, spec.precision, layout),
        (torch.__version__, torch.get_num_threads(), torch.get_float32_matmul_precision()),
        (device, torch.cuda.get_device_name(device) if device.type == "cuda" else ""),
        [name for name, module in denoiser.named_modules() if vars(module).get("_compiled_call_impl")],
    )
    return _digest([_samples(denoiser)], context=repr(context))


def _named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _samples(network: nn.Module) -> Tensor:
    """Up to `SAMPLES` values of each tensor of a network, evenly spaced over the tensor's memory."""
    samples = []
    for _, tensor in _named_tensors(network):
        size = tensor.numel()
        sample = tensor.detach().as_strided((min(SAMPLES, size),), (max(1, size // SAMPLES),))
        samples.append(sample.float().cpu())
    return torch.cat(samples)


def _settings(module: nn.Module) -> list[tuple[str, Any]]:
    """A module's settings besides its weights, such as numbers of heads and divisors."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return sorted((name, value) for name, value in public.items() if isinstance(value, (int, float, str)))


def _digest(tensors: Sequence[Tensor], *, context: str) -> str:
    digest = hashlib.blake2b(context.encode(), digest_size=20)
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
