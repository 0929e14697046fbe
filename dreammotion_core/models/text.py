"""From a prompt to text embeddings, by the text encoders of all families."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer, UMT5EncoderModel
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.models.loading import ModelFiles, outer_dtype
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Notice

TEXT_ENCODERS = {kind.__name__: kind for kind in (CLIPTextModel, T5EncoderModel, UMT5EncoderModel)}

TOKENIZERS = dict.fromkeys(("CLIPTokenizer", "CLIPTokenizerFast"), CLIPTokenizer)
TOKENIZERS |= dict.fromkeys(("T5Tokenizer", "T5TokenizerFast"), T5Tokenizer)
"""Tokenizers that a manifest may name; transformers has one of each kind since version 5."""


def load_text_encoder(files: ModelFiles, *, torch_dtype: torch.dtype) -> tuple[Any, Any]:
    """The tokenizer and the text encoder that the manifest names, on the CPU.

    Encoders of the T5 kind get the precision of the denoiser, because they are as large and were trained in
    bfloat16. CLIP gets that of the autoencoder.
    """
    encoder = files.class_of("text_encoder", TEXT_ENCODERS)
    dtype = outer_dtype(torch_dtype) if encoder is CLIPTextModel else torch_dtype
    tokenizer = files.class_of("tokenizer", TOKENIZERS)
    _check_tokenizer_files(files.spec, tokenizer)
    loaded = files.load("tokenizer", tokenizer.from_pretrained)
    return loaded, files.load_network("text_encoder", encoder, dtype=dtype)


def _check_tokenizer_files(spec: ModelSpec, tokenizer: Any) -> None:
    """Raise `ModelLoadError` for a folder without tokens, from which a nearly empty tokenizer would come."""
    folder, names = Path(spec.source) / "tokenizer", dict(tokenizer.vocab_files_names)
    whole = names.pop("tokenizer_file")
    if spec.is_local and not (folder / whole).is_file():
        missing = [name for name in names.values() if not (folder / name).is_file()]
        if missing:
            raise ModelLoadError(
                f"tokenizer in {spec.source} has neither {whole} nor {' and '.join(missing)}; the folder may "
                "be half-downloaded: fetch it again"
            )


def token_limit(tokenizer: Any, *, text_encoder: Any, trained: int | None = None) -> int:
    """How many tokens of a prompt are read: the trained number, if the encoder takes so many.

    The tokenizer gives the trained number if it is not known, or `ModelLoadError` says that nothing does;
    encoders of the T5 kind have no limit.
    """
    named = trained or tokenizer.model_max_length
    positions: int = getattr(text_encoder.config, "max_position_embeddings", VERY_LARGE_INTEGER)
    if not isinstance(named, int) or not 1 <= min(named, positions) < VERY_LARGE_INTEGER:
        raise ModelLoadError(
            f"tokenizer_config.json says model_max_length = {named!r}; write there with how many tokens the "
            "model was trained"
        )
    return min(named, positions)


@torch.no_grad()
def embed_prompt(
    prompt: str,
    *,
    tokenizer: Any,
    text_encoder: Any,
    max_tokens: int,
    device: torch.device,
    mask_padding: bool = False,
) -> Tensor:
    """Hidden states of the text encoder for a prompt, padded or cut to L tokens, (1, L, D).

    UMT5 ignores the padding, and its states there are set to zero, as Wan was trained. The other encoders
    treat the padding as text, as most of their models were trained, unless `mask_padding` is set.
    """
    tokens = tokenizer(
        prompt, padding="max_length", max_length=max_tokens, truncation=True, return_tensors="pt"
    ).to(device)
    is_text: Tensor = tokens.attention_mask
    if not isinstance(text_encoder, UMT5EncoderModel):
        mask = is_text if mask_padding else None
        prompt_embeds: Tensor = text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return prompt_embeds
    prompt_embeds = text_encoder(tokens.input_ids, is_text).last_hidden_state
    return prompt_embeds * is_text[..., None].to(prompt_embeds.dtype)


def prompt_notices(prompt: str, *, tokenizer: Any, max_tokens: int, spec: ModelSpec) -> tuple[Notice, ...]:
    """Notices about words past the token limit and words outside the model's vocabulary."""
    notices = []
    num_tokens = len(tokenizer(prompt, verbose=False).input_ids)
    if num_tokens > max_tokens:
        text = f"The prompt has {num_tokens} tokens; {spec.label} reads only the first {max_tokens}."
        notices.append(Notice("prompt_truncated", text))
    words = dict.fromkeys(re.findall(r"[^\W\d_]+", prompt.lower()))
    unknown = [word for word in words if word not in (spec.vocabulary or words)]
    if unknown:
        text = f"{spec.label} has never seen these words and will guess: {', '.join(unknown)}."
        notices.append(Notice("unknown_words", text))
    return tuple(notices)
