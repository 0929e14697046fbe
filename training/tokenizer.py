"""A CLIP tokenizer for the few words of the procedural world."""

from __future__ import annotations

import re
from pathlib import Path

from transformers import CLIPTokenizer

from training.world.captions import every_sentence
from training.world.materials import MATERIALS
from training.world.nouns import NOUNS
from training.world.palette import COLOURS

MAX_TOKENS = 24
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-'"


def vocabulary() -> list[str]:
    """Every word that a caption can contain, in alphabetical order."""
    sentences = [*COLOURS, *NOUNS, *list(MATERIALS)[1:]]
    sentences += [re.sub(r"\{\w+\}", " ", sentence) for sentence in every_sentence()]
    return sorted({word for sentence in sentences for word in re.findall(r"[a-z]+", sentence)})


def build_tokenizer() -> CLIPTokenizer:
    """Known words become one token or a few fixed pieces; others fall apart into untrained letters."""
    tokens = ["<|startoftext|>", "<|endoftext|>", *_CHARACTERS, *(c + "</w>" for c in _CHARACTERS)]
    merges: list[tuple[str, str]] = []
    for word in vocabulary():
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
            if pair not in merges:
                merges.append(pair)
            if pieces[0] not in tokens:
                tokens.append(pieces[0])
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=MAX_TOKENS,
    )


def save_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the tokenizer to a folder and return it."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder)
    return tokenizer
