"""The models of this server: which there are, whether they run here, and which one a visitor works with."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass

from dreammotion_core import (
    ConfigError,
    ModelDownload,
    ModelSpec,
    download_model,
    list_models,
    usable_memory,
)
from web.downloading import OneAtATime, Progress, size_words
from web.editor import Editor, LazyEditor
from web.lending import HostedEditor
from web.visitors import Visitor

LARGE_BYTES = 10**9
"""Of these weights only those of one model are in memory at a time."""


class State(enum.StrEnum):
    """What stands between a visitor and a model."""

    READY = "ready"
    DOWNLOADABLE = "will download"
    UNAVAILABLE = "not available here"


@dataclass(frozen=True)
class Standing:
    """Whether a model can run here.

    Attributes:
        state: in short.
        reason: why not, and what to do; empty where it can.
    """

    state: State
    reason: str = ""


class Models:
    """The models of this server, shared by all visitors. Safe to use from several threads.

    Args:
        first: what edits for newcomers.
        make: gives an editor for the name of a model, without loading weights; None offers only the first.
        device: torch name of the device that they run on.
        download: fetches the weights before, as `dreammotion_core.download_model` does.
        saves_memory: whether the editors are made with `LoadOptions.low_memory`.
    """

    def __init__(
        self,
        first: Editor,
        *,
        make: Callable[[str], Editor] | None = None,
        device: str = "cpu",
        download: Callable[[str], Generator[ModelDownload, None, None]] = download_model,
        saves_memory: bool = False,
    ) -> None:
        self.first = first
        self._make = make
        self._device = device
        self._download = download
        self._saves_memory = saves_memory
        self._editors: dict[str, Editor] = {first.spec.name: first}
        self._queue = OneAtATime()

    @property
    def are_lent(self) -> bool:
        """Whether every edit borrows a GPU."""
        return isinstance(self.first, HostedEditor)

    def of(self, visitor: Visitor) -> Editor:
        """What edits for a visitor."""
        return visitor.editor or self.first

    def specs(self) -> tuple[ModelSpec, ...]:
        """All that can be chosen."""
        if self._make is None:
            return (self.first.spec,)
        known = list_models()
        is_known = any(spec.name == self.first.spec.name for spec in known)
        return known if is_known else (self.first.spec, *known)

    def spec(self, name: object) -> ModelSpec:
        """What a user should know about one of them.

        Raises:
            ConfigError: if there is none of this name.
        """
        for spec in self.specs():
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.specs())
        raise ConfigError(f"there is no model {name!r}; choose one of: {known}")

    def is_slow(self, spec: ModelSpec) -> bool:
        """Whether a model was made for more than the processor that it would run on here."""
        return spec.size_bytes >= LARGE_BYTES and self._device == "cpu"

    def is_tight(self, spec: ModelSpec) -> bool:
        """Whether an edit of as many frames as the model likes best does not fit here."""
        room = usable_memory(self._device)
        need = spec.low_memory_bytes if self._saves_memory else spec.memory_bytes
        return bool(room) and need > room

    def standing(self, spec: ModelSpec) -> Standing:
        """Whether a model runs at once, after a download, or not on this machine.

        Only what does not fit with every option that saves memory is refused: what else does not, fits with
        fewer frames.
        """
        room, need = usable_memory(self._device), spec.low_memory_bytes or spec.memory_bytes
        if room and need > room:
            reason = (
                f"An edit needs {size_words(need)} of memory at least, and {size_words(room)} can "
                f"be used on {self._device}. Start the page on a larger device, or choose a smaller model."
            )
            return Standing(State.UNAVAILABLE, reason)
        if spec.name == self.first.spec.name or spec.is_ready():
            return Standing(State.READY)
        if spec.is_local:
            return Standing(State.UNAVAILABLE, f"Its folder {spec.source} is missing; fetch it again.")
        return Standing(State.DOWNLOADABLE)

    def fetch(self, name: str) -> Generator[Progress | None, None, None]:
        """Download the weights of a model, unless they are here; see `OneAtATime.fetch`.

        Raises:
            ConfigError: if there is none of this name, or it cannot run here.
            ModelLoadError: if it cannot be downloaded.
        """
        spec = self.spec(name)
        standing = self.standing(spec)
        if standing.state is State.UNAVAILABLE:
            raise ConfigError(f"{spec.label} is {standing.state}. {standing.reason}")
        return self._queue.fetch(spec.name, lambda: self._download(spec.name))

    def get(self, name: str) -> Editor:
        """The editor of a model; its weights are loaded by its first edit.

        Raises:
            ConfigError: if there is none of this name.
        """
        spec = self.spec(name)
        with self._queue.lock(spec.name):
            if spec.name not in self._editors and self._make is not None:
                self._editors[spec.name] = self._make(spec.name)
            return self._editors[spec.name]

    def make_room(self, editor: Editor) -> None:
        """Let the weights of other large models go before those of a large one are loaded.

        Only for who holds the device, because nobody else edits then.
        """
        if editor.spec.size_bytes < LARGE_BYTES:
            return
        for other in list(self._editors.values()):
            is_large = other.spec.size_bytes >= LARGE_BYTES
            if other is not editor and is_large and isinstance(other, LazyEditor):
                other.unload()
