"""The published video models: names, sizes, addresses, checksums.

Deliberately absent: the models themselves, so that listing what there is loads nothing.
"""

from __future__ import annotations

from segmentation.weights import Variant

WEIGHTS_NAME = "model.safetensors"


def _on_hub(
    name: str,
    *,
    label: str,
    best_at: str,
    repository: str,
    revision: str,
    size_bytes: int,
    sha256: str,
    requires: tuple[str, ...] = ("transformers",),
) -> Variant:
    """Weights on the Hugging Face hub, at one commit, so that nobody can change what is downloaded."""
    return Variant(
        name=name,
        label=label,
        description="Follows an object through real footage by its own memory of it, forwards and backwards; "
        f"an object that leaves and returns is found again. {best_at}",
        url=f"https://huggingface.co/{repository}/resolve/{revision}/{WEIGHTS_NAME}",
        source=f"{repository}@{revision[:12]}",
        file_name=f"{name}.safetensors",
        size_bytes=size_bytes,
        sha256=sha256,
        requires=requires,
    )


SAM2_VARIANTS = (
    _on_hub(
        "sam2-tiny",
        label="SAM 2.1 (tiny)",
        best_at="The quickest of the four sizes.",
        repository="facebook/sam2.1-hiera-tiny",
        revision="de431c4043854a71d8101e17995dfe596bf101a5",
        size_bytes=155_908_064,
        sha256="48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7",
    ),
    _on_hub(
        "sam2-small",
        label="SAM 2.1 (small)",
        best_at="A little slower than tiny.",
        repository="facebook/sam2.1-hiera-small",
        revision="ee5bba1d82bb8749febdf90f45e84b687142ba03",
        size_bytes=184_305_280,
        sha256="0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60",
    ),
    _on_hub(
        "sam2-base-plus",
        label="SAM 2.1 (base plus)",
        best_at="Better on a GPU.",
        repository="facebook/sam2.1-hiera-base-plus",
        revision="b7320756a13354e7530a63935656d35b2f91a290",
        size_bytes=323_476_296,
        sha256="2012733a0de5d03efd1bba550a2847c4551be9ef2e0d497c83074df66189f780",
    ),
    _on_hub(
        "sam2-large",
        label="SAM 2.1 (large)",
        best_at="The most exact of the four sizes; for a GPU.",
        repository="facebook/sam2.1-hiera-large",
        revision="665f8e2ad61cf5f53d65644ff27c8ee525124610",
        size_bytes=897_897_416,
        sha256="dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230",
    ),
)

EDGETAM = _on_hub(
    "edgetam",
    label="EdgeTAM",
    best_at="Made for small devices.",
    repository="yonigozlan/EdgeTAM-hf",
    revision="c266ce53b3fc00f0f495b583f6a116c4e57f53bb",
    size_bytes=55_912_824,
    sha256="8858f8e4757b0b96dab8763f296ecffd845efbbbf698f64163cfa20a63d5fff4",
    requires=("transformers", "timm"),
)

VIDEO_VARIANTS = (*SAM2_VARIANTS, EDGETAM)
