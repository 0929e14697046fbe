"""Models that judge clips: CLIP for Text-Align and Frame-Con, and LPIPS for Frame-LPIPS.

Figures are comparable only by the same model, so every judge has a name that goes with its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError

from dreammotion_core.errors import MetricError, ModelLoadError, reason_of
from dreammotion_core.evaluation.pixels import check_frames, check_pair
from dreammotion_core.models.catalog import ASSETS
from dreammotion_core.values import Frames

if TYPE_CHECKING:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, VisionTextDualEncoderModel

LOAD_ERRORS = (
    *(OSError, EOFError, UnpicklingError, RuntimeError),
    *(ValueError, KeyError, TypeError, AttributeError),
)
"""Errors of the libraries for weights that are missing, cut off, of another kind (such as a saved web page)
or of another model."""

EMBEDDED_JUDGE = "toybox-clip"
"""The judge that comes with the project. It knows the captions of the cartoon world and nothing else."""
FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")
"""Files that a judge's folder needs."""

Features = NDArray[np.float32]  # (N, D) unit vectors


class ClipJudge:
    """A model of CLIP's kind that compares frames with texts and with one another.

    The model is put into evaluation mode and frozen; the processor brings pictures to its size.
    """

    def __init__(
        self,
        model: CLIPModel | VisionTextDualEncoderModel,
        *,
        tokenizer: CLIPTokenizer,
        processor: CLIPImageProcessor,
        name: str,
    ) -> None:
        self.model = model.float().eval().requires_grad_(False)
        self.tokenizer, self.processor, self.name = tokenizer, processor, name

    @classmethod
    def from_pretrained(
        cls, name_or_path: str = EMBEDDED_JUDGE, *, device: str | torch.device = "cpu"
    ) -> Self:
        """Load a judge, or raise `ModelLoadError`.

        Args:
            name_or_path: ``"toybox-clip"``, a folder, or ``owner/name@revision`` on the hub (the revision
                keeps figures comparable), such as one of OpenAI's CLIP models.
            device: torch name.
        """
        source, revision = _find_judge(name_or_path)
        # Takes seconds to import, so only those who ask a judge wait for it.
        from transformers import AutoModel, CLIPImageProcessor, CLIPTokenizer

        def load(part: Any, **options: Any) -> Any:
            return part.from_pretrained(source, revision=revision, **options)

        try:
            model, report = load(AutoModel, dtype=torch.float32, output_loading_info=True)
            if not hasattr(model, "get_image_features"):
                raise TypeError(f"a {type(model).__name__} does not compare pictures with texts")
            # The library would fill them with random numbers.
            if missing := sorted(report["missing_keys"]):
                raise ValueError(f"the weights lack {', '.join(missing[:3])}")
            return cls(
                model.to(device),
                tokenizer=load(CLIPTokenizer),
                processor=load(CLIPImageProcessor),
                name=judge_name(name_or_path),
            )
        except (*LOAD_ERRORS, SafetensorError) as error:
            raise ModelLoadError(
                f"the judge {name_or_path} cannot be loaded ({reason_of(error)}); its files may be "
                "incomplete or damaged, or the network down: fetch them again, or use the embedded judge "
                "'toybox-clip'"
            ) from error

    @torch.inference_mode()
    def image_features(self, frames: Frames) -> Features:
        """(F, D) unit vectors of (F, H, W, 3) uint8 RGB frames."""
        check_frames(frames)
        pictures = self.processor(images=list(frames), return_tensors="pt", input_data_format="channels_last")
        features = self.model.get_image_features(pictures.pixel_values.to(self.model.device)).pooler_output
        return F.normalize(features, dim=-1).cpu().numpy()

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> Features:
        """(N, D) unit vectors of texts; words beyond the tokenizer's limit are cut off."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        features = self.model.get_text_features(**tokens.to(self.model.device)).pooler_output
        return F.normalize(features, dim=-1).cpu().numpy()

    def text_alignment(self, frames: Frames, *, prompt: str) -> float:
        """Mean cosine between the frames and a prompt, in [-1, 1]."""
        return text_alignment(self.image_features(frames), text=self.text_features([prompt])[0])

    def frame_consistency(self, frames: Frames) -> float:
        """Mean cosine between consecutive frames, in [-1, 1]. Raises `VideoError`."""
        check_frames(frames, fewest=2)
        return frame_consistency(self.image_features(frames))


def text_alignment(frames: Features, *, text: NDArray[np.float32]) -> float:
    """Text-Align: mean cosine between the features of frames, (F, D), and of a text, (D,).

    Source: Hessel et al., CLIPScore (EMNLP 2021), without its factor; the "Text-Align" of DreamMotion's
    tables.
    """
    return float((frames @ text).mean())


def frame_consistency(frames: Features) -> float:
    """Frame-Con: mean cosine between the features of consecutive frames, (F, D), F at least 2.

    Source: Wu et al., Tune-A-Video (ICCV 2023), restricted to neighbours; the "Frame-Con" of DreamMotion's
    tables.
    """
    return float((frames[:-1] * frames[1:]).sum(axis=-1).mean())


def judge_name(name_or_path: str) -> str:
    """The label of a judge's figures: its name on the hub, or that of its folder. Loads nothing.

    Takes what `ClipJudge.from_pretrained` takes, or raises `ModelLoadError`.
    """
    source, revision = _find_judge(name_or_path)
    return name_or_path if revision else Path(source).resolve().name


def _find_judge(name_or_path: str) -> tuple[str, str | None]:
    """The folder or hub id of a judge, and its revision on the hub (None for a folder)."""
    folder = ASSETS / EMBEDDED_JUDGE if name_or_path == EMBEDDED_JUDGE else Path(name_or_path)
    if folder.is_dir():
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise ModelLoadError(f"the judge in {folder} lacks {', '.join(missing)}; fetch the folder again")
        return str(folder), None
    source, _, revision = name_or_path.partition("@")
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and revision:
        return source, revision
    raise ModelLoadError(
        f"there is no judge {name_or_path!r}; pass {EMBEDDED_JUDGE!r}, a folder with a CLIP model, or "
        "owner/name@revision of one on the hub"
    )


Backbone = Literal["alex", "squeeze", "vgg"]
_WEIGHTS = {
    "alex": ("AlexNet_Weights", 233),
    "squeeze": ("SqueezeNet1_1_Weights", 5),
    "vgg": ("VGG16_Weights", 528),
}
"""Backbone -> its entry in torchvision, and its size in MB."""
SMALLEST_SIDE = 64  # shortest side of a frame in pixels; the backbones halve smaller ones to nothing
BATCH = 4  # pairs of frames compared at once


class FrameLpips:
    """LPIPS by torchmetrics, on a backbone of torchvision. Raises `ModelLoadError`.

    Args:
        backbone: ``"alex"`` (its authors' default), ``"squeeze"`` or ``"vgg"``; figures of different
            backbones are not comparable.
        allow_download: fetch the backbone's weights if they are not on this machine.
        device: torch name.
    """

    def __init__(
        self, backbone: Backbone = "alex", *, allow_download: bool = False, device: str | torch.device = "cpu"
    ) -> None:
        path = backbone_path(backbone)
        if not path.is_file() and not allow_download:
            raise ModelLoadError(
                f"Frame-LPIPS needs the backbone {backbone!r} ({_WEIGHTS[backbone][1]} MB), which is not on "
                f"this machine: let it be downloaded, or put {path.name} of torchvision into {path.parent}"
            )
        # Takes seconds to import, so only those who ask for LPIPS wait for it.
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        try:
            self._distance = LearnedPerceptualImagePatchSimilarity(backbone, reduction="sum", normalize=True)
        except LOAD_ERRORS as error:
            advice = (
                f"remove {path} and fetch it again" if path.exists() else "check the network and try again"
            )
            raise ModelLoadError(
                f"the LPIPS backbone {backbone} cannot be loaded ({reason_of(error)}); {advice}"
            ) from error
        self._distance.to(device).eval()
        self.name = f"LPIPS {backbone}"

    @torch.inference_mode()
    def __call__(self, source: Frames, *, edited: Frames) -> float:
        """Mean distance between source and edited frames, >= 0; 0 where they are equal.

        Clips are (F, H, W, 3) uint8 RGB with sides of at least `SMALLEST_SIDE`, or it raises `InputError`.

        Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (CVPR
        2018); the "Frame-LPIPS" of DreamMotion's tables is its mean over frames.
        """
        check_pair(source, edited=edited)
        if min(source.shape[1:3]) < SMALLEST_SIDE:
            raise MetricError(
                f"the clip is {source.shape[2]}x{source.shape[1]}; LPIPS needs {SMALLEST_SIDE} pixels a side"
            )
        pairs = [torch.from_numpy(np.array(c)).permute(0, 3, 1, 2).float() / 255 for c in (source, edited)]
        self._distance.reset()
        for start in range(0, len(source), BATCH):
            one, other = (pair[start : start + BATCH].to(self._distance.device) for pair in pairs)
            self._distance.update(one, other)
        return float(self._distance.compute()) / len(source)


def backbone_path(backbone: Backbone) -> Path:
    """The file in which torchvision keeps the weights of a backbone, whether it exists or not."""
    import torchvision

    weights = getattr(torchvision.models, _WEIGHTS[backbone][0]).DEFAULT
    return Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]
