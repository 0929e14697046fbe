"""What visitors can choose from: the models that edit, and the segmenters that answer clicks.

Both lists are shared by all visitors and safe to use from several threads; who asks for a thing that is being
downloaded or loaded waits for it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar

from dreammotion_core import (
    ConfigError,
    EditConfig,
    ModelSpec,
    best_first,
    download_model,
    list_models,
    usable_memory,
)
from segmentation import (
    Download,
    Readiness,
    Segmenter,
    SegmenterSpec,
    UnknownSegmenterError,
    download_weights,
    list_segmenters,
    load_segmenter,
)
from web.editor import Editor, LazyEditor, OwnedSourceCache, shortened
from web.lending import HostedEditor
from web.views import format_seconds
from web.visitors import NO_LIMITS, Limits, Visitor

LARGE_BYTES = 10**9  # From this size of the weights on, only one model at a time is kept in memory.
Spec = TypeVar("Spec", ModelSpec, SegmenterSpec)
Thing = TypeVar("Thing", Editor, Segmenter)


_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class OneAtATime:
    """Lets one visitor at a time download a thing; the others wait and see how far it is, as in `latest`."""

    latest: dict[str, Download] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def lock(self, name: str) -> threading.Lock:
        """Held while a thing is downloaded or loaded."""
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def fetch(
        self, name: str, download: Callable[[], Generator[Download, None, None]]
    ) -> Generator[Download | None, None, None]:
        """Download a thing, or wait for the download under way; yields how far it is, None while unknown.

        Closing the iterator stops the download, or the waiting; then the one who waits longest begins anew.
        `download` gives nothing if the thing is here already.
        """
        lock = self.lock(name)
        while not lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS):
            yield self.latest.get(name)
        try:
            with closing(download()) as steps:
                for progress in steps:
                    self.latest[name] = progress
                    yield progress
        finally:
            self.latest.pop(name, None)
            lock.release()


class ProgressWords:
    """Says how far a download has come, and how long it will still take."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._started: tuple[float, int] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything has been said."""
        return self._started is not None

    def view(self, progress: Download | None) -> dict[str, Any]:
        """Note and progress bar for the list."""
        if progress is None:
            return {"note": f"Waiting: {self._label} is being loaded for another visitor.", "progress": 0.0}
        done, total, now = progress.received_bytes, progress.total_bytes, time.monotonic()
        if not total:
            return {"note": f"Downloading {self._label}: {size_words(done)} so far.", "progress": 0.0}
        if self._started is None:
            self._started = now, done
        share = min(1.0, done / total)
        note = f"Downloading {self._label}: {size_words(done)} of {size_words(total)}."
        since, before = self._started
        if done > before and now - since > 1:
            note += f" About {format_seconds((now - since) * (total - done) / (done - before))} left."
        return {"note": f"{note} You can go on meanwhile.", "progress": share}


