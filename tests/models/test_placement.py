"""Ways of loading a model that trade memory for speed, and what they must not change."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from dreammotion_core.errors import ConfigError
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.models.catalog import load_backend
from dreammotion_core.models.placement import (
    COMPILERS,
    LoadOptions,
    Placement,
    checkpointed,
    compile_around,
    cpu_capabilities,
    unet_layers,
)
from dreammotion_core.models.unet3d import UNet3DBackend
from tests.tiny import tiny_unet3d

SHAPE = (1, 4, 3, 8, 8)


def predicted(backend: UNet3DBackend, latents: Tensor) -> Tensor:
    return backend.predict_noise(latents, torch.tensor([300]), backend.encode_prompt("a red car"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torch_dtype": torch.int8}, r"torch_dtype is torch\.int8; choose one of torch\.float32"),
        ({"torch_dtype": "float16"}, "torch_dtype is 'float16'"),
        ({"offload": "sequential"}, "offload is 'sequential'; pass 'none' or 'model'"),
        ({"compile": 1}, "compile is 1; pass True or False"),
        ({"compile": True, "gradient_checkpointing": True}, "choose one of them"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoadOptions(**changes)  # type: ignore[arg-type]


def test_checkpointing_saves_memory_and_changes_neither_output_nor_gradient() -> None:
    saved, gradients, outputs = [], [], []
    for options in (LoadOptions(), LoadOptions(gradient_checkpointing=True)):
        latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with saved_bytes() as held:
            outputs.append(predicted(tiny_unet3d(options=options), latents))
        gradients += torch.autograd.grad(outputs[-1].square().sum(), latents)
        saved.append(sum(held))

    assert torch.equal(*outputs)
    assert torch.equal(*gradients)
    assert saved[1] < 0.15 * saved[0]


def test_cheap_layers_alone_are_computed_again_by_default() -> None:
    backend, saved, gradients = tiny_unet3d(), [], []
    usual = backend.checkpointing._usual
    assert {type(layer) for layer in usual} == {FeedForward, torch.nn.Sequential}
    for layers in (usual, ()):
        backend.checkpointing._usual = layers
        latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with saved_bytes() as held:
            output = predicted(backend, latents)
        gradients += torch.autograd.grad(output.square().sum(), latents)
        saved.append(sum(held))

    assert torch.equal(*gradients)
    assert saved[0] < 0.8 * saved[1]


@contextlib.contextmanager
def saved_bytes() -> Iterator[list[int]]:
    """Sizes of the tensors that autograd keeps for the backward pass."""
    held: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield held


def test_checkpointed_layers_are_as_before_outside_the_block() -> None:
    unet = tiny_unet3d().denoiser
    layers = unet_layers(unet)
    own_forward = lambda *inputs: inputs  # noqa: E731
    vars(layers[0])["forward"] = own_forward

    with pytest.raises(ZeroDivisionError), checkpointed(layers):
        raise ZeroDivisionError

    assert vars(layers[0])["forward"] is own_forward
    assert not any("forward" in vars(layer) for layer in layers[1:])


def test_a_layer_of_every_block_is_checkpointed() -> None:
    layers = unet_layers(tiny_unet3d().denoiser)

    assert len(set(layers)) == len(layers)
    inside = [{id(module) for module in layer.modules()} for layer in layers]
    assert sum(map(len, inside)) == len(set().union(*inside))
    parameters = sum(p.numel() for layer in layers for p in layer.parameters())
    assert parameters > 0.9 * sum(p.numel() for p in tiny_unet3d().denoiser.parameters())


@pytest.mark.parametrize("stop_recording", [False, True])
@pytest.mark.parametrize("backward_within", [False, True])
def test_keys_of_the_forward_pass_survive_the_firing_in_recomputation(
    stop_recording: bool, backward_within: bool
) -> None:
    gradients = []
    for options in (LoadOptions(), LoadOptions(gradient_checkpointing=True)):
        backend = tiny_unet3d(options=options)
        latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        capture = KeyCapture(
            backend.denoiser, backend.key_sites, batch_size=1, num_frames=3, stop_recording=stop_recording
        )
        with capture:
            predicted(backend, latents)
            before = dict(capture.keys())
            if backward_within:
                gradients.append(gradient_of_keys(before, latents))
        if not backward_within:
            gradients.append(gradient_of_keys(before, latents))
        assert all(capture.keys()[site] is keys for site, keys in before.items())
        assert torch.is_grad_enabled()

    assert torch.equal(*gradients)


@torch.enable_grad()  # recording may have stopped
def gradient_of_keys(keys: dict[str, Tensor], latents: Tensor) -> Tensor:
    loss = torch.stack([site_keys.square().sum() for site_keys in keys.values()]).sum()
    return torch.autograd.grad(loss, latents)[0]


class Recorded(nn.Linear):
    """A layer that notes where it is sent; the real move needs an accelerator."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.place = "cpu"

    def to(self, device: torch.device) -> "Recorded":  # type: ignore[override]
        self.place = torch.device(device).type
        return self


@pytest.fixture
def parts() -> tuple[Recorded, Recorded, Recorded]:
    return Recorded(), Recorded(), Recorded()


def places(parts: tuple[Recorded, ...]) -> list[str]:
    return [part.place for part in parts]


