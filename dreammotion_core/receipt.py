"""The receipt of an edit, and the record in it and in its result: what it takes to repeat and verify it.

Both are plain JSON values. A record that is read is untrusted: its size and form are checked, it names no
place on a disk, and nothing of it is run.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NoReturn, Self

import numpy as np

from dreammotion_core.config import MAX_PROMPT_CHARACTERS, EditConfig
from dreammotion_core.errors import ConfigError, StateError, VideoError, reason_of
from dreammotion_core.media.atomic import check_readable, written_atomically
from dreammotion_core.media.frames import is_same_rate, read_folder
from dreammotion_core.media.limits import MAX_CLIP_BYTES, MAX_FPS, MAX_SIDE
from dreammotion_core.media.video import LARGEST_RECORD, kept_record, read_video, write_video
from dreammotion_core.method.prior import Backend
from dreammotion_core.states import STATE_FORMAT, EditRequest, differences, versions
from dreammotion_core.values import EditOutput, Frames, StepLosses, Video

RECEIPT_FORMAT = 2
RECORD_FORMAT = 1
RENAMED = {"0.1.0": {"toybox": "toybox-unet", "toybox-flow": "toybox"}}
"""Version -> the models whose names it used otherwise, with their names of today."""


def build_receipt(
    output: EditOutput,
    *,
    source_path: str | Path | None = None,
    selection: Mapping[str, Any] | None = None,
    result_path: str | Path | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Describe an edit in plain JSON values, so that it can be repeated and checked.

    Args:
        source_path: the edited file; the receipt has its name, size and SHA-256, not its folder. `VideoError`
            if it is gone.
        selection: objects and prompts that the mask came from, as plain JSON values.
        result_path: the written clip, so that one can tell that it belongs to the receipt.
        extra: more entries, such as ``segmenter`` or ``start_frame``; they replace entries of the same name.
    """
    height, width = output.video.size
    return {
        "format": RECEIPT_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": output.model,
        "precision": output.precision,
        "source_prompt": output.source_prompt,
        "target_prompt": output.target_prompt,
        "seed": output.config.seed,
        "settings": output.config.to_dict(),
        "source": None if source_path is None else describe_file(source_path),
        "clip": {"frames": len(output.video), "width": width, "height": height, "fps": output.video.fps},
        "selection": None if selection is None else dict(selection),
        "mask": {
            "share": round(float(output.mask.mean()), 6),
            "sha256": hashlib.sha256(np.packbits(output.mask).tobytes()).hexdigest(),
        },
        "result": {
            "frames_sha256": hashlib.sha256(np.ascontiguousarray(output.frames).data).hexdigest(),
            "file": None if result_path is None else describe_file(result_path),
        },
        "notices": [asdict(notice) for notice in output.video.notices],
        "losses": _summarise(output.losses),
        "max_difference_outside": output.max_difference_outside,
        "seconds": round(output.seconds, 3),
        "versions": versions(),
        **({"record": EditRecord.of(output).to_dict()} if output.request else {}),
        **extra,
    }


def model_of(receipt: Mapping[str, Any]) -> tuple[str, str]:
    """Today's name of the model of a receipt, and a sentence if it had another name then, else ``""``."""
    name, version = str(receipt["model"]), receipt.get("versions", {}).get("dreammotion")
    today = RENAMED.get(version, {}).get(name, name)
    if today == name:
        return name, ""
    return today, f"The receipt is of version {version}, and the model that it calls {name} is {today} today."


