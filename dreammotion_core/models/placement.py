"""Load options and their effects: precision, offloading, checkpointing, layout, compiled layers."""

from __future__ import annotations

import inspect
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Self, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dreammotion_core.config import FLAG, OneOf, check_accepted
from dreammotion_core.errors import ConfigError
from dreammotion_core.method.keys import KeySite, matching_modules

Offload = Literal["none", "model"]
OFFLOAD = OneOf({"none": "all parts stay on the device", "model": "only the part at work is there"})

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)

BFLOAT16_CAPABILITY = (8, 0)


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded; `ConfigError` for a wrong value, or two that exclude each other.

    Attributes:
        torch_dtype: precision of the weights: float32, bfloat16 or float16; None takes `default_dtype`.
            Latents, losses and gradients stay in float32. So does the autoencoder beside bfloat16, which is
            too coarse for pictures.
        offload: ``"none"`` keeps all parts on the device, except the text encoder, which leaves it once the
            prompts are encoded; ``"model"`` keeps only the part at work there.
        compile: compile the layers that no keys are taken from. The first step takes minutes. On a CPU, later
            steps of `toybox-unet` take an eighth less time; not measured on a GPU yet.
        vae_slicing: encode and decode frame by frame.
        vae_tiling: encode and decode large frames in tiles with blended seams.
        gradient_checkpointing: compute activations again in the backward pass from the start. An edit does so
            by itself if memory runs out.
    """

    torch_dtype: torch.dtype | None = None
    offload: Offload = "none"
    compile: bool = False
    channels_last: bool = False
    vae_slicing: bool = True
    vae_tiling: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.torch_dtype not in (None, *PRECISIONS):
            accepted = ", ".join(map(str, PRECISIONS))
            raise ConfigError(f"torch_dtype is {self.torch_dtype!r}; choose one of {accepted}, or None")
        flags = ("compile", "channels_last", "vae_slicing", "vae_tiling", "gradient_checkpointing")
        check_accepted(self, accepted={"offload": OFFLOAD, **dict.fromkeys(flags, FLAG)})
        if self.compile and self.gradient_checkpointing:
            raise ConfigError(
                "compile and gradient_checkpointing cannot be combined; compile is for speed, "
                "gradient_checkpointing for memory: choose one of them"
            )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights; the default of a CPU if none was given or chosen by `for_model`."""
        return self.torch_dtype or default_dtype("cpu")

    def for_model(self, gpu_precision: str, *, device: torch.device | str | None) -> Self:
        """The options with a precision, by `default_dtype` if none was given; None means a GPU if any."""
        if self.torch_dtype is not None:
            return self
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return replace(self, torch_dtype=default_dtype(device, gpu_precision=gpu_precision))

    @classmethod
    def low_memory(cls, *, torch_dtype: torch.dtype | None = None) -> Self:
        """The options for GPUs of 8 to 16 GB."""
        return cls(torch_dtype=torch_dtype, offload="model", vae_tiling=True, gradient_checkpointing=True)


def default_dtype(
    device: torch.device | str, *, gpu_precision: str = "bfloat16", capability: tuple[int, int] | None = None
) -> torch.dtype:
    """The precision of a model if none was asked for.

    A CPU with bfloat16 takes it; other CPUs and devices take float32. GPUs take `gpu_precision`, those before
    compute capability (major, minor) 8.0 float16 instead of bfloat16. None asks the GPU for its capability.
    """
    device = torch.device(device)
    if device.type == "cuda":
        if gpu_precision != "bfloat16":
            return torch.float32 if gpu_precision == "float32" else torch.float16
        has_bfloat16 = (capability or torch.cuda.get_device_capability(device)) >= BFLOAT16_CAPABILITY
        return torch.bfloat16 if has_bfloat16 else torch.float16
    found = cpu_capabilities()
    has_bfloat16 = device.type == "cpu" and bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32


