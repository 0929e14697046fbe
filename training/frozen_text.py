"""The text encoder of `toybox` as the later embedded models use it: trained once, and left as it is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.checks import load_trained
from training.model_files import written_together
from training.text import MAX_TOKENS


class FrozenText:
    """From captions to the embeddings that the denoisers attend to.

    Args:
        folder: of the model that it belongs to.
        device: where it runs.

    Raises:
        InputError: if that folder holds no such model.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        remedy = "train toybox first, or choose a folder beside a trained one with --out"
        load_tokenizer = CLIPTokenizer.from_pretrained
        self.tokenizer = load_trained(load_tokenizer, folder / "tokenizer", remedy=remedy)
        encoder = load_trained(CLIPTextModel.from_pretrained, folder / "text_encoder", remedy=remedy)
        self.encoder = encoder.float().to(device).eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Channels D of the embeddings."""
        return int(self.encoder.config.hidden_size)

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> Tensor:
        """(B, L, D) states of captions, padded to the longest caption that there is."""
        tokens = self.tokenizer(
            captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        embeds: Tensor = self.encoder(tokens.input_ids.to(self.encoder.device)).last_hidden_state
        return embeds

    def save_copy(self, out: Path) -> None:
        """Write tokenizer and encoder, in half precision, to the subfolders of another model."""
        with written_together(out) as whole:
            self.tokenizer.save_pretrained(whole / "tokenizer")
            self.encoder.half().save_pretrained(whole / "text_encoder")
        self.encoder.float()