def write_receipt(receipt: Mapping[str, Any], path: str | Path) -> Path:
    """Write a receipt as indented JSON and return its path, or raise `OutputError` and leave nothing behind.

    The folder is made if missing.
    """
    target = Path(path)
    text = json.dumps(receipt, indent=2, ensure_ascii=False, allow_nan=False)
    with written_atomically(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def describe_file(path: str | Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file, or of those in a folder; `VideoError` if it is gone."""
    path = Path(path)
    try:
        if path.is_dir():
            each = [describe_file(file) for file in sorted(path.iterdir()) if file.is_file()]
            digest = hashlib.sha256("".join(file["sha256"] for file in each).encode()).hexdigest()
            return {"name": path.name, "bytes": sum(file["bytes"] for file in each), "sha256": digest}
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"name": path.name, "bytes": file.tell(), "sha256": digest}
    except OSError as error:
        raise VideoError(
            f"{path} can no longer be read ({error.strerror}); pass the file that was edited"
        ) from error


def _summarise(losses: Sequence[StepLosses]) -> dict[str, Any]:
    if not losses:
        return {"steps": 0}
    steps = [asdict(step) for step in losses]
    mean = {name: fmean(step[name] for step in steps) for name in steps[0]}
    return {"steps": len(steps), "first": steps[0], "last": steps[-1], "mean": mean}


@dataclass(frozen=True)
class Change:
    """Something that is not as it was when a result was made; `text` says it in a few words.

    `part` is ``"clip"``, ``"mask"``, ``"source prompt"``, ``"target prompt"``, ``"settings"``,
    ``"scene cuts"``, ``"model"``, ``"beginning"`` (of a branch), ``"machine"`` or ``"version"``.
    """

    part: str
    text: str


@dataclass(frozen=True, eq=False)
class EditRecord:
    """What an edit follows from, and what came out: enough to make it again from its clip and its model.

    Attributes:
        asked: the request as `EditRequest.to_dict` gives it, checked but for its masks.
        parts: a digest for each part of the request, taken when the result was made; empty without a result.
        frames: a digest for each frame of the result, taken before it was coded; empty without a result.
    """

    asked: Mapping[str, Any]
    parts: Mapping[str, str] = field(default_factory=dict)
    frames: tuple[str, ...] = ()

    @classmethod
    def of(cls, output: EditOutput) -> Self:
        """The record of a finished edit."""
        return cls(output.request, _parts(output.request), _frame_digests(output.frames))

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`, of untrusted values; `StateError` for what is no record."""
        if not isinstance(values, dict) or not is_whole(values.get("dreammotion"), 1, 2**31):
            _refuse("it is not of DreamMotion")
        if values["dreammotion"] > RECORD_FORMAT:
            raise StateError(
                "the record of the edit is of a newer version of DreamMotion "
                f"(format {values['dreammotion']}, here {RECORD_FORMAT}); update"
            )
        asked: Any = values.get("request")
        parts, frames = values.get("parts"), values.get("frames")
        check_request(asked)
        if not isinstance(parts, dict) or not {*parts} <= {*_parts(asked)}:
            _refuse("its parts are wrong")
        if not isinstance(frames, list) or len(frames) not in (0, asked["clip"]["frames"]):
            _refuse("the number of its frames is wrong")
        if not all(map(_is_digest, (*parts.values(), *frames))):
            _refuse("its digests are wrong")
        return cls(asked, parts, tuple(frames))

    @classmethod
    def of_request(cls, asked: Any) -> Self:
        """The record of an edit without a result, of an untrusted request; `StateError` for what is none."""
        check_request(asked)
        return cls(asked)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {"request": dict(self.asked), "parts": dict(self.parts), "frames": list(self.frames)}
        return {"dreammotion": RECORD_FORMAT, **values}

    @property
    def id(self) -> str:
        """Equal for records of edits that were asked for alike."""
        return "-".join(_parts(self.asked).values())

    @property
    def arguments(self) -> dict[str, Any]:
        """With these `DreamMotionPipeline.stream` makes the edit again, from the same clip and model.

        Unpacks the masks; `StateError` if they are damaged.
        """
        request = EditRequest.from_dict({"parent": None, **self.asked})
        if request.parent is not None:
            raise StateError(
                "the record is of a branch; make the edit that it begins from again, and branch that"
            )
        return {
            "source_prompt": request.source_prompt,
            "target_prompt": request.target_prompt,
            "mask": request.mask,
            "config": request.config,
            "origin": request.origin,
            "cuts": request.cuts,
        }

    def read_source(self, path: str | Path) -> Video:
        """The frames that were edited, from the clip that has them; `VideoError` if they cannot be read."""
        clip, start, place = self.asked["clip"], self.asked["origin"].get("start_frame") or 0, Path(path)
        asked = {"start_frame": start, "max_frames": clip["frames"], "fps": clip["fps"]}
        return read_folder(place, **asked) if place.is_dir() else read_video(place, **asked)

    def changes(self, video: Video, backend: Backend) -> tuple[Change, ...]:
        """What changed in the record itself, and what is another of a clip, a model and this machine."""
        here = EditRequest.of(video, backend, source_prompt="", objects=(), config=EditConfig())
        changes = [
            Change(part, f"the {part} in the record is not the one that the result was made with")
            for part, digest in _parts(self.asked).items()
            if self.parts.get(part, digest) != digest
        ]
        begun, latest = self.asked, (self.asked["continued"] or [self.asked])[-1]
        changes += [Change("clip", text) for text in _clip_changes(begun["clip"], here.clip)]
        is_as_precise = latest["machine"].get("precision") == here.machine["precision"]
        # Weights of another precision have another digest.
        decisive = ("weights",) if is_as_precise else ("source", "revision")
        if any(begun["model"].get(name) != here.model[name] for name in decisive):
            there, now = begun["model"].get("name"), here.model["name"]
            now = "that has other weights now" if there == now else f"this one is {now}"
            changes.append(Change("model", f"it was made with the model {there}; {now}"))
        for part in ("machine", "versions"):
            here_too = dict(getattr(here, part))
            changes += [Change(part.removesuffix("s"), text) for text in differences(latest[part], here_too)]
        changes += [
            Change("machine", f"the edit was continued elsewhere after step {each['step']}")
            for each in begun["continued"]
        ]
        return tuple(changes)


@dataclass(frozen=True)
class Verification:
    """Whether an edit that was made again has the pixels of a result.

    Attributes:
        changes: what is another than when the result was made; see `EditRecord.changes`.
        uncoded: first frame that differs before coding, counted from 0; None if none does.
        coded: first frame that differs in the file; None if none does, or there is no file.
        difference: by how many of 255 levels it differs at most; None where pictures cannot be compared.
        num_different: frames that differ, in the file if there is one.
        problem: why the edit cannot be made again at all; empty if it can.
    """

    num_frames: int
    changes: tuple[Change, ...] = ()
    uncoded: int | None = None
    coded: int | None = None
    difference: int | None = None
    num_different: int = 0
    problem: str = ""

    @property
    def is_same(self) -> bool:
        """Whether all pixels are the same."""
        return self.uncoded is None and self.coded is None and not self.problem

    def describe(self) -> tuple[str, ...]:
        """In sentences: the verdict, and what may have caused a difference."""
        causes = [change.text for change in self.changes]
        if self.is_same:
            lines = [f"The same pixels, on all {self.num_frames} frames."]
            return tuple(lines + [f"What changed had no effect: {'; '.join(causes)}." for _ in causes[:1]])
        if self.problem:
            return f"The edit cannot be made again: {self.problem}.", f"What changed: {'; '.join(causes)}."
        first = self.uncoded if self.coded is None else self.coded
        size = "" if self.difference is None else f", by up to {self.difference} of 255 levels"
        if self.coded is None and self.difference == 0:
            size = ", by less than the coding of the file shows"
        lines = [f"Other pixels: frame {first} is the first of {self.num_different} that differ{size}."]
        if self.uncoded is None:
            lines.append(
                "The edit has the pixels that its record names, so the file was coded again or changed later."
            )
        if causes:
            lines.append(f"What changed: {'; '.join(causes)}.")
        elif self.uncoded is not None:
            lines.append("Nothing that the record names has changed; its digests may have been altered.")
        return tuple(lines)


def read_record(path: str | Path) -> EditRecord:
    """The record of an edit in a result (MP4), a receipt, or the folder of its states; all are untrusted.

    Raises `StateError` if there is none or it cannot be used, and `VideoError` for a damaged video.
    """
    place = Path(path)
    check_readable(place, StateError, wanted="a result, a receipt or the folder of an edit")
    if place.is_dir():
        place /= "request.json"
        check_readable(place, StateError, wanted="the folder of an edit, or one of its files")
    if place.suffix.lower() != ".json":
        text = kept_record(place)
        if text is None or not text.startswith("{"):
            raise StateError(
                f"{place.name} has no record of an edit: it is not of DreamMotion, or others coded it again "
                "and left the record out; pass the receipt of the edit (.json) instead"
            )
    elif place.stat().st_size > LARGEST_RECORD:
        raise StateError(f"{place.name} is too large for a receipt; pass one that an edit wrote")
    else:
        try:
            text = place.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StateError(f"{place.name} is no text; pass a receipt that an edit wrote") from error
    values = read_json(text, name=place.name)
    try:
        if not isinstance(values, dict) or "dreammotion" in values:
            return EditRecord.from_dict(values)
        if "record" in values:
            return EditRecord.from_dict(values["record"])
        if "seed" not in values:
            return EditRecord.of_request(values)
        raise StateError(
            "it is a receipt of an early version, without a record; edit again, with the settings in it"
        )
    except StateError as error:
        raise StateError(f"{place.name}: {error}") from error


def check_comparable(record: EditRecord, *, result: str | Path | None) -> None:
    """Raise `StateError` if neither a record nor a file says what came out of an edit."""
    if not record.frames and result is None:
        raise StateError("the record is of an unfinished edit: there is nothing to compare with; finish it")


def verify_result(
    output: EditOutput,
    *,
    record: EditRecord,
    result: str | Path | None = None,
    changes: Sequence[Change] = (),
) -> Verification:
    """Compare an edit that was made again with the record and, if there is one, the file of a result.

    Frames are compared with the digests before coding. The output is then coded as `write_video` does, and
    compared with the pictures of the file, so that a changed file is recognised too. `changes` are reported.
    Raises `StateError` if there are neither digests nor a file, and `VideoError` if the file cannot be read.
    """
    check_comparable(record, result=result)
    frames, verification = output.frames, Verification(len(output.frames), tuple(changes))
    if record.frames:
        found = _frame_digests(frames)
        wrong = [k for k, digest in enumerate(record.frames) if digest not in found[k : k + 1]]
        if wrong:
            verification = replace(verification, uncoded=wrong[0], num_different=len(wrong))
    if result is None:
        return verification
    given = read_video(result).frames
    with tempfile.TemporaryDirectory(prefix="dreammotion-") as folder:
        coded = read_video(write_video(Video(frames, output.video.fps), Path(folder) / "again.mp4")).frames
    if given.shape[1:] != coded.shape[1:]:
        return replace(verification, coded=0, num_different=len(given))
    different, largest = [], None
    for index in range(max(len(given), len(coded))):
        if index >= min(len(given), len(coded)):
            different.append(index)
        elif not np.array_equal(given[index], coded[index]):
            if not different:
                largest = int(np.abs(given[index].astype(np.int16) - coded[index]).max())
            different.append(index)
    if different:
        return replace(verification, coded=different[0], difference=largest, num_different=len(different))
    return replace(verification, difference=0)


def read_json(text: str, *, name: str) -> Any:
    """Untrusted JSON, called `name` in messages; `StateError` if it is damaged or not strict."""

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("it has a name twice")
        return values

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"{number[:20]} is no number")
        return value

    try:
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError) as error:
        raise StateError(
            f"what {name} keeps is damaged ({reason_of(error)}); pass a file that an edit wrote"
        ) from error


