"""The benchmarks of a step run, and compare steps that do the same."""

from types import ModuleType

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from benchmarks import counted_edits, gpu, half_precision, measures, step
from benchmarks.cost import models
from benchmarks.cost.counting import Counter
from benchmarks.cost.models import MODELS, RandomModel, StepInputs, random_inputs
from benchmarks.cost.reference import naive_step
from benchmarks.counted import COLUMNS, all_counted, counted, counted_step, row
from benchmarks.counted_edits import PROFILES, PUBLISHED, needed
from dreammotion_core import LoadOptions
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.prior import Backend
from tests.tiny_cascade import TINY as TINY_PIXELS

TINY_UNET = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 16,
}


TINY_WAN = {"num_attention_heads": 1, "attention_head_dim": 32, "num_layers": 3, "ffn_dim": 64, "text_dim": 8}


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config, like in (("tiny", TINY_UNET, "unet3d-64"), ("tiny-wan", TINY_WAN, "wan-small")):
        model = RandomModel(config, MODELS[like].backend_of, (5, 8))
        monkeypatch.setitem(MODELS, name, model)  # type: ignore[attr-defined]


@pytest.fixture
def prepared() -> tuple[Backend, StepInputs]:
    backend = MODELS["tiny"].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    return backend, random_inputs(backend, text_shape=(5, 8), num_frames=2, latent_size=(8, 8))


def test_the_naive_step_gives_the_gradient_of_the_real_one(prepared: tuple[Backend, StepInputs]) -> None:
    backend, inputs = prepared
    usual = backend.checkpointing

    naive = naive_step(backend, inputs)
    gradient, _ = distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    torch.testing.assert_close(naive, gradient, rtol=1e-3, atol=1e-5)
    assert backend.checkpointing is usual
    assert all(p.grad is None and not p.requires_grad for p in backend.denoiser.parameters())


def test_all_variants_are_timed_in_turn(prepared: tuple[Backend, StepInputs]) -> None:
    seconds = step.timed(step.variants(*prepared), repeats=2, device="cpu")

    assert list(seconds) == [step.NAIVE, step.OURS, step.CACHED, step.FIVE]
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())


def test_the_source_branch_is_cached_after_the_first_round(prepared: tuple[Backend, StepInputs]) -> None:
    backend, _ = prepared
    work = step.variants(*prepared)[step.CACHED]
    calls: list[None] = []
    handle = backend.denoiser.register_forward_hook(lambda *_: calls.append(None))

    work()
    work()

    handle.remove()
    assert len(calls) == 4 + 2


def test_the_gpu_benchmark_runs_on_a_cpu_at_tiny_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "gpu --models tiny-wan --device cpu --precision float32 --size 64 64 --frames 5 9 --repeats 1"
    monkeypatch.setattr("sys.argv", [*words.split(), "--matrix-size", "64"])

    gpu.main()

    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny-wan")]
    assert [line.split(" | ")[:3] for line in table] == [
        ["| tiny-wan", "64x64", frames] for frames in ("5", "9")
    ]


@pytest.mark.parametrize(
    ("benchmark", "words", "message"),
    [
        (measures, "--frames 0", "whole number above 0"),
        (measures, "--frames 1", "at least 2"),
        (measures, "--size 0 0", "whole number above 0"),
        (step, "--frames 0", "whole number above 0"),
        (step, "--latents 0 4", "whole number above 0"),
        (step, "--repeats 0", "whole number above 0"),
        (step, "--device cuda:99", "there is no device 'cuda:99'"),
        (half_precision, "--frames 0", "whole number above 0"),
        (half_precision, "--steps 0", "whole number above 0"),
        (gpu, "--device cuda:99", "there is no device 'cuda:99'"),
        (gpu, "--device tpu", "there is no device 'tpu'"),
        (gpu, "--device cpu --size 0 8", "whole number above 0"),
    ],
)
def test_wrong_words_are_explained(
    benchmark: ModuleType,
    words: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", [benchmark.__name__, *words.split()])

    with pytest.raises(SystemExit):
        benchmark.main()

    assert message in capsys.readouterr().err


def test_the_profiles_of_the_gpu_benchmark_are_load_options() -> None:
    parser = gpu._parser()
    loaded = [
        gpu._load_options(parser.parse_args(["--device", "cpu", "--profile", p]))
        for p in (*gpu.PROFILES, "low-memory")
    ]

    assert [options.gradient_checkpointing for options in loaded] == [False, False, False, True]
    assert [options.compile for options in loaded] == [False, False, True, False]


@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [("zeroscope", 1_411_233_860), ("wan-1.3b", 1_418_996_800), ("cogvideox-2b", 1_693_783_872)],
)
def test_the_configurations_are_exact(model: str, num_parameters: int) -> None:
    with torch.device("meta"):
        backend = MODELS[model].backend_of(MODELS[model].config, LoadOptions())

    assert sum(p.numel() for p in backend.denoiser.parameters()) == num_parameters


@pytest.mark.parametrize(
    ("model", "clip", "latents"),
    [("tiny", 3, 3), ("wan-small", 9, 3), ("cogvideox-small", 9, 3)],
)
def test_every_small_model_takes_a_step(model: str, clip: int, latents: int) -> None:
    backend = MODELS[model].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    inputs = random_inputs(backend, text_shape=MODELS[model].text_shape, num_frames=clip, latent_size=(4, 6))

    gradient, _ = distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    assert gradient.shape == inputs.latents.shape
    assert gradient.shape[2] == latents
    assert gradient.any()


