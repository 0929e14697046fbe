"""An edit on disk: what was asked, and its states so far, so that another process can take it further.

A folder holds ``request.json`` and states such as ``state-000020.safetensors``, each written beside its place
and moved there. What is read is checked, and nothing of it is ever run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import math
import os
import platform
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dreammotion_core import __version__
from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError, OutputError, StateError
from dreammotion_core.media.atomic import check_writable, written_atomically
from dreammotion_core.method.editing import EditState
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.source_cache import weights_digest
from dreammotion_core.values import Mask, Notice, StepLosses, Video

logger = logging.getLogger(__name__)

STATE_FORMAT = 1
"""Format of requests and states; a reader refuses a higher one."""
PACKAGES = ("torch", "diffusers", "transformers", "numpy", "av")
LARGEST_REQUEST = 2**28
"""Bytes of a ``request.json``; a longer one is refused unread."""


def versions() -> dict[str, str]:
    """Versions of this library, Python, the system and the packages that an edit depends on."""
    ours = {"dreammotion": __version__, "python": platform.python_version(), "system": platform.system()}
    return ours | {package: metadata.version(package) for package in PACKAGES}


def machine_of(backend: Backend) -> dict[str, Any]:
    """What decides the bits of a computation besides its inputs: device, precision, threads."""
    device = backend.device
    is_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if is_gpu else device.type,
        "instructions": "" if is_gpu else torch.backends.cpu.get_cpu_capability(),
        "precision": backend.spec.precision,
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
    }


@dataclass(frozen=True, eq=False)
class RequestedObject:
    """An object to edit: (F, H, W) bool, before it is grown; None for the whole frame."""

    target_prompt: str
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EditRequest:
    """Everything that an edit follows from: with the clip and the model it is enough to make it again.

    Attributes:
        clip: ``frames``, ``height``, ``width``, ``fps``, and ``sha256`` of the frames' bytes.
        objects: at least one, with their prompts and masks.
        config: the settings, with the drawn seed.
        cuts: first frame of every scene but the first.
        model: ``name``, ``family``, ``source``, ``revision`` and ``weights``, a digest of all networks.
        machine: see `machine_of`; with `versions` of the process that began the edit.
        continued: for each continuation on another machine, ``step``, ``machine`` and ``versions``.
        origin: what the caller knows besides, such as the file and the clicks; plain JSON values.
        parent: of a branch, the ``request`` that it goes on from, as JSON values, and after which ``step``.
    """

    clip: Mapping[str, Any]
    source_prompt: str
    objects: tuple[RequestedObject, ...]
    config: EditConfig
    model: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    cuts: tuple[int, ...] = ()
    continued: tuple[Mapping[str, Any], ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    parent: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, video: Video, backend: Backend, **asked: Any) -> Self:
        """The request of an edit that begins here; `asked` are the attributes that a user chooses."""
        spec, digest = backend.spec, hashlib.sha256()
        for frame in video.frames:
            digest.update(np.ascontiguousarray(frame).data)
        height, width = video.size
        clip: dict[str, Any] = {"frames": len(video), "height": height, "width": width, "fps": video.fps}
        clip["sha256"] = digest.hexdigest()
        model = {
            "name": spec.name,
            "family": spec.family,
            # A folder is somewhere else on another machine, and nobody's business.
            "source": Path(spec.source).name if spec.is_local else spec.source,
            "revision": spec.revision,
            "weights": weights_digest(nn.ModuleList(backend.networks)),
        }
        machine = machine_of(backend)
        return cls(clip=clip, model=model, machine=machine, versions=versions(), **asked)

    @property
    def id(self) -> str:
        """Equal for edits that come to the same result on the same machine."""
        values = self.to_dict()
        values["settings"].pop("preview_interval")
        values["model"] = dict(self.model, weights=None)
        if self.parent is not None:
            values["parent"] = [EditRequest.from_dict(self.parent["request"]).id, self.parent["step"]]
        decisive = ("clip", "source_prompt", "objects", "settings", "cuts", "model", "parent")
        text = json.dumps([values[name] for name in decisive], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def target_prompt(self) -> str | list[str]:
        """As `DreamMotionPipeline.stream` takes it: of each object, if there are several."""
        prompts = [each.target_prompt for each in self.objects]
        return prompts[0] if len(prompts) == 1 else prompts

    @property
    def mask(self) -> Mask | list[Mask | None] | None:
        """As `DreamMotionPipeline.stream` takes it: of each object, if there are several."""
        masks = [each.mask for each in self.objects]
        return masks[0] if len(masks) == 1 else masks

    @property
    def latest(self) -> Mapping[str, Any]:
        """Machine and versions on which the edit was worked on last."""
        return self.continued[-1] if self.continued else {"machine": self.machine, "versions": self.versions}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; masks are packed bits, deflated, in base 64."""
        objects = [
            {"target_prompt": each.target_prompt, "mask": None if each.mask is None else packed(each.mask)}
            for each in self.objects
        ]
        return {
            "format": STATE_FORMAT,
            "clip": dict(self.clip),
            "source_prompt": self.source_prompt,
            "objects": objects,
            "settings": self.config.to_dict(),
            "cuts": list(self.cuts),
            "model": dict(self.model),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "continued": [dict(each) for each in self.continued],
            "origin": dict(self.origin),
            "parent": None if self.parent is None else dict(self.parent),
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`; `StateError` for what is no request, or one of a newer version."""
        check_format(values.get("format") if isinstance(values, dict) else None, what="the request")
        try:
            clip = values["clip"]
            shape = tuple(int(clip[side]) for side in ("frames", "height", "width"))
            objects = tuple(
                RequestedObject(
                    str(each["target_prompt"]),
                    None if each["mask"] is None else unpacked(each["mask"], shape=shape),
                )
                for each in values["objects"]
            )
            return cls(
                clip=dict(clip),
                source_prompt=str(values["source_prompt"]),
                objects=objects,
                config=EditConfig.from_dict(values["settings"]),
                cuts=tuple(int(cut) for cut in values["cuts"]),
                model=dict(values["model"]),
                machine=dict(values["machine"]),
                versions=dict(values["versions"]),
                continued=tuple(dict(each) for each in values["continued"]),
                origin=dict(values["origin"]),
                parent=values["parent"] and dict(values["parent"]),
            )
        except (KeyError, TypeError, ValueError, ConfigError, binascii.Error, zlib.error) as error:
            raise StateError(
                f"the request of an edit cannot be used ({type(error).__name__}: {error}); take one that an "
                "edit wrote"
            ) from error


def packed(mask: Mask) -> str:
    """A (F, H, W) bool mask as text."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")


def unpacked(text: str, *, shape: tuple[int, ...]) -> Mask:
    """The inverse of `packed`; `ValueError` unless it holds exactly the bits of such a mask."""
    size = int(np.prod(shape))
    unpacker = zlib.decompressobj()
    # One byte more than there should be shows a mask that is too long, without unpacking all of it.
    content = unpacker.decompress(base64.b64decode(text, validate=True), (size + 7) // 8 + 1)
    if len(content) != (size + 7) // 8 or not unpacker.eof:
        raise ValueError(f"a mask of {len(content)} bytes or more, where {(size + 7) // 8} belong")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=size)
    return bits.reshape(shape).astype(bool)


def check_format(found: Any, *, what: str) -> None:
    """Raise `StateError` unless a format is one that can be read here."""
    if isinstance(found, int) and found > STATE_FORMAT:
        raise StateError(
            f"{what} was written by a newer version of DreamMotion (format {found}, here {STATE_FORMAT}); "
            "update, or begin in a new folder"
        )
    if found != STATE_FORMAT:
        raise StateError(f"{what} was not written by DreamMotion; name the folder of an edit, or a new one")


def differences(begun: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In words, how two records of machine or versions differ."""
    names = {**begun, **here}
    return [
        f"{name} {begun.get(name) or 'unknown'} there, {here.get(name) or 'unknown'} here"
        for name in names
        if begun.get(name) != here.get(name)
    ]


KEPT = 2
"""The last states that are kept, so that one is left if the newest is damaged."""
_NAME = re.compile(r"state-(\d{6})\.safetensors")


class StateFolder:
    """Keeps the states of one edit in a folder, for one process at a time.

    Use it as a context manager, or pass it to `DreamMotionPipeline.stream`, which does.

    Args:
        every: a state is written after so many steps, and at a stop.
        chosen: steps whose states are kept besides the last two, as far as `budget` bytes reach.
        goes_anywhere: whether a state of another device, precision, version or number of threads is
            continued. The result then differs a little from that of an undisturbed edit.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        every: int = 1,
        chosen: Collection[int] = (),
        budget: int = 2**30,
        goes_anywhere: bool = False,
    ) -> None:
        self.path = Path(path)
        self._every, self._chosen, self._budget = every, frozenset(chosen), budget
        self._goes_anywhere = goes_anywhere
        self._lock: IO[bytes] | None = None
        self._users = 0
        self._id = ""
        self._newest: tuple[EditState, float] | None = None
        self._is_full = False

    def __enter__(self) -> Self:
        """Take the folder; `StateError` if another process has it, `OutputError` if it cannot be written."""
        if self._lock is None:
            check_writable(self.path / "request.json")
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.path / "lock", self.path)
            for left in self.path.glob(".dreammotion-*"):  # of a process that was killed while it wrote
                left.unlink(missing_ok=True)
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Write the newest state if it is not written yet, and let go of the folder."""
        self._users -= 1
        try:
            if self._newest is not None:
                with suppress(Exception):  # the device may be gone; what was kept before stays
                    self._write(*self._newest)
        finally:
            self._newest = None
            if self._lock is not None and not self._users:
                self._lock.close()
                self._lock = None

    def request(self) -> EditRequest | None:
        """The request that the folder holds; None if there is none, `StateError` if it cannot be used."""
        path = self.path / "request.json"
        try:
            if path.stat().st_size > LARGEST_REQUEST:
                raise StateError(f"{path} is too large for a request; choose a new folder")
            return EditRequest.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except StateError as error:
            raise StateError(f"{path}: {error}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(f"{path} is damaged ({error}); choose a new folder, and begin again") from error

    def begin(self, asked: EditRequest) -> tuple[EditRequest, list[Notice]]:
        """Begin an edit here, or find the one that was begun: its request, and what the user should know.

        Raises:
            StateError: if the folder belongs to another edit, or to another machine and `goes_anywhere` is
                not set.
        """
        found = self.request()
        if found is not None:
            self.check_same_edit(found, asked)
        if found is None or not self.steps():
            if self.steps():
                raise StateError(f"{self.path} has states but no request.json; choose a new folder")
            found = asked
            self._write_request(found)
        differing = [
            words
            for name in ("machine", "versions")
            for words in differences(found.latest[name], getattr(asked, name))
        ]
        if differing and not self._goes_anywhere:
            raise StateError(
                f"the edit in {self.path} was begun elsewhere ({'; '.join(differing)}), so the result would "
                "differ a little from that of an undisturbed run; allow it (--continue-anyway), or begin in "
                "a new folder"
            )
        if differing:
            here = {"machine": dict(asked.machine), "versions": dict(asked.versions)}
            found = replace(found, continued=(*found.continued, {"step": self.steps()[-1], **here}))
            self._write_request(found)
        self._id = found.id
        if not found.continued:
            return found, []
        steps = ", ".join(str(each["step"]) for each in found.continued)
        text = f"The edit was continued on another machine or with other versions after step {steps}; the "
        return found, [
            Notice("continued_elsewhere", text + "result may differ a little from that of one run.")
        ]

    def newest(self, like: Tensor) -> tuple[EditState | None, float, list[Notice]]:
        """The newest state that can be used, the seconds up to it, and notices; None if there is none.

        `like` has the shape and the device of its latents.
        """
        notices = []
        for step in reversed(self.steps()):
            try:
                state, seconds = self._read(step, like)
            except StateError as error:
                notices.append(Notice("state_refused", f"A kept state was not used: {error}."))
                continue
            notices.append(Notice("continued", f"The edit goes on from step {step}, kept in {self.path}."))
            return state, seconds, notices
        return None, 0.0, notices

    def check_same_edit(self, found: EditRequest, asked: EditRequest) -> None:
        """Raise `StateError`, with what differs, if a kept request and another one are not of one edit."""
        names = {
            "clip": "clip",
            "source_prompt": "source prompt",
            "objects": "selection or target prompt",
            "settings": "settings",
            "cuts": "scene cuts",
            "parent": "beginning",
        }
        there, here = found.to_dict(), asked.to_dict()
        for each in (there, here):
            each["settings"].pop("preview_interval")
        different = [said for name, said in names.items() if there[name] != here[name]]
        precise = found.latest["machine"].get("precision") == asked.machine["precision"]
        models = [
            dict(each.model, weights=each.model.get("weights") if precise else None)
            for each in (found, asked)
        ]
        if models[0] != models[1]:
            different.append("model")
        if different:
            raise StateError(
                f"{self.path} holds another edit: its {' and '.join(different)} differ; choose another "
                "folder, or repeat the command that began it"
            )

    def keep(self, state: EditState, *, seconds: float) -> Notice | None:
        """Keep a state after a step. A full disk does not end the edit; the first time, a notice says so."""
        self._newest = state, seconds
        if state.step % self._every and state.step not in self._chosen:
            return None
        try:
            self._write(state, seconds)
        except OutputError as error:
            if self._is_full:
                return None
            self._is_full = True
            return Notice("state_not_kept", f"The edit goes on, but its state could not be kept: {error}.")
        self._newest, self._is_full = None, False
        return None

    def steps(self) -> list[int]:
        """The steps whose states are there, in order."""
        return sorted(int(name[1]) for path in self.path.iterdir() if (name := _NAME.fullmatch(path.name)))

    def state(self, step: int, like: Tensor | None = None) -> EditState:
        """The state of a step, like the latents if given; `StateError` if it cannot be used."""
        if step not in self.steps():
            there = ", ".join(map(str, self.steps())) or "none"
            raise StateError(f"{self.path} has no state of step {step}; there are: {there}")
        if not self._id and (request := self.request()):
            self._id = request.id
        return self._read(step, like)[0]

    def samplings(self) -> SamplingFiles:
        """Where the later stages of a cascade keep what they draw."""
        return SamplingFiles(self.path, self._id)

    def _path(self, step: int) -> Path:
        return self.path / f"state-{step:06d}.safetensors"

    def _write_request(self, request: EditRequest) -> None:
        with written_atomically(self.path / "request.json") as part:
            part.write_text(json.dumps(request.to_dict(), indent=1), encoding="utf-8")

    def _write(self, state: EditState, seconds: float) -> None:
        losses = torch.tensor([[*asdict(each).values()] for each in state.losses], dtype=torch.float64)
        tensors = {"latents": state.latents, "losses": losses.reshape(-1, 3)}
        tensors |= {f"carried.{name}": value for name, value in state.carried.items()}
        facts = {"request": self._id, "step": str(state.step), "seconds": repr(seconds)}
        write_tensors(self._path(state.step), tensors, facts)
        self._make_room(state.step)

    def _make_room(self, newest: int) -> None:
        steps, room = [step for step in self.steps() if step <= newest], self._budget
        for step in reversed(self.steps()):
            path = self._path(step)
            if step in steps[-KEPT:]:
                continue
            room -= path.stat().st_size if step in self._chosen else 0
            if step not in self._chosen or room < 0 or step > newest:
                path.unlink(missing_ok=True)

    def _read(self, step: int, like: Tensor | None) -> tuple[EditState, float]:
        path = self._path(step)
        tensors, facts = read_tensors(path)
        if facts.get("request") != self._id or facts.get("step") != str(step):
            raise StateError(f"{path.name} belongs to another edit or step")
        latents, losses = tensors.pop("latents", None), tensors.pop("losses", None)
        if (
            latents is None
            or losses is None
            or (like is not None and latents.shape != like.shape)
            or latents.dtype != torch.float32
            or losses.shape != (step, 3)
            or not all(name.startswith("carried.") for name in tensors)
        ):
            raise StateError(f"{path.name} does not hold the state of this edit")
        # An optimiser counts its steps on the CPU, whatever the device.
        device = latents.device if like is None else like.device
        carried = {
            name.removeprefix("carried."): value.to(device) if value.ndim else value
            for name, value in tensors.items()
        }
        rows = tuple(StepLosses(*row) for row in losses.tolist())
        return EditState(latents.to(device), carried, rows), float(facts.get("seconds", 0))


class SamplingFiles:
    """Keeps what the later stages of a cascade draw, in the folder of an edit; see `SamplingJournal`."""

    def __init__(self, folder: Path, request: str) -> None:
        self._folder, self._request, self._number = folder, request, 0

    def next_sampling(self) -> tuple[int, Mapping[str, Tensor]]:
        """See `SamplingJournal`."""
        self._number += 1
        for path in sorted(self._folder.glob(f"sampling-{self._number:06d}-*.safetensors"), reverse=True):
            with suppress(StateError, ValueError):
                tensors, facts = read_tensors(path)
                step = path.stem.rpartition("-")[2]
                if facts.get("request") == self._request and facts.get("step") == str(int(step)):
                    return int(step), tensors
        return 0, {}

    def keep(self, step: int, tensors: Mapping[str, Tensor], *, is_last: bool) -> None:
        """See `SamplingJournal`."""
        name = f"sampling-{self._number:06d}-"
        facts = {"request": self._request, "step": str(step)}
        try:
            write_tensors(self._folder / f"{name}{step:06d}.safetensors", tensors, facts)
        except OutputError as error:
            logger.warning("a stage of the cascade was not kept: %s", error)
            return
        for path in sorted(self._folder.glob(f"{name}*.safetensors"))[: -1 if is_last else -KEPT]:
            path.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and facts about them whole or not at all; `OutputError` if that fails.

    The order of a tensor's axes in memory is kept, because the last bits of what is computed from it can
    depend on that.
    """
    here = {name: value.detach().cpu() for name, value in tensors.items()}
    strides = json.dumps(
        {name: value.stride() for name, value in here.items() if is_dense(value.shape, value.stride())}
    )
    tensors = {name: value.contiguous() for name, value in here.items()}
    facts = dict(facts, format=str(STATE_FORMAT), sha256=_digest(tensors), strides=strides)
    with written_atomically(path) as part:
        try:
            save_file(tensors, part, facts)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts, checked against the digest; `StateError` if they cannot be used."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
    except FileNotFoundError as error:
        raise StateError(f"there is no {path.name}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise StateError(f"{path.name} is damaged ({error})") from error
    check_format(int(facts["format"]) if facts.get("format", "").isdecimal() else None, what=path.name)
    try:
        if facts["sha256"] != _digest(tensors):
            raise ValueError("its content does not have the digest that it names")
        for name, strides in json.loads(facts["strides"]).items():
            if not is_dense(tensors[name].shape, strides):
                raise ValueError(f"its {name} does not lie in memory as a tensor does")
            tensors[name] = torch.empty_strided(
                tensors[name].shape, strides, dtype=tensors[name].dtype
            ).copy_(tensors[name])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StateError(f"{path.name} is damaged ({error})") from error
    return tensors, facts


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a tensor fills its memory without gaps or overlaps, in any order of its axes."""
    if len(shape) != len(strides):
        return False
    size = 1
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if length == 1 and 0 <= stride <= math.prod(shape):
            continue  # such an axis is never stepped along
        if stride != size:
            return False
        size *= length
    return True


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _locked(path: Path, folder: Path) -> IO[bytes]:
    """An open file that no other process has open so; the system lets go of it when the process ends."""
    file = path.open("a+b")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StateError(
            f"another process works on the edit in {folder}; wait until it ends, or choose another folder"
        ) from error
    return file
