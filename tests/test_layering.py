"""Who may import whom: the picture in the architecture, checked on the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dreammotion_core", "segmentation", "web")

# Modules of dreammotion_core by layer: each may import its own rows and everything it lists.
BOTTOM = {"errors", "config", "values", "version", "mask_shapes", "accepted_values", "key_patterns"}
FILES = (
    {"atomic_files", "audio_io", "frame_conversion", "frame_decoding", "frame_folders", "frame_range"}
    | {"frame_storage", "png_files", "video_io", "video_timeline"}
    | {
        f"mask_{what}"
        for what in (
            "archives",
            "arrays",
            "files",
            "layers",
            "levels",
            "names",
            "pictures",
            "streams",
            "videos",
        )
    }
)
MATHS = {"distillation", "similarity", "parameterization", "masks", "composite", "detail", "steadying"}
PIXEL_METRICS = {"clips", "background", "colour_jitter", "fidelity", "flow", "mask_overlap", "warping"}
TRACK_METRICS = {"cotracker", "loading", "motion_fidelity", "perceptual", "tracks", "tracks_flow"}
METRICS = {f"metrics.{what}" for what in PIXEL_METRICS | TRACK_METRICS}
MEASURING = {"metrics.clip_scores", "metrics.instruments", "metrics.registry"} | {
    f"metrics.{what}" for what in ("measurement", "measured_clip", "measured_edit")
}
METHODS = {f"methods.{what}" for what in ("denoising", "flowedit", "inversion", "sdedit", "sds")}
EDITING = BOTTOM | MATHS | {"events", "memory", "backends.base", "editing", "source_cache"}
LOADING = {f"backends.{what}" for what in ("load_options", "checkpointing", "placement", "profiles")}
BACKENDS = {"backends", "backends.base", "backends.registry"}
ADAPTERS = {f"backends.{family}" for family in ("unet3d", "cascade", "wan", "cogvideox")}
CASCADE = {f"backends.show1_{part}" for part in ("blocks", "config", "layers", "unet")} | {
    f"backends.cascade_{part}"
    for part in ("latent", "loading", "manifest", "sampling", "show1", "sizes", "stages")
}
MODEL_LIBRARIES = {"diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub"}

ALLOWED_WITHIN_CORE: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "accepted_values": {"errors"},
    "key_patterns": {"errors"},
    "config": {"errors", "accepted_values", "key_patterns"},
    "mask_shapes": {"errors"},
    "values": {"errors", "config"},
    "events": {"errors", "config", "values"},
    **{name: BOTTOM | FILES - {"video_io"} for name in FILES},
    "receipt": BOTTOM | {"atomic_files"},
    "ssim": set(),
    **{name: {"errors", "config", "values", "mask_shapes", "ssim"} for name in MATHS},
    **{name: BOTTOM | MATHS | METRICS | {"ssim"} for name in METRICS},
    "metrics.registry": {"errors"},
    "metrics.clip_scores": BOTTOM | {"metrics.clips", "metrics.loading", "backends.known_models"},
    "metrics.instruments": METRICS | {"metrics.clip_scores"},
    "metrics.measurement": {"metrics.registry"},
    "metrics.measured_clip": BOTTOM | METRICS | {"metrics.clip_scores"},
    "metrics.measured_edit": BOTTOM | METRICS | {"composite"} | MEASURING - {"metrics.measured_edit"},
    "metrics.evaluation": BOTTOM | METRICS | MEASURING,
    "metrics": METRICS | MEASURING | {"metrics.evaluation"},
    "keys": {"errors", "key_patterns"},
    "backends.base": BOTTOM | MATHS | {"keys", "backends.checkpointing", "backends.hub_cache"},
    "backends.hub_cache": set(),
    "backends.load_options": {"errors"},
    "backends.checkpointing": {"backends.load_options"},
    "backends.placement": {"errors", "backends.load_options"},
    "backends.profiles": {"errors", "keys", "backends.load_options"},
    "source_cache": {"errors", "atomic_files"},
    "source_branch": {"keys", "backends.base", "source_cache"},
    # A cascade ends with a U-Net3D.
    **{
        f"backends.cascade_{part}": BOTTOM
        | MATHS
        | LOADING
        | CASCADE
        | {"backends.base", "backends.component_loading", "backends.unet3d"}
        for part in ("latent", "loading")
    },
    "resizing": BOTTOM,
    "memory": {"errors"},
    "checks": BOTTOM | MATHS | {"backends.base"},
    "finishing": BOTTOM | MATHS | {"backends.base", "resizing", "memory"},
    "editing": BOTTOM
    | MATHS
    | {"keys", "events", "memory", "backends.base", "source_cache", "source_branch"},
    "methods.base": {"backends.base", "editing", "events", "source_cache"},
    **{name: EDITING | {"methods.base", "methods.denoising"} for name in METHODS},
    "methods.variants": {"errors", "config"},
    "methods.registry": {"config", "backends.base", "checks", "editing", "methods.base"} | METHODS,
    "methods": {"methods.base", "methods.registry"},
    "pipeline": BOTTOM
    | MATHS
    | FILES
    | {"checks", "finishing", "resizing", "memory", "keys", "events", "editing", "methods.registry"}
    | {"backends.base", "backends.load_options", "backends.registry", "source_cache"},
    "clip_reading": BOTTOM | FILES | {"backends.base"},
    "device_memory": set(),
    "model_downloads": BOTTOM | {"backends.base", "backends.registry"},
    "preflight": BOTTOM | {"checks", "clip_reading", "device_memory", "events", "pipeline"},
    "preflight_words": {"preflight", "backends.base"},
    "ablation": BOTTOM
    | {"backends.base", "checks", "events", "methods.variants", "metrics.evaluation"}
    | {"metrics.instruments", "metrics.measured_clip", "metrics.measurement"},
    "reports": set(),
    "reports.page": set(),
    "reports.charts": set(),
    "reports.players": {"values"},
    "reports.measurement_table": {"metrics.measurement"},
    "reports.ablation_board": BOTTOM
    | {f"reports.{part}" for part in ("page", "charts", "players", "measurement_table")}
    | {"ablation", "atomic_files", "metrics.measurement"},
    "cli_settings": {"config"},
    "cli_options": set(),
    "cli_places": {"errors"},
    "cli_words": {"values"},
    "cli_evaluation": {"cli_options", "cli_settings", "methods.variants", "metrics.registry"},
    "cli_arguments": BOTTOM
    | FILES
    | {"backends.base", "backends.load_options", "clip_reading", "cli_settings"}
    | {"cli_options", "cli_evaluation"},
    "cli_measuring": BOTTOM
    | FILES
    | {"metrics", "metrics.measurement", "reports.page", "reports.measurement_table"}
    | {"cli_arguments", "clip_reading", "masks"},
    "cli_ablation": BOTTOM
    | {"atomic_files", "ablation", "events", "pipeline", "methods", "methods.variants", "metrics"}
    | {f"reports.{part}" for part in ("page", "measurement_table", "ablation_board")}
    | {"cli_measuring", "cli_settings"},
}
FORBIDDEN_OUTSIDE: dict[str, set[str]] = {
    **{name: MODEL_LIBRARIES | {"gradio", "cv2", "torch", "PIL", "av"} for name in BOTTOM | {"events"}},
    **{name: MODEL_LIBRARIES | {"gradio", "torch"} for name in FILES | {"receipt"}},
    **{name: MODEL_LIBRARIES | {"gradio", "av"} for name in MATHS | METRICS | {"keys"}},
    "editing": MODEL_LIBRARIES | {"gradio", "cv2", "av"},
    "pipeline": MODEL_LIBRARIES | {"gradio", "av"},
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def name_within(package: str, path: Path) -> str:
    """``backends.unet3d`` for ``dreammotion_core/backends/unet3d.py``; "" for the package itself."""
    parts = path.relative_to(ROOT / package).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} uses a relative import"
            yield str(node.module)


def top_level(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def core_imports(path: Path) -> set[str]:
    prefix = "dreammotion_core"
    found = {name for name in imported(path) if name.partition(".")[0] == prefix}
    return {name.removeprefix(prefix).removeprefix(".") for name in found}


@pytest.mark.parametrize("path", modules("dreammotion_core"), ids=lambda path: path.stem)
def test_core_modules_import_only_what_lies_below_them(path: Path) -> None:
    name = name_within("dreammotion_core", path)

    if name in ALLOWED_WITHIN_CORE:
        assert core_imports(path) <= ALLOWED_WITHIN_CORE[name]
    assert not top_level(path) & FORBIDDEN_OUTSIDE.get(name, {"gradio"})


def test_every_core_module_has_its_place_in_the_table() -> None:
    composition_roots = {"", "cli", "cli_selecting", "__main__"}
    known = set(ALLOWED_WITHIN_CORE) | BACKENDS | composition_roots

    names = {name_within("dreammotion_core", path) for path in modules("dreammotion_core")}

    assert {name for name in names - known if not name.startswith("backends.")} == set()


@pytest.mark.parametrize("path", modules("dreammotion_core/backends"), ids=lambda path: path.stem)
def test_adapters_know_neither_the_loop_nor_each_other(path: Path) -> None:
    name = name_within("dreammotion_core", path)
    if name in BACKENDS | set(ALLOWED_WITHIN_CORE):
        pytest.skip("the registry names all adapters; the others are in the table")
    imports = core_imports(path)
    shared = {name for name in imports if name.startswith("backends.")} - ADAPTERS - {"backends.registry"}

    assert imports <= BOTTOM | MATHS | {"keys"} | shared


@pytest.mark.parametrize("path", modules("segmentation"), ids=lambda path: path.stem)
def test_segmentation_stands_alone(path: Path) -> None:
    assert not top_level(path) & {"dreammotion_core", "web", "gradio", "diffusers"}


@pytest.mark.parametrize("path", modules("dreammotion_core"), ids=lambda path: path.stem)
def test_only_the_command_line_knows_both_packages(path: Path) -> None:
    if path.name in ("cli.py", "cli_selecting.py"):
        assert "segmentation" in top_level(path)
    else:
        assert not top_level(path) & {"segmentation", "web"}


@pytest.mark.parametrize("path", [ROOT / "app.py", *modules("web")], ids=lambda path: path.stem)
def test_the_page_uses_the_two_public_lists(path: Path) -> None:
    for name in imported(path):
        package = name.partition(".")[0]
        if path.name != "hosting.py":  # which tries the device
            assert package != "torch"
        assert package not in {"diffusers", "transformers", "training", "tests"}
        if package in ("dreammotion_core", "segmentation"):
            assert name == package, f"{path.name} reaches into {name}"


@pytest.mark.parametrize("package", ["dreammotion_core", "segmentation"])
def test_importing_a_library_package_loads_no_page_and_touches_no_device(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        "assert 'gradio' not in sys.modules\n"
        "assert 'torch' not in sys.modules or not sys.modules['torch'].cuda.is_initialized()\n"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_and_functions_stay_small(package: str) -> None:
    long = []
    for path in modules(package):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 250:
            long.append(str(path.relative_to(ROOT)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > 40:
                long.append(f"{path.relative_to(ROOT)}: {node.name}")

    assert long == []


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    docstring = node.body[0] if ast.get_docstring(node) is not None else None
    skipped = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - skipped