def test_operations_and_memory_are_counted_in_backward_passes_too() -> None:
    weight = torch.randn(32, 64, requires_grad=True)
    rows = torch.randn(16, 32)

    with Counter() as counter:
        product = rows @ weight
        (gradient,) = torch.autograd.grad(product, weight, torch.ones_like(product))
        held = counter.live_bytes
        del product, gradient
        freed = counter.live_bytes

    assert counter.flops == 2 * (2 * 16 * 32 * 64)
    assert held == (16 * 64 + 32 * 64) * 4
    assert freed == 0
    # The highest point holds the ones that the gradient began with, too.
    assert counter.peak_bytes == (16 * 64 + 16 * 64 + 32 * 64) * 4


def test_weights_count_where_they_are_announced() -> None:
    layer = torch.nn.Linear(8, 4, bias=False)

    with Counter() as counter:
        counter.announce(layer)

    assert counter.peak_bytes == 8 * 4 * 4


def test_without_a_device_the_same_is_counted_as_with_values() -> None:
    backend = MODELS["tiny-wan"].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    inputs = random_inputs(backend, text_shape=(5, 8), num_frames=5, latent_size=(8, 8))
    with Counter() as real:
        real.announce(backend.denoiser)
        distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    fake = counted(counted_step, model="tiny-wan", size=(64, 64), num_frames=5, torch_dtype=torch.float32)

    assert fake.flops == real.flops > 0
    assert fake.peak_bytes == pytest.approx(real.peak_bytes, rel=0.02)


def test_the_table_of_counts_shows_what_each_lever_saves() -> None:
    counts = all_counted("tiny-wan", size=(64, 64), num_frames=5)

    cells = row("tiny-wan", 5, counts).strip("| ").split(" | ")

    assert len(cells) == len(COLUMNS)
    assert cells[:2] == ["tiny-wan", "5"]
    assert counts.checkpointed_step.peak_bytes < counts.step.peak_bytes < counts.naive_step.peak_bytes
    assert counts.step.flops < counts.checkpointed_step.flops
    assert counts.step.flops < counts.naive_step.flops


def test_the_naive_step_keeps_every_activation(
    prepared: tuple[Backend, StepInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a plain port computes nothing again")

    backend, inputs = prepared
    monkeypatch.setattr("dreammotion_core.models.placement.checkpoint", refuse)

    assert naive_step(backend, inputs).any()


@pytest.mark.parametrize(
    ("model", "part", "num_parameters"),
    [
        ("zeroscope", "vae", 83_653_863),
        ("zeroscope", "text_encoder", 340_387_840),
        ("wan-1.3b", "vae", 126_892_531),
        ("wan-14b", "text_encoder", 5_680_910_336),
        ("cogvideox-2b", "text_encoder", 4_762_310_656),
    ],
)
def test_the_parts_beside_the_denoiser_are_exact(model: str, part: str, num_parameters: int) -> None:
    with torch.device("meta"):
        network = PUBLISHED[model][part]()

    assert sum(p.numel() for p in network.parameters()) == num_parameters


def small_clip() -> CLIPTextModel:
    """Whose words are most of its memory."""
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    words = {"vocab_size": 20_000, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(**width, **words, num_hidden_layers=1))


def test_a_whole_edit_is_counted_by_its_hungriest_part(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"vae": PUBLISHED["zeroscope"]["vae"], "text_encoder": small_clip}
    monkeypatch.setitem(PUBLISHED, "tiny", parts)  # type: ignore[attr-defined]

    options = (
        PROFILES["usual"](torch_dtype=torch.float32),
        PROFILES["low memory"](torch_dtype=torch.float16),
    )
    usual, low = (needed("tiny", size=(64, 64), num_frames=2, options=each) for each in options)

    weights = {name: sum(p.numel() for p in make().parameters()) * 4 for name, make in parts.items()}
    assert usual.text > weights["vae"] + weights["text_encoder"]
    assert weights["text_encoder"] / 2 < low.text < weights["text_encoder"]
    assert usual.clip > usual.step > weights["vae"]
    assert low.step < usual.step - weights["vae"]
    assert usual.most == max(usual.text, usual.clip, usual.step)


@pytest.fixture
def tiny_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the cascade that is counted tiny, but for the width of its text encoder."""
    in_pixels = TINY_PIXELS | {"encoder_hid_dim": models.TEXT_WIDTH}
    with_level = in_pixels | {"in_channels": 6, "class_embed_type": "timestep"}
    for name, config in {
        "BASE": in_pixels | {"in_channels": 3},
        "INTERPOLATION": in_pixels | {"in_channels": 7},
        "SUPER_RESOLUTION": with_level,
        "FIRST_FRAME": with_level,
        "LATENT": TINY_UNET,
    }.items():
        monkeypatch.setattr(models, name, config)
    t5 = T5Config(vocab_size=8, d_model=models.TEXT_WIDTH, d_ff=16, num_layers=1, num_heads=2)
    parts = {"vae": AutoencoderKL, "text_encoder": small_clip}
    monkeypatch.setattr(counted_edits, "t5", lambda: T5EncoderModel(t5))
    monkeypatch.setattr(counted_edits, "IMAGE_PARTS", parts)


@pytest.mark.usefixtures("tiny_cascade")
def test_a_cascade_is_counted_over_all_of_its_stages() -> None:
    usual, low = (
        counted_edits.counted_cascade(size=(16, 24), num_frames=5, options=make(torch_dtype=torch.float16))
        for make in PROFILES.values()
    )

    t5 = 2 * 8 * models.TEXT_WIDTH  # no less than its embeddings in float16
    assert usual.text > low.text > t5
    assert usual.step > low.step > 0
    assert usual.later > low.later > low.step
    assert usual.most == max(usual.text, usual.step, usual.later)