def test_the_text_encoder_is_on_the_device_only_while_it_works(parts: tuple[Recorded, ...]) -> None:
    placement = Placement(parts, transient=parts[2:])

    placement.to("cuda")
    assert places(parts) == ["cuda", "cuda", "cpu"]
    placement.fetch(parts[2])
    assert places(parts) == ["cuda", "cuda", "cuda"]
    placement.fetch(parts[0])
    assert places(parts) == ["cuda", "cuda", "cpu"]


def test_offloading_keeps_only_the_part_at_work_on_the_device(parts: tuple[Recorded, ...]) -> None:
    placement = Placement(parts, transient=parts[2:], offload="model")

    placement.to("cuda")
    assert places(parts) == ["cpu", "cpu", "cpu"]
    for index in (0, 1, 1, 2, 0):
        placement.fetch(parts[index])
        assert [i for i, place in enumerate(places(parts)) if place == "cuda"] == [index]
    placement.to("cpu")
    assert places(parts) == ["cpu", "cpu", "cpu"]


@pytest.mark.skipif(
    bool(cpu_capabilities().get("avx512_fp16")) or cpu_capabilities().get("architecture") != "x86_64",
    reason="this CPU has float16, or does not say",
)
def test_float16_on_a_cpu_without_it_is_refused() -> None:
    backend = tiny_unet3d()
    backend.denoiser.half()

    with pytest.raises(
        ConfigError, match=r"float16, which this CPU does not compute in.*bfloat16 or float32"
    ):
        backend.predict_noise(torch.randn(SHAPE), torch.tensor([3]), torch.zeros(1, 24, 8))


def test_channels_last_reaches_all_convolutions_and_changes_little() -> None:
    plain, other = tiny_unet3d(), tiny_unet3d(options=LoadOptions(channels_last=True))
    latents = torch.randn(SHAPE)

    for network in (other.denoiser, other.vae):
        kernels = [
            p
            for p in network.parameters()
            if p.ndim in (4, 5) and min(p.shape[:2]) > 1 and p[0, 0].numel() > 1
        ]
        assert kernels
        assert not any(kernel.is_contiguous() for kernel in kernels)
    torch.testing.assert_close(predicted(other, latents), predicted(plain, latents))


def test_slicing_and_the_whole_clip_at_once_agree() -> None:
    frames = torch.rand(3, 3, 16, 16) * 2 - 1
    sliced, whole = (tiny_unet3d(options=LoadOptions(vae_slicing=on)) for on in (True, False))

    assert (sliced.vae.use_slicing, whole.vae.use_slicing) == (True, False)
    torch.testing.assert_close(sliced.encode_video(frames), whole.encode_video(frames))
    latents = sliced.encode_video(frames)
    torch.testing.assert_close(sliced.decode_video(latents), whole.decode_video(latents))


needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="torch.compile needs a C++ compiler"
)


@needs_compiler
def test_layers_without_key_sites_are_compiled_and_keys_still_come() -> None:
    backend = tiny_unet3d(options=LoadOptions(compile=True))
    compiled = [layer for layer in unet_layers(backend.denoiser) if layer._compiled_call_impl is not None]

    assert len(unet_layers(backend.denoiser)) > len(compiled) > 10
    # Tracing and compiling take minutes; what matters here is who is asked.
    with torch.compiler.set_stance("force_eager"):
        capture = KeyCapture(backend.denoiser, backend.key_sites, batch_size=1, num_frames=3)
        with capture:
            predicted(backend, torch.randn(SHAPE))
    assert len(capture.keys()) == 2


@needs_compiler
@pytest.mark.filterwarnings("default")  # torch's compiler makes some about itself
@pytest.mark.timeout(300)
def test_a_compiled_layer_gives_the_same_noise_keys_and_gradient() -> None:
    torch._dynamo.reset()
    plain, compiled = tiny_unet3d(), tiny_unet3d()
    # Others would take minutes.
    layers = [layer for layer in unet_layers(compiled.denoiser) if isinstance(layer, ResnetBlock2D)][:1]
    compile_around(compiled.denoiser, layers, key_sites=compiled.key_sites)
    answers: list[list[Tensor]] = []
    for backend in (plain, compiled):
        latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with KeyCapture(
            backend.denoiser, backend.key_sites, batch_size=1, num_frames=3, stop_recording=True
        ) as capture:
            noise = predicted(backend, latents)
        answers.append([noise, *capture.keys().values(), gradient_of_keys(capture.keys(), latents)])

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert len(answers[0]) == 4
    for exact, found in zip(*answers, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4)


def test_compiling_without_a_compiler_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler.*leave compile out"):
        tiny_unet3d(options=LoadOptions(compile=True))


def test_low_memory_leaves_the_precision_to_the_model_unless_it_is_told() -> None:
    options, told = LoadOptions.low_memory(), LoadOptions.low_memory(torch_dtype=torch.float16)

    assert (options.torch_dtype, told.torch_dtype) == (None, torch.float16)
    for each in (options, told):
        assert each.offload == "model"
        assert each.gradient_checkpointing
        assert each.vae_tiling


@pytest.mark.parametrize("name", ["toybox", "toybox-unet", "toybox-cascade"])
def test_every_embedded_model_takes_the_low_memory_profile(name: str) -> None:
    backend = load_backend(name, options=LoadOptions.low_memory(torch_dtype=torch.float32))
    frames = torch.rand(backend.spec.fit_length(5), 3, *backend.spec.resolution) * 2 - 1

    latents = backend.encode_video(frames)

    assert backend.decode_video(latents).shape[1:] == frames.shape[1:]
