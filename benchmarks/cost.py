"""What a step costs without a device: counted tensors, and models with random weights in exact shapes.

`Counter` counts operations and memory; inside `fake_device` nothing is computed. `MODELS` are denoisers with
the smallest other parts, `PUBLISHED` makes the exact parts beside them, `published_cascade` all of Show-1.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    UNet2DConditionModel,
    UNet3DConditionModel,
    WanTransformer3DModel,
)
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from dreammotion_core import EditConfig
from dreammotion_core.method.editing import EditTask, PromptEmbeds
from dreammotion_core.method.prior import Backend
from dreammotion_core.models.cascade.backend import CascadeBackend
from dreammotion_core.models.cascade.manifest import SHOW_1_MANIFEST
from dreammotion_core.models.cascade.stages import CascadeStages, PixelStage
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.catalog import SHOW_1, ZEROSCOPE
from dreammotion_core.models.cogvideox import CogVideoXBackend
from dreammotion_core.models.loading import outer_dtype
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.models.wan import WanBackend
from dreammotion_core.spec import ModelSpec


class Counter(TorchDispatchMode):
    """Counts within its ``with`` block, in backward passes too.

    It leaves out what single operations need beside their inputs and results (workspaces of convolutions) and
    what an allocator keeps or splits: a device shows somewhat more.
    `live_bytes` are those of all tensors that were made within the block, or announced, and still exist.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.live_bytes = self.peak_bytes = 0
        self._seen: Any = WeakIdKeyDictionary()

    def announce(self, *modules: nn.Module) -> None:
        """Count the weights of modules in."""
        for module in modules:
            self._track([*module.parameters(), *module.buffers()])

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return 1  # any number will do, there is none to read
        self._track(_tensors((args, kwargs)), sign=0)
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        self._track(_tensors(result))
        return result

    def _track(self, tensors: Iterable[Tensor], sign: int = 1) -> None:
        """Count tensors that are seen for the first time; with sign 0 they only become known."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen[storage] = None
                self._change(sign * storage.nbytes())
                weakref.finalize(storage, self._change, -sign * storage.nbytes())

    def _change(self, num_bytes: int) -> None:
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def _tensors(values: object) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


@contextmanager
def fake_device() -> Iterator[None]:
    """Within the block, tensors have shapes but no values, and their processor knows all precisions."""
    asked = "dreammotion_core.models.placement.cpu_capabilities"
    with FakeTensorMode(allow_non_fake_inputs=True), patch(asked, all_precisions):
        yield


def all_precisions() -> Mapping[str, bool]:
    """`cpu_capabilities` of a processor that has all precisions."""
    return {"avx512_bf16": True, "avx512_fp16": True}


STRIDE = 8  # pixels per latent on each side, in all families here

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Their names on command lines."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Within the block, new weights have this precision."""
    found = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(found)


@dataclass(frozen=True)
class RandomModel:
    """A denoiser's configuration, a maker of a backend with it, and (L, D) of its text embeddings."""

    config: Mapping[str, Any]
    backend_of: Callable[..., Backend]
    text_shape: tuple[int, int]

    def build(
        self,
        *,
        device: torch.device | str,
        options: LoadOptions,
        parts: Mapping[str, Callable[[], nn.Module]] | None = None,
    ) -> Backend:
        """A backend with random weights, the same at every call on one device."""
        torch.manual_seed(0)
        # Made on the device and in the precision wanted: the weights of large models would not fit twice.
        with default_dtype(options.dtype), torch.device(device):
            made = {name: make() for name, make in (parts or {}).items()}
            backend = self.backend_of(self.config, options, **made)
        if torch.device(device).type != "cpu":
            backend.to(device)
        return backend


@dataclass(frozen=True, eq=False)
class StepInputs:
    """Everything that one optimisation step takes."""

    task: EditTask
    latents: Tensor  # (1, C, f, h, w), a little away from the source
    timestep: Tensor  # (1,)
    noise: Tensor  # (1, C, f, h, w)