def size_words(size_bytes: int) -> str:
    """For example ``156 MB`` or ``2.6 GB``."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


@dataclass(frozen=True)
class Standing:
    """Whether a thing can be used here; `reason` says why not, and what to do."""

    readiness: Readiness
    reason: str = ""


class Choices(ABC, Generic[Spec, Thing]):
    """A list of things to choose from, each made once, when it is first chosen; newcomers begin with `first`.

    `download` fetches the weights of a thing before, and gives nothing where they are here.
    """

    noun: str
    slot: str  # Attribute of a `Visitor` that holds the choice.
    error: type[Exception]  # Raised where a thing cannot be chosen.

    def __init__(
        self,
        first: Thing,
        *,
        make: Callable[[str], Thing],
        download: Callable[[str], Generator[Download, None, None]],
        may_download: Callable[[str], bool],
    ) -> None:
        self.first: Thing = first
        self._may_download = may_download
        self._make: Callable[[str], Thing] = make
        self._download = download
        self._made: dict[str, Thing] = {first.spec.name: first}
        self._queue = OneAtATime()

    @abstractmethod
    def specs(self) -> tuple[Spec, ...]:
        """All that can be chosen."""

    @abstractmethod
    def standing(self, spec: Spec) -> Standing:
        """Whether a thing can be used at once, after a download, or not on this machine."""

    def _missing(self, spec: Spec) -> Standing:
        if self._may_download(spec.name):
            return Standing(Readiness.DOWNLOADABLE)
        reason = (
            f"{spec.label} is {Readiness.UNAVAILABLE}: its weights are not on this machine, and visitors "
            f"may not download them. The owner allows it with DREAMMOTION_DOWNLOADS={spec.name}."
        )
        return Standing(Readiness.UNAVAILABLE, reason)

    def of(self, visitor: Visitor) -> Thing:
        """What a visitor has chosen."""
        chosen: Thing | None = getattr(visitor, self.slot)
        return chosen or self.first

    def spec(self, name: object) -> Spec:
        """What a user should know about one of them, or raise `ConfigError` or `UnknownSegmenterError`."""
        for spec in self.specs():
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.specs())
        raise self.error(f"there is no {self.noun} {name!r}; choose one of: {known}")

    def fetch(self, name: str) -> Generator[Download | None, None, None]:
        """Download the weights of a thing, unless they are here; see `OneAtATime.fetch`.

        Raises `ConfigError` or `UnknownSegmenterError` if there is no such thing, or it cannot run here, and
        `ModelLoadError` or `CheckpointError` if it cannot be downloaded.
        """
        spec = self.spec(name)
        standing = self.standing(spec)
        if standing.readiness is Readiness.UNAVAILABLE:
            raise self.error(standing.reason)

        def download() -> Generator[Download, None, None]:
            if spec.name not in self._made:
                yield from self._download(spec.name)

        return self._queue.fetch(spec.name, download)

    def get(self, name: str) -> Thing:
        """A thing, made now if nobody has done so before. One that fails can be tried again.

        Raises as `fetch`, and `CheckpointError` if the weights of a segmenter cannot be read.
        """
        spec = self.spec(name)
        with self._queue.lock(spec.name):
            if spec.name not in self._made:
                self._made[spec.name] = self._make(spec.name)
            return self._made[spec.name]


def _with_first(first: Spec, known: tuple[Spec, ...]) -> tuple[Spec, ...]:
    is_known = any(spec.name == first.name for spec in known)
    return known if is_known else tuple(chain([first], known))


class Segmenters(Choices[SegmenterSpec, Segmenter]):
    """The segmenters of this server; `load` and `download` are as those of `segmentation`."""

    noun = slot = "segmenter"
    error = UnknownSegmenterError

    def __init__(
        self,
        first: Segmenter,
        *,
        load: Callable[[str], Segmenter] = load_segmenter,
        download: Callable[[str], Generator[Download, None, None]] = download_weights,
        may_download: Callable[[str], bool] = lambda _: True,
    ) -> None:
        super().__init__(first, make=load, download=download, may_download=may_download)

    def specs(self) -> tuple[SegmenterSpec, ...]:
        """Those of the library, and the first."""
        return _with_first(self.first.spec, list_segmenters())

    def standing(self, spec: SegmenterSpec) -> Standing:
        """Whether a segmenter answers at once, after a download, or not on this machine."""
        readiness = Readiness.READY if spec.name in self._made else spec.readiness()
        if readiness is Readiness.UNAVAILABLE:
            return Standing(readiness, f"{spec.label} is {spec.describe_readiness()}.")
        return self._missing(spec) if readiness is Readiness.DOWNLOADABLE else Standing(readiness)


class Models(Choices[ModelSpec, Editor]):
    """The models of this server; the weights of one are loaded by its first edit.

    `make` gives an editor for the name of a model, without loading weights; None offers only the first.
    `saves_memory` says that editors are made with `LoadOptions.low_memory`. `max_frames` None leaves it to
    each. `cache` is what the editors share.
    """

    noun, slot = "model", "editor"
    error = ConfigError

    def __init__(
        self,
        first: Editor,
        *,
        make: Callable[[str], Editor] | None = None,
        device: str = "cpu",
        download: Callable[[str], Generator[Download, None, None]] = download_model,
        saves_memory: bool = False,
        may_download: Callable[[str], bool] = lambda _: True,
        limits: Limits = NO_LIMITS,
        max_frames: int | None = None,
        cache: OwnedSourceCache | None = None,
    ) -> None:
        self._cache = cache
        make_one = make or (lambda _: first)
        super().__init__(first, make=make_one, download=download, may_download=may_download)
        self.limits = limits
        self._max_frames = max_frames
        self._is_one = make is None
        self._device = device
        self._saves_memory = saves_memory

    @property
    def are_lent(self) -> bool:
        """Whether every edit borrows a GPU."""
        return isinstance(self.first, HostedEditor)

    def specs(self) -> tuple[ModelSpec, ...]:
        """Those of the library and the first, those that suit a GPU best first; or the first alone."""
        known = () if self._is_one else list_models()
        if self._device != "cpu":
            known = tuple(best_first(known, room=usable_memory(self._device)))
        return _with_first(self.first.spec, tuple(shortened(spec, self._max_frames) for spec in known))

    def check(self, editor: Editor, config: EditConfig, *, num_frames: int) -> None:
        """Refuse what the limits of this page do not allow. Raises `ConfigError` with what they do."""
        most = self.limits.max_steps
        if most is not None and config.num_optimization_steps > most:
            raise ConfigError(
                f"num_optimization_steps is {config.num_optimization_steps}; this page allows at most {most}"
            )
        if isinstance(editor, HostedEditor):
            editor.check(num_frames, config)

    def is_slow(self, spec: ModelSpec) -> bool:
        """Whether a model is meant for more than the processor that it would run on here."""
        return spec.size_bytes >= LARGE_BYTES and self._device == "cpu"

    def is_tight(self, spec: ModelSpec) -> bool:
        """Whether an edit of the model's usual length does not fit here."""
        room = usable_memory(self._device)
        need = spec.low_memory_bytes if self._saves_memory else spec.memory_bytes
        return bool(room) and need > room

    def standing(self, spec: ModelSpec) -> Standing:
        """Whether a model runs at once, after a download, or not on this machine.

        Only what does not fit with every option that saves memory is refused: anything else fits with fewer
        frames.
        """
        refused = f"{spec.label} is {Readiness.UNAVAILABLE}:"
        room, need = usable_memory(self._device), spec.low_memory_bytes or spec.memory_bytes
        if room and need > room:
            reason = (
                f"{refused} an edit needs at least {size_words(need)} of memory, and {size_words(room)} can "
                f"be used on {self._device}. Start the page on a larger device, or choose a smaller model."
            )
            return Standing(Readiness.UNAVAILABLE, reason)
        own = usable_memory("cpu")
        if own and self._device != "cpu" and spec.loaded_bytes > own:
            reason = (
                f"{refused} its weights take {size_words(spec.loaded_bytes)} of the machine's own memory "
                f"while they are loaded, and {size_words(own)} can be used. Choose a smaller model."
            )
            return Standing(Readiness.UNAVAILABLE, reason)
        if spec.name == self.first.spec.name or spec.is_ready():
            return Standing(Readiness.READY)
        if spec.is_local:
            reason = f"{refused} its folder {spec.source} is missing. Fetch it again."
            return Standing(Readiness.UNAVAILABLE, reason)
        return self._missing(spec)

    def begin(self, editor: Editor, owner: object) -> None:
        """Get ready for the work of who holds the device: other large models make room for a large one."""
        if self._cache is not None:
            self._cache.owner = owner
        if editor.spec.size_bytes < LARGE_BYTES:
            return
        for other in list(self._made.values()):
            is_large = other.spec.size_bytes >= LARGE_BYTES
            if other is not editor and is_large and isinstance(other, LazyEditor):
                other.unload()

    def let_go(self, owner: object) -> None:
        """Forget what the models have answered to an owner who has left."""
        if self._cache is not None:
            self._cache.let_go(owner)
