"""`ModelSpec`: the facts about a model, whether it is on this machine, and settings that fit the words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from dreammotion_core.config import AUTO, EditConfig
from dreammotion_core.errors import ConfigError, VideoError


@dataclass(frozen=True)
class HubPart:
    """A repository of the hub at a pinned commit, with the folders to load; empty loads all."""

    source: str
    revision: str
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts about a model that are known before it is loaded.

    Attributes:
        name: short name, also accepted by `from_pretrained`.
        family: adapter that loads it, such as ``"unet3d"`` or ``"wan"``.
        source: local folder, or hub id; `revision` is the pinned commit of a hub id, None for a folder.
        licence: licence of the weights, in a few words.
        size_bytes: size of the weights; 0 if unknown.
        memory_bytes: least GPU memory for an edit of `num_frames` frames at `resolution`, counted from the
            tensors in `gpu_precision`; 0 if unknown.
        low_memory_bytes: the same with `LoadOptions.low_memory`.
        loaded_bytes: memory of the machine itself that the weights pass through, in `gpu_precision`; 0 if
            unknown.
        gpu_precision: default precision on a GPU, that of the published weights.
        resolution: trained (height, width) in pixels; other shapes keep this area.
        size_multiple: both sides must be multiples of this many pixels.
        num_frames: trained number of frames; a window takes at most `max_frames`, a longer clip several.
        frame_step: a clip must have k * frame_step + 1 frames; 1 accepts any number.
        vocabulary: the only words it knows; None for an open vocabulary.
        precision: precision of the loaded denoiser, such as ``"bfloat16"``.
        stages: names of a cascade's stages in order, the optimised one first; empty for other models.
        keeps_detail: whether detail that the model loses can be given back from the source. Not if later
            stages draw it anew.
        settings: the model's own defaults for an edit, where they differ from those of `EditConfig`.
    """

    name: str
    label: str
    family: str
    source: str
    licence: str
    description: str
    resolution: tuple[int, int]
    num_frames: int
    max_frames: int
    fps: float
    revision: str | None = None
    size_bytes: int = 0
    memory_bytes: int = 0
    low_memory_bytes: int = 0
    loaded_bytes: int = 0
    gpu_precision: str = "bfloat16"
    size_multiple: int = 16
    frame_step: int = 1
    vocabulary: tuple[str, ...] | None = None
    precision: str = "float32"
    stages: tuple[str, ...] = ()
    keeps_detail: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    further_sources: tuple[HubPart, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether the source is a folder rather than a hub id."""
        return self.revision is None

    @property
    def hub_parts(self) -> tuple[HubPart, ...]:
        """All repositories that it needs; none for a folder."""
        if self.revision is None:
            return ()
        return (HubPart(self.source, self.revision), *self.further_sources)

    def is_ready(self) -> bool:
        """Whether the weights are on this machine; needs no network."""
        if self.is_local:
            return (Path(self.source) / "model_index.json").is_file()
        parts = self.hub_parts
        return all(is_downloaded(p.source, revision=p.revision, folders=p.folders) for p in parts)

    def fit_size(self, size: tuple[int, int], *, scale: float = 1.0) -> tuple[int, int]:
        """The (height, width) at which a clip is edited: its shape, the trained area, both sides scaled."""
        scale *= math.sqrt(math.prod(self.resolution) / math.prod(size))
        multiple = self.size_multiple
        height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
        return height, width

    def config(
        self,
        preset: str = AUTO,
        *,
        source_prompt: str = "",
        target_prompt: str = "",
        size: tuple[int, int] | None = None,
        room: int | None = None,
        **changes: Any,
    ) -> EditConfig:
        """The settings of an edit with this model: its own, then those of the preset, then the changes.

        ``"auto"`` takes what `choose_preset` says of the prompts, the clip's (height, width) and the room. It
        raises `ConfigError` if there is no such preset, or a setting is unknown or out of its range.
        """
        if preset == AUTO:
            choice = self.choose_preset(source_prompt, target_prompt, size=size, room=room)
            preset, changes = choice.preset, {"mask_grow": choice.mask_grow} | changes
        return EditConfig.preset(preset, usual=self.settings, **changes)

    def choose_preset(
        self,
        source_prompt: str,
        target_prompt: str,
        *,
        size: tuple[int, int] | None = None,
        room: int | None = None,
    ) -> PresetChoice:
        """The preset for a change of words: ``"keep-shape"`` where only the look changes, else ``"fast"``.

        Another thing gets room round the selection, because it rarely has the old outline.

        Args:
            size: (height, width) of the clip; None takes the trained one.
            room: pixels by which the selection grows for another thing; None takes 1/32 of the shorter side.
        """
        changed = changed_words(source_prompt, target_prompt)
        if not changed or not source_prompt.strip() or not target_prompt.strip():
            return PresetChoice("fast", 0, "")
        said = ", ".join(map(_said, changed))
        if all(map(changes_the_look, changed)):
            return PresetChoice("keep-shape", 0, f"Keep the shape, because only the look changes: {said}.")
        if room is None:
            room = min(256, max(1, round(min(size or self.resolution) * ROOM)))
        return PresetChoice("fast", room, f"Usual, because the thing itself changes: {said}.")

    def fit_length(self, num_frames: int) -> int:
        """The largest number of frames up to `num_frames` that one window takes; 1 if no larger one is."""
        return self.trimmed(min(num_frames, self.max_frames))

    def trimmed(self, num_frames: int) -> int:
        """The largest accepted length of a clip up to `num_frames`, also beyond one window."""
        return (num_frames - 1) // self.frame_step * self.frame_step + 1

    def window(self, num_frames: int, *, asked: int = 0) -> int:
        """The frames of a window in a clip: all where they fit and nothing else is asked for (0)."""
        if asked:
            return min(asked, num_frames)
        return num_frames if num_frames <= self.max_frames else self.fit_length(self.num_frames)

    def check_length(self, num_frames: int) -> None:
        """Raise `VideoError`, with the nearest accepted numbers, if the model does not take that number."""
        if (fitting := self.trimmed(num_frames)) != num_frames:
            accepted = " or ".join(str(n) for n in (fitting, fitting + self.frame_step) if n > 1)
            taken = f"{self.label} takes {self.frame_step} k + 1 of them: pass {accepted}"
            raise VideoError(f"the clip has {num_frames} frames; {taken}")

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise `VideoError` if a side is not a multiple of `size_multiple`; see `fit_size`."""
        if any(side == 0 or side % self.size_multiple for side in size):
            raise VideoError(
                f"the frames are {size[1]}x{size[0]}; {self.label} needs both sides to be multiples of "
                f"{self.size_multiple}: scale or crop them"
            )


def check_length(num_frames: int, *, spec: ModelSpec) -> None:
    """Raise `ConfigError` for a number of frames that a model does not take.

    Too few are left to those who read the clip.
    """
    if num_frames > 0 and spec.trimmed(num_frames) != num_frames:
        nearest = max(spec.trimmed(num_frames), shortest_length(spec))
        raise ConfigError(
            f"{num_frames} frames are asked for; {spec.label} takes {spec.frame_step} k + 1 of them: choose "
            f"{nearest}"
        )


def shortest_length(spec: ModelSpec) -> int:
    """The fewest frames of a clip that a model takes."""
    return max(2, spec.frame_step + 1)


def length_words(spec: ModelSpec) -> str:
    """The numbers of frames that a model takes, for people: for example ``5, 9, 13, ... or 49``."""
    step = spec.frame_step
    if step == 1:
        return f"2 to {spec.max_frames}"
    longest = spec.fit_length(spec.max_frames)
    lengths = [str(length) for length in range(step + 1, longest + 1, step)]
    if len(lengths) <= 4:
        return " or ".join(lengths)
    return f"{', '.join(lengths[:3])}, ... or {longest}"


ROOM = 1 / 32
"""Part of the clip's shorter side by which the selection grows for another thing."""

_LOOKS = """
    red orange yellow green blue purple pink brown black white grey gray teal cyan magenta turquoise
    violet indigo lilac lavender crimson scarlet maroon burgundy beige cream ivory tan khaki olive
    lime mint navy azure aqua coral salmon peach amber ochre gold golden silver silvery bronze
    copper brass colour color coloured colored colourful colorful pastel neon dark light bright pale
    deep vivid dull plain striped stripes stripy dotted dots spotted checkered chequered checked
    plaid tartan patterned camouflage furry fluffy woollen woolen knitted denim velvet silk leather
    cotton felt wooden wood oak bamboo cardboard paper origami wicker straw stone marble granite
    brick concrete clay ceramic porcelain terracotta sandstone glass crystal diamond ice icy frozen
    snow snowy metal metallic steel iron chrome chromed tin rusty rusted plastic rubber wax
    chocolate shiny glossy matte glittering glittery sparkling glowing transparent translucent
    painted lacquered polished dirty muddy dusty wet burnt new old
"""
LOOKS = frozenset(re.findall(r"\w+", _LOOKS))
"""Words of colour, material, pattern and finish."""

_ARTICLES = frozenset(("a", "an", "the"))
_LINKS = frozenset(
    re.findall(r"\w+", "of in on at with made from out and or is are by into to for under over its")
)

WordChange = tuple[tuple[str, ...], tuple[str, ...], str]
"""Words that went, words that came, and the word that follows both; empty at the end."""


@dataclass(frozen=True)
class PresetChoice:
    """A preset, the pixels by which the selection grows, and why; an empty reason if there are no words."""

    preset: str
    mask_grow: int
    reason: str

    def describe(self, config: EditConfig) -> str:
        """The reason, and what was done to the selection if the settings follow the choice there too."""
        if not 0 < self.mask_grow == config.mask_grow:
            return self.reason
        return f"{self.reason} The selection grows by {self.mask_grow} pixels to make room."


def changed_words(source_prompt: str, target_prompt: str) -> list[WordChange]:
    """Where two prompts differ, articles aside."""
    source, target = (
        [word for word in re.findall(r"\w+", prompt.lower()) if word not in _ARTICLES]
        for prompt in (source_prompt, target_prompt)
    )
    spans = SequenceMatcher(None, source, target, autojunk=False).get_opcodes()
    return [
        (tuple(source[a:b]), tuple(target[c:d]), source[b] if b < len(source) else "")
        for kind, a, b, c, d in spans
        if kind != "equal"
    ]


def changes_the_look(change: WordChange) -> bool:
    """Whether a change of words is one of colour, material, pattern or finish.

    An unknown word counts as a look only before a thing that stays, in place of a look or of nothing; so
    another thing never keeps the old shape.
    """
    old, new, following = change
    if all(word in LOOKS or word in _LINKS for word in (*old, *new)):
        return True
    describes = following not in {"", *_LINKS} and not following.endswith("ing") and not {*old, *new} & _LINKS
    return describes and (LOOKS.issuperset(old) or LOOKS.issuperset(new))


def _said(change: WordChange) -> str:
    old, new = (" ".join(words) for words in change[:2])
    if old and new:
        return f"{old} to {new}"
    return f"now {new}" if new else f"no longer {old}"


NETWORKS = ("unet", "transformer", "vae", "text_encoder")
"""Folders with weights. All other files are fetched before them."""

WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
"""Where diffusers and transformers look for weights; large ones are several files with an index."""


def is_downloaded(source: str, *, revision: str, folders: Sequence[str] = ()) -> bool:
    """Whether all weights of a repository are on this machine; needs no network."""
    from huggingface_hub import try_to_load_from_cache

    manifest = try_to_load_from_cache(source, "model_index.json", revision=revision)
    if not isinstance(manifest, str):
        return False
    asked = [name for name in NETWORKS if name in _read(Path(manifest)) and name in (folders or NETWORKS)]
    return bool(asked) and all(_has_weights(Path(manifest).parent / name) for name in asked)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() or _has_shards(folder, name) for name in WEIGHTS)


def _has_shards(folder: Path, name: str) -> bool:
    shards = _read(folder / f"{name}.index.json").get("weight_map", {})
    return bool(shards) and all((folder / shard).is_file() for shard in set(shards.values()))


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty if there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
