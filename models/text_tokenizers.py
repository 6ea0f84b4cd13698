"""Text tokenizers: a byte-level one made on the spot, and the extension of any by upstream's audio vocabulary."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.errors import ModelError

QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

# Upstream's order, on which the ids in its published embeddings rest.
SPECIAL_TOKENS = (
    *(
        f"<|{part}_of_{kind}|>"
        for kind in ("image", "video", "patch")
        for part in ("begin", "end", "context")
    ),
    *(f"<|{part}_of_{kind}|>" for kind in ("audio", "quad", "ref", "box") for part in ("begin", "end")),
    "<|image|>",
    "<|video|>",
    "<|audio|>",
)


def audio_token(code: int) -> str:
    """The text form of an audio code."""
    return f"<|audio_{code}|>"


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte and Qwen's three control tokens: 259 ids, no training, no download."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        BPE(vocab={character: index for index, character in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(QWEN_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=QWEN_TOKENS[0], eos_token=QWEN_TOKENS[2]
    )


def extend_text_tokenizer(
    source: str | Path | PreTrainedTokenizerFast, audio_codes: int
) -> PreTrainedTokenizerFast:
    """Add upstream's 20 special tokens, then one token per audio code.

    Args:
        source: a tokenizer, which is extended in place, or a directory that holds one.
        audio_codes: how many audio codes there are. Tokens that are present already keep their ids.

    Raises:
        ModelError: if the directory holds no tokenizer, if a control token of the chat format is missing, or if the
            tokenizer was extended before with another number of codes or in another order.
    """
    tokenizer = load_text_tokenizer(source) if isinstance(source, str | Path) else source
    vocabulary = tokenizer.get_vocab()
    if lacking := [token for token in QWEN_TOKENS[1:] if token not in vocabulary]:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path!r} lacks {lacking}, which the chat format needs"
        )
    if audio_token(audio_codes) in vocabulary:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path!r} has more audio tokens than the {audio_codes} asked for"
        )
    tokenizer.add_tokens(list(SPECIAL_TOKENS), special_tokens=True)
    tokenizer.add_tokens([audio_token(code) for code in range(audio_codes)])
    order = [*SPECIAL_TOKENS, *map(audio_token, range(audio_codes))]
    ids = tokenizer.convert_tokens_to_ids(order)
    if ids != list(range(ids[0], ids[0] + len(order))):
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path!r} has some of the audio vocabulary already, in another order: "
            f"the {len(order)} tokens from {order[0]} to {order[-1]} must have consecutive ids"
        )
    return tokenizer


def load_text_tokenizer(directory: str | Path) -> PreTrainedTokenizerFast:
    """The text tokenizer in a checkpoint's directory.

    Raises:
        ModelError: if there is none.
    """
    if not (Path(directory) / "tokenizer_config.json").is_file():
        raise ModelError(f"{directory} holds no text tokenizer: it has no tokenizer_config.json")
    return AutoTokenizer.from_pretrained(directory, local_files_only=True)
