"""The words of the procedural world: their CLIP tokenizer, and text encoders."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.run_folder import load_trained
from training.world.materials import COLOURS, MATERIALS
from training.world.objects import NOUNS
from training.world.scene import every_sentence

MAX_TOKENS = 20
START, END = "<|startoftext|>", "<|endoftext|>"
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-'"


def vocabulary() -> list[str]:
    """Every word that a caption can contain, in alphabetical order."""
    sentences = [*COLOURS, *NOUNS, *list(MATERIALS)[1:]]
    sentences += [re.sub(r"\{\w+\}", " ", sentence) for sentence in every_sentence()]
    return sorted({word for sentence in sentences for word in re.findall(r"[a-z]+", sentence)})


def build_tokenizer() -> CLIPTokenizer:
    """A tokenizer with one token for each known word; other words fall apart into untrained letters."""
    merges = learned_merges(vocabulary())
    tokens = [START, END, *_CHARACTERS, *(c + "</w>" for c in _CHARACTERS)]
    tokens += dict.fromkeys("".join(merge) for merge in merges)
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        unk_token=END,
        pad_token=END,
        model_max_length=MAX_TOKENS,
    )


def learned_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, the most frequent pair first, until every word is whole.

    Encoding repeats them in this order, so no merge tears another word apart. (The trainer of `tokenizers`
    breaks ties differently from run to run.)
    """
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


class FrozenText:
    """The text encoder of an embedded model, which the cascade attends to as it is."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.tokenizer, encoder = load_text(folder)
        self.encoder = encoder.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> Tensor:
        """(B, L, D) states of captions, padded to the longest caption that there is."""
        tokens = tokenized(self.tokenizer, captions)
        embeds: Tensor = self.encoder(tokens.to(self.encoder.device)).last_hidden_state
        return embeds


def load_text(folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder, in float32 on the CPU, of an embedded model."""
    remedy = "train the U-Net model first (toybox-unet), or choose a folder beside a trained one with --out"
    tokenizer = load_trained(CLIPTokenizer.from_pretrained, folder / "tokenizer", remedy=remedy)
    encoder = load_trained(CLIPTextModel.from_pretrained, folder / "text_encoder", remedy=remedy)
    return tokenizer, encoder.float()


def tokenized(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """(B, MAX_TOKENS) int64 of captions."""
    tokens = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    input_ids: Tensor = tokens.input_ids
    return input_ids