def random_inputs(
    backend: Backend,
    *,
    text_shape: tuple[int, int],
    num_frames: int,
    latent_size: tuple[int, int],
    config: EditConfig | None = None,
) -> StepInputs:
    """Random inputs of a step, the same at every call; `text_shape` is (L, D), `latent_size` (h, w)."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(backend.device)

    num_latent_frames = len(backend.frame_groups(num_frames))
    shape = (1, backend.denoiser.config.in_channels, num_latent_frames, *latent_size)
    source, noise = draw(*shape), draw(*shape)
    mask = torch.ones(1, 1, *shape[2:], device=backend.device)
    embeds = PromptEmbeds(*(draw(1, *text_shape) for _ in range(3)))
    task = EditTask(source, embeds, mask, config or EditConfig(seed=0), backend.key_sites)
    return StepInputs(task, source + 0.1, torch.tensor([500], device=backend.device), noise)


def _spec(family: str) -> ModelSpec:
    return ModelSpec(
        name=f"random-{family}",
        label=f"random weights of the family {family}",
        family=family,
        source="",
        licence="none needed",
        description="For counting and timing.",
        resolution=(320, 576),
        num_frames=8,
        max_frames=81,
        fps=8.0,
    )


def _unet3d(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return UNet3DBackend(
        _spec("unet3d"),
        unet=UNet3DConditionModel(**config),
        vae=vae or AutoencoderKL(),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(77),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear"),
        options=options,
    )


def _wan(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return WanBackend(
        _spec("wan"),
        transformer=WanTransformer3DModel(**config),
        vae=vae or AutoencoderKLWan(base_dim=4, num_res_blocks=1, dim_mult=[1, 1, 1, 1]),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(512),
        options=options,
    )


def _cogvideox(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return CogVideoXBackend(
        _spec("cogvideox"),
        transformer=CogVideoXTransformer3DModel(**config),
        vae=vae
        or AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            norm_num_groups=2,
        ),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(226),
        scheduler=CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True),
        options=options,
    )


def _smallest_encoder() -> CLIPTextModel:
    """The text encoder of models whose prompts are drawn instead of encoded."""
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    words = {"vocab_size": 3, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(**width, **words, num_hidden_layers=1))


def empty_tokenizer(max_tokens: int) -> T5Tokenizer:
    """A tokenizer without words, for a model that reads at most so many tokens."""
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)], model_max_length=max_tokens)


_SMALL_TRANSFORMER = {"num_attention_heads": 4, "num_layers": 9}

MODELS: Mapping[str, RandomModel] = {
    "unet3d-64": RandomModel(
        {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 256}, _unet3d, (77, 256)
    ),
    "wan-small": RandomModel(
        {**_SMALL_TRANSFORMER, "attention_head_dim": 64, "ffn_dim": 1024, "text_dim": 256}, _wan, (512, 256)
    ),
    "cogvideox-small": RandomModel({**_SMALL_TRANSFORMER, "text_embed_dim": 256}, _cogvideox, (226, 256)),
    "zeroscope": RandomModel({}, _unet3d, (77, 1024)),
    "modelscope": RandomModel({}, _unet3d, (77, 1024)),
    "wan-1.3b": RandomModel(
        {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, _wan, (512, 4096)
    ),
    "wan-14b": RandomModel({}, _wan, (512, 4096)),
    "cogvideox-2b": RandomModel({"num_attention_heads": 30, "num_layers": 30}, _cogvideox, (226, 4096)),
    "cogvideox-5b": RandomModel(
        {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        _cogvideox,
        (226, 4096),
    ),
}
"""A small model of each family, for a CPU, and the exact shapes of published ones.

Missing values are the defaults of diffusers' classes, which are ZeroScope, Wan 14B and CogVideoX 2B.
"""

CASES: Mapping[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "zeroscope": ((320, 576), (8, 16, 24)),
    "wan-1.3b": ((480, 832), (17, 33)),
    "cogvideox-2b": ((320, 576), (17, 33)),
}
"""Exact model -> (height, width) of a clip in pixels, and numbers of frames."""

_LARGE_T5 = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
_LARGE_T5 |= {"feed_forward_proj": "gated-gelu"}


def _image_vae() -> nn.Module:
    """The autoencoder of Stable Diffusion, which ZeroScope and ModelScope share."""
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512, **blocks
    )


def _clip() -> nn.Module:
    """The text encoder of OpenCLIP's ViT-H without its last layer."""
    widths = {"hidden_size": 1024, "intermediate_size": 4096, "projection_dim": 1024}
    return CLIPTextModel(
        CLIPTextConfig(**widths, num_attention_heads=16, num_hidden_layers=23, hidden_act="gelu")
    )


def t5() -> nn.Module:
    """The text encoder of T5 v1.1 XXL."""
    return T5EncoderModel(T5Config(vocab_size=32128, **_LARGE_T5))


IMAGE_PARTS = {"vae": _image_vae, "text_encoder": _clip}
_WAN_PARTS = {
    "vae": AutoencoderKLWan,
    "text_encoder": lambda: UMT5EncoderModel(UMT5Config(vocab_size=256384, **_LARGE_T5)),
}
_COGVIDEOX_PARTS = {
    "vae": partial(
        AutoencoderKLCogVideoX,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
    ),
    "text_encoder": t5,
}

PUBLISHED: Mapping[str, Mapping[str, Callable[[], nn.Module]]] = {
    "zeroscope": IMAGE_PARTS,
    "modelscope": IMAGE_PARTS,
    "wan-1.3b": _WAN_PARTS,
    "wan-14b": _WAN_PARTS,
    "cogvideox-2b": _COGVIDEOX_PARTS,
    "cogvideox-5b": _COGVIDEOX_PARTS,
}
"""Model -> makers of its autoencoder and text encoder; missing values are the defaults of the classes."""


