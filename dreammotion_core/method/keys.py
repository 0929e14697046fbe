"""Attention keys of any denoiser, taken by forward hooks on its key projections.

A hook leaves the output bit-identical and the fused attention kernels in place. It works for every
`nn.Module` that projects its keys with a module of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dreammotion_core.config import check_key_pattern, compiled_key_pattern
from dreammotion_core.errors import KeyLayoutError, KeySiteError


class KeyLayout(StrEnum):
    """The layout of a site's raw keys, for B clips of F frames with N tokens each."""

    FRAMES_OF_TOKENS = "(B*F, N, C)"
    """Attention within a frame."""
    TOKENS_OF_FRAMES = "(B*N, F, C)"
    """Attention of one position over the frames."""
    JOINT_TOKENS = "(B, L+F*N, C)"
    """Attention over space and time at once, after L tokens of text."""


@dataclass(frozen=True)
class KeySite:
    """Key projections to listen to; `ConfigError` if the pattern is not a shell pattern.

    Attributes:
        pattern: shell pattern that a module's full dotted name must match entirely, such as
            ``mid_block.*.to_k``.
        num_text_tokens: L, text tokens in front of the frames' tokens, which are cut off.
    """

    pattern: str
    layout: KeyLayout = KeyLayout.FRAMES_OF_TOKENS
    num_text_tokens: int = 0

    def __post_init__(self) -> None:
        check_key_pattern(self.pattern)


def arrange(raw: Tensor, site: KeySite, batch_size: int, num_frames: int) -> Tensor:
    """The raw output of a key projection as (B, F, N, C); `KeyLayoutError` if layout, B or F do not fit."""
    if raw.ndim == 3:
        (rows, length, channels), text = raw.shape, site.num_text_tokens
        match site.layout:
            case KeyLayout.FRAMES_OF_TOKENS if rows == batch_size * num_frames:
                return raw.reshape(batch_size, num_frames, length, channels)
            case KeyLayout.TOKENS_OF_FRAMES if rows % batch_size == 0 and length == num_frames:
                return raw.reshape(batch_size, -1, num_frames, channels).transpose(1, 2)
            case KeyLayout.JOINT_TOKENS if rows == batch_size and length > text:
                if (length - text) % num_frames == 0:
                    return raw[:, text:].reshape(batch_size, num_frames, -1, channels)
    raise KeyLayoutError(
        f"keys have shape {tuple(raw.shape)}, which is not {site.layout} "
        f"for {batch_size} clips of {num_frames} frames"
    )


def matching_modules(module: nn.Module, sites: Sequence[KeySite]) -> dict[str, tuple[nn.Module, KeySite]]:
    """Full name -> (key projection, site), site by site; `KeySiteError` if a pattern matches nothing."""
    found: dict[str, tuple[nn.Module, KeySite]] = {}
    for site in sites:
        pattern = compiled_key_pattern(site.pattern)
        matches = {name: (m, site) for name, m in module.named_modules() if pattern.match(name)}
        if not matches:
            projections = [name for name, _ in module.named_modules() if name.endswith("attn1.to_k")]
            raise KeySiteError(
                f"key site {site.pattern!r} matches no module of {type(module).__name__}; "
                f"its self-attention key projections are: {', '.join(projections) or 'none'}"
            )
        found |= matches
    return found


class KeyCapture:
    """Collects the keys of one forward pass.

    Enter it around one call of the denoiser, and read `keys()` inside or after. Nothing is detached, and no
    hook outlives the ``with`` block. With gradient checkpointing, a backward pass computes layers again; the
    keys stay those of the forward pass.

    Args:
        batch_size: B, clips in the forward pass.
        num_frames: F, frames of each clip.
        stop_recording: switch autograd off after the last site, because nothing after it reaches the matching
            losses. The mode found on entry is restored on exit.

    Raises:
        KeySiteError: on construction if a pattern matches nothing; during the pass if a site fires twice; in
            `keys()` if a site did not fire.
    """

    def __init__(
        self,
        module: nn.Module,
        sites: Sequence[KeySite],
        *,
        batch_size: int,
        num_frames: int,
        stop_recording: bool = False,
    ) -> None:
        self._projections = matching_modules(module, sites)
        self._batch_size, self._num_frames = batch_size, num_frames
        self._stop_recording = stop_recording
        self._captured: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        self._grad_was_enabled = True

    def __enter__(self) -> Self:
        self._grad_was_enabled = torch.is_grad_enabled()
        for name, (projection, site) in self._projections.items():
            self._handles.append(projection.register_forward_hook(partial(self._capture, name, site)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        torch.set_grad_enabled(self._grad_was_enabled)

    def _capture(self, name: str, site: KeySite, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if _is_in_backward():
            return
        if name in self._captured:
            raise KeySiteError(f"key site {name} fired twice in one forward pass; run one pass per capture")
        self._captured[name] = arrange(output, site, self._batch_size, self._num_frames)
        if self._stop_recording and len(self._captured) == len(self._projections):
            torch.set_grad_enabled(False)

    def keys(self) -> dict[str, Tensor]:
        """Full module name -> (B, F, N, C) keys; `KeySiteError` if a site did not fire."""
        if silent := [name for name in self._projections if name not in self._captured]:
            raise KeySiteError(
                f"key sites did not fire: {', '.join(silent)}; fused projections hide them "
                "(call unfuse_qkv_projections()), and so do compiled layers, or the pass was not run"
            )
        return self._captured


def _is_in_backward() -> bool:
    # torch has no public name for it. A version without the private one gives False: a backward pass within
    # the ``with`` block is then refused as a second forward pass.
    task = getattr(torch._C, "_current_graph_task_id", None)
    return task is not None and bool(task() != -1)
