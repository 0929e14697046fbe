"""A CLIP tokenizer for the few words of the procedural world."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from transformers import CLIPTokenizer

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
    """Known words become one token each; others fall apart into untrained letters."""
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

    Encoding repeats them in this order, so no merge can tear another word apart. (The trainer of
    `tokenizers` breaks ties differently from run to run, which would give every training other tokens.)
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