def as_loaded(make: Callable[[], nn.Module], torch_dtype: torch.dtype) -> Callable[[], nn.Module]:
    """A maker of an autoencoder or text encoder in the precision that loading gives it."""

    def made() -> nn.Module:
        with default_dtype(torch_dtype):
            part = make()
        if not isinstance(part, T5EncoderModel | UMT5EncoderModel):
            with default_dtype(outer_dtype(torch_dtype)):
                return make()
        # In float16, transformers keeps the layers wide whose values have no room in it.
        wide = (part._keep_in_fp32_modules or ()) if torch_dtype == torch.float16 else ()
        for name, layer in part.named_modules():
            if name.rpartition(".")[-1] in wide:
                layer.weight = nn.Parameter(layer.weight.float(), requires_grad=False)
        return part

    return made


TEXT_WIDTH = 4096  # width of the text encoder that all stages of Show-1 in pixels share
NUM_TOKENS = 77  # tokens that all stages read

_COMMON: Mapping[str, Any] = {
    "act_fn": "gelu",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 64,
    "attention_head_dim": 64,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": TEXT_WIDTH,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "out_channels": 6,
    "resnet_time_scale_shift": "scale_shift",
}


def _levels(num_plain: int, num_attending: int) -> dict[str, tuple[str, ...]]:
    down = ("ResnetDownsampleBlock3D",) * num_plain + ("SimpleCrossAttnDownBlock3D",) * num_attending
    up = ("SimpleCrossAttnUpBlock3D",) * num_attending + ("ResnetUpsampleBlock3D",) * num_plain
    return {"down_block_types": down, "up_block_types": up}


BASE: dict[str, Any] = {
    **_COMMON,
    **_levels(1, 3),
    "sample_size": 64,
    "in_channels": 3,
    "block_out_channels": (320, 640, 960, 1280),
    "layers_per_block": 3,
    "cross_attention_dim": 1280,
}
"""The U-Net of the key frames; below, those of the later stages in pixels."""
INTERPOLATION = BASE | {"in_channels": 7}
SUPER_RESOLUTION: dict[str, Any] = {
    **_COMMON,
    **_levels(3, 2),
    "in_channels": 6,
    "block_out_channels": (128, 256, 512, 768, 768),
    "layers_per_block": (2, 2, 3, 4, 2),
    "cross_attention_dim": 768,
    "class_embed_type": "timestep",
    "mid_block_scale_factor": 1.4142271248762552,
    "resnet_out_scale_factor": 1.4142271248762552,
    "resnet_skip_time_act": True,
    "time_embedding_act_fn": "gelu",
    "time_embedding_dim": 768,
}
LATENT: dict[str, Any] = {}
"""The U-Net of the last stage, which is as large as ZeroScope, the default of diffusers' class."""
FIRST_FRAME = SUPER_RESOLUTION | {
    "block_out_channels": (160, 320, 640, 960, 1280),
    "layers_per_block": (2, 2, 3, 5, 5),
    "cross_attention_dim": 1280,
    "time_embedding_dim": 1280,
}


def as_image_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same levels in the spelling of diffusers' image U-Net."""
    levels = {
        key: tuple(name.replace("3D", "2D") for name in config[key])
        for key in ("down_block_types", "up_block_types")
    }
    rest = {"in_channels": 3, "out_channels": 6, "mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}
    return {**rest, **config, **levels}


def published_cascade(
    options: LoadOptions,
    *,
    text_encoder: Callable[[], nn.Module],
    latent_parts: Mapping[str, Callable[[], nn.Module]],
) -> CascadeBackend:
    """All of Show-1, in the precision of the options."""
    with default_dtype(options.dtype):
        picture = as_image_config(FIRST_FRAME) | {"encoder_hid_dim_type": "text_proj"}
        stages = CascadeStages(
            key_frames=_stage(Show1UNet(**BASE)),
            interpolation=_stage(Show1UNet(**INTERPOLATION)),
            super_resolution=(_stage(UNet2DConditionModel(**picture)), _stage(Show1UNet(**SUPER_RESOLUTION))),
            latent=UNet3DBackend(
                ZEROSCOPE,
                unet=UNet3DConditionModel(**LATENT),
                tokenizer=empty_tokenizer(77),
                scheduler=DDIMScheduler(),
                options=options,
                **{name: make() for name, make in latent_parts.items()},
            ),
        )
        return CascadeBackend(
            SHOW_1,
            manifest=SHOW_1_MANIFEST,
            tokenizer=empty_tokenizer(77),
            text_encoder=text_encoder(),
            stages=stages,
            options=options,
        )


def _stage(unet: nn.Module) -> PixelStage:
    return PixelStage(unet, DDIMScheduler())
