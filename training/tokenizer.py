"""A CLIP tokenizer for the few words of the procedural world."""

from __future__ import annotations

import re
from pathlib import Path

from transformers import CLIPTokenizer

from training.world.palette import COLOURS
from training.world.places import PLACES
from training.world.scene import MOTIONS, TEMPLATES
from training.world.shapes import NOUNS

MAX_TOKENS = 20
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-'"


def vocabulary() -> list[str]:
    """Every word that a caption can contain, in alphabetical order."""
    sentences = [*COLOURS, *NOUNS, *PLACES, *(p.where for p in PLACES.values()), *MOTIONS.values()]
    sentences += [re.sub(r"\{\w+\}", " ", template) for template in TEMPLATES]
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