_LONGEST_FACT = 200
_MOST_FACTS = 32
_MOST_OBJECTS = 255
_MOST_STEPS = 10_000
_DEEPEST = 32


def check_request(asked: Any) -> None:
    """Raise `StateError` unless untrusted values have the form of a request.

    Masks are left to `EditRequest.from_dict`. Unpacked they take memory as the clip does that they name, so
    that the clip has to be seen first.
    """
    if not isinstance(asked, dict) or not _is_plain(asked, depth=_DEEPEST):
        _refuse("it holds no request")
    if asked.get("format") != STATE_FORMAT:
        _refuse(f"its request is of format {str(asked.get('format'))[:20]!r}, here {STATE_FORMAT}")
    clip, objects, cuts = asked.get("clip"), asked.get("objects"), asked.get("cuts")
    if not (
        isinstance(clip, dict)
        and {*clip} == {"frames", "height", "width", "fps", "sha256"}
        and all(is_whole(clip[side], 1, MAX_SIDE) for side in ("height", "width"))
        and is_whole(clip["frames"], 1, MAX_CLIP_BYTES // (3 * clip["height"] * clip["width"]))
        and isinstance(clip["fps"], int | float)
        and 0 < clip["fps"] <= MAX_FPS
        and _is_digest(clip["sha256"], length=64)
    ):
        _refuse("its clip cannot be")
    if not isinstance(objects, list) or not 1 <= len(objects) <= _MOST_OBJECTS:
        _refuse(f"it does not have 1 to {_MOST_OBJECTS} objects")
    for each in objects:
        if not isinstance(each, dict) or {*each} != {"target_prompt", "mask"}:
            _refuse("its objects cannot be read")
        if not isinstance(each["mask"], str | None):
            _refuse("its masks cannot be read")
    for prompt in (asked.get("source_prompt"), *(each["target_prompt"] for each in objects)):
        if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT_CHARACTERS:
            _refuse(f"a prompt is no text of at most {MAX_PROMPT_CHARACTERS:,} characters")
    if not isinstance(cuts, list) or not all(is_whole(cut, 0, clip["frames"]) for cut in cuts):
        _refuse("its scene cuts cannot be")
    _check_surroundings(asked)
    settings = asked.get("settings")
    if not isinstance(settings, dict) or not all(map(is_fact, settings)):
        _refuse("its settings cannot be read")
    try:
        EditConfig.from_dict(settings)
    except (ConfigError, TypeError) as error:
        _refuse(reason_of(error))


def _check_surroundings(asked: Mapping[str, Any]) -> None:
    continued, origin = asked.get("continued"), asked.get("origin")
    if not isinstance(continued, list) or not all(
        isinstance(each, dict) and is_whole(each.get("step"), 0, _MOST_STEPS) for each in continued
    ):
        _refuse("its continuations cannot be read")
    for place in (asked, *continued):
        for name in ("machine", "versions", *(("model",) if place is asked else ())):
            facts = place.get(name)
            if not isinstance(facts, dict) or len(facts) > _MOST_FACTS:
                _refuse(f"its {name} cannot be read")
            if not all(map(is_fact, (*facts, *facts.values()))):
                _refuse(f"its {name} cannot be read")
    if asked.get("parent") is not None:
        _check_parent(asked["parent"])
    if not isinstance(origin, dict) or not is_whole(origin.get("start_frame") or 0, 0, 2**31):
        _refuse("its origin cannot be read")


def _check_parent(parent: Any) -> None:
    """The request that a branch goes on from, which may be a branch itself; depth is checked before."""
    if not isinstance(parent, dict) or {*parent} != {"request", "step"}:
        _refuse("its beginning cannot be read")
    if not is_whole(parent["step"], 0, _MOST_STEPS):
        _refuse("its beginning cannot be read")
    check_request(parent["request"])


def _refuse(what: str) -> NoReturn:
    raise StateError(f"the record of the edit cannot be used: {what}; pass a file that an edit wrote")


def is_whole(value: Any, low: int, high: int) -> bool:
    """Whether an untrusted value is a whole number of a range."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_fact(value: Any) -> bool:
    """Whether it may stand in a message: a short text of one line, or a number."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_FACT and value.isprintable()
    return value is None or (isinstance(value, int | float) and math.isfinite(value) and abs(value) < 10**12)


def _is_plain(value: Any, *, depth: int) -> bool:
    """Whether JSON values are nested at most so deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_plain(each, depth=depth - 1) for each in inner)


_DIGITS = 16


def _is_digest(value: Any, *, length: int = _DIGITS) -> bool:
    return isinstance(value, str) and len(value) == length and {*value} <= {*"0123456789abcdef"}


def _parts(asked: Mapping[str, Any]) -> dict[str, str]:
    """A digest for each part of a request that decides the result. The mask counts as it is written."""
    # Previews change nothing, and more of them may be asked for later.
    settings = {name: value for name, value in asked["settings"].items() if name != "preview_interval"}
    parts = {
        "clip": asked["clip"],
        "source prompt": asked["source_prompt"],
        "target prompt": [each["target_prompt"] for each in asked["objects"]],
        "mask": [each["mask"] for each in asked["objects"]],
        "settings": settings,
        "scene cuts": asked["cuts"],
        "model": asked["model"],
        "beginning": asked.get("parent"),
    }
    texts = {name: json.dumps(value, sort_keys=True) for name, value in parts.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] for name, text in texts.items()}


def _frame_digests(frames: Frames) -> tuple[str, ...]:
    digests = (hashlib.sha256(np.ascontiguousarray(frame).data) for frame in frames)
    return tuple(digest.hexdigest()[:_DIGITS] for digest in digests)


def _clip_changes(begun: Mapping[str, Any], here: Mapping[str, Any]) -> Iterable[str]:
    sizes = [f"{clip['frames']} frames of {clip['width']}x{clip['height']}" for clip in (begun, here)]
    if sizes[0] != sizes[1]:
        yield f"it was made from a clip of {sizes[0]}; this one has {sizes[1]}"
    elif begun["sha256"] != here["sha256"]:
        yield "the frames of the clip are not those that it was made from"
    if not is_same_rate(here["fps"], begun["fps"]):
        yield f"the clip had {begun['fps']:g} frames a second; this one has {here['fps']:g}"