def cpu_capabilities() -> Mapping[str, Any]:
    """What the processor computes in, by torch's names; older versions of torch tell only this much of it."""
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    return {
        "architecture": platform.machine(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
        "amx_fp16": torch.cpu._is_amx_fp16_supported(),
    }


def checked_device(device: torch.device | str) -> torch.device:
    """A device of this machine; `ConfigError` if torch does not know it, or there is no such GPU."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {device!r}; choose cpu, cuda, or cuda:1 and so on") from error
    if found.type == "cuda" and not (found.index or 0) < torch.cuda.device_count():
        raise ConfigError(
            f"there is no device {device!r}: torch finds {torch.cuda.device_count()} GPUs on this machine; "
            "choose another, or cpu, or check the installation of driver and torch"
        )
    return found


CPU = torch.device("cpu")

Part = TypeVar("Part", bound=nn.Module)


class Placement:
    """Brings a part of a model to the device before it works.

    Transient parts leave the device when another one works, such as the text encoder, which is idle from the
    first step on. Offload ``"model"`` makes all parts transient. All parts begin on the CPU.
    """

    def __init__(
        self, parts: Sequence[nn.Module], *, transient: Sequence[nn.Module] = (), offload: Offload = "none"
    ) -> None:
        self.parts = tuple(parts)
        self._transient = self.parts if offload == "model" else tuple(transient)
        self._there: list[nn.Module] = []
        self.device = CPU

    def to(self, device: torch.device | str) -> None:
        """Choose the device. Transient parts move when they work, all others now."""
        self.device = torch.device(device)
        for part in self.parts:
            part.to(CPU if part in self._transient else self.device)
        self._there = []

    def fetch(self, part: Part) -> Part:
        """The part, on the device; `ConfigError` if it is in float16 on a CPU without float16."""
        if self.device == CPU:
            _check_precision(part)
            return part
        for other in self._there:
            if other is not part:
                other.to(CPU)
        if part in self._transient and part not in self._there:
            part.to(self.device)
        self._there = [part] if part in self._transient else []
        return part


def _check_precision(part: nn.Module) -> None:
    # Any parameter, because some models keep a few of their weights in float32.
    if not any(parameter.dtype == torch.float16 for parameter in part.parameters()):
        return
    capabilities = cpu_capabilities()
    has_float16 = capabilities.get("avx512_fp16") or capabilities.get("amx_fp16")
    # Other architectures have float16, or do not report it.
    if capabilities.get("architecture") == "x86_64" and not has_float16:
        raise ConfigError(
            "the model was loaded in float16, which this CPU does not compute in; move it to a GPU, or load "
            "it in bfloat16 or float32"
        )


class Checkpointing:
    """Which layers of a denoiser are computed again in the backward pass.

    With `LoadOptions.gradient_checkpointing`, all are. Otherwise the `usual` ones are, until memory runs out
    (`is_sparing`); none are if layers are compiled, because those choose for themselves.
    """

    def __init__(
        self, layers: Sequence[nn.Module], *, options: LoadOptions, usual: Sequence[nn.Module] = ()
    ) -> None:
        self.options = options
        self._layers = layers
        self._usual = layers if options.gradient_checkpointing else () if options.compile else usual
        self._can_spare = not (options.gradient_checkpointing or options.compile)
        self.is_sparing = False

    def __call__(self) -> AbstractContextManager[None]:
        """The context in which the denoiser is called."""
        return checkpointed(self._layers if self.is_sparing else self._usual)

    def spare(self) -> bool:
        """Compute all layers again from now on, slower but in far less memory; False if impossible."""
        begins = self._can_spare and not self.is_sparing
        self.is_sparing = self.is_sparing or begins
        return begins

    def relax(self) -> None:
        """Go back to what the options ask for."""
        self.is_sparing = False


def unet_layers(unet: nn.Module) -> Sequence[nn.Module]:
    """The layers of a video U-Net with nearly all weights and activations, none inside another."""
    kinds = ("resnets", "temp_convs", "attentions", "temp_attentions", "motion_modules")
    named = dict(unet.named_modules())
    is_layer = re.compile(
        rf"transformer_in|(?:(?:down|up)_blocks\.\d+|mid_block)\.(?:{'|'.join(kinds)})\.\d+"
    )
    return [layer for name, layer in named.items() if is_layer.fullmatch(name)]


@contextmanager
def checkpointed(layers: Iterable[nn.Module]) -> Iterator[None]:
    """A context in which layers keep only their inputs; the backward pass computes the rest again.

    The backward pass may come later. Keys captured inside a layer keep their graph, and recording may stop in
    the middle of one (`KeyCapture`). Without autograd nothing changes. The layers are called one after the
    other, none inside another, in evaluation mode: random numbers are not drawn again.
    """
    replaced = []
    for layer in layers:
        found = vars(layer).get("forward")
        replaced.append((vars(layer), found))
        # The reentrant kind makes each layer one node of the graph, so that no key could be taken from it.
        vars(layer)["forward"] = partial(
            checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
        )
    try:
        yield
    finally:
        for attributes, found in replaced:
            del attributes["forward"]
            if found is not None:
                attributes["forward"] = found


COMPILERS = ("g++", "clang++", "c++", "cl")
"""torch.compile needs one of these, or the compiler in the environment variable ``CXX``."""


def apply_options(
    denoiser: nn.Module,
    vae: Any,
    options: LoadOptions,
    *,
    layers: Sequence[nn.Module],
    key_sites: Sequence[KeySite],
) -> None:
    """Apply options to a model in place; `layers` as for `compile_around`."""
    if options.vae_slicing and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if options.vae_tiling and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
    if options.channels_last:
        lay_channels_last(denoiser, vae)
    if options.compile:
        compile_around(denoiser, layers, key_sites=key_sites)


def lay_channels_last(*networks: nn.Module) -> None:
    """Lay out the weights of all convolutions with their channels last; tensor cores read them faster."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for network in networks:
        for parameter in network.parameters():
            if parameter.ndim in formats:
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def compile_around(denoiser: nn.Module, layers: Iterable[nn.Module], *, key_sites: Sequence[KeySite]) -> None:
    """Compile in place the layers that no keys are taken from, or raise `ConfigError` without a compiler.

    A compiled layer does not call hooks that were added later, so its keys could not be captured. The layers
    are the denoiser's repeated ones, none inside another.
    """
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))):
        raise ConfigError(
            f"compiling a model needs a C++ compiler, and none of {', '.join(COMPILERS)} is installed; "
            "install one (g++ on Debian), or leave compile out"
        )
    heard = {projection for projection, _ in matching_modules(denoiser, key_sites).values()}
    # Layers share code but not shapes; together they would exceed the limit of versions. Older torch cannot
    # keep them apart, and computes what exceeds it as if it were not compiled.
    is_new = "isolate_recompiles" in inspect.signature(torch.compile).parameters
    for layer in layers:
        if heard.isdisjoint(layer.modules()):
            layer.compile(**({"isolate_recompiles": True} if is_new else {}))
