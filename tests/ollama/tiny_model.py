"""Writes a llama model of 120,000 weights, made anew at every start: noise, but of a known shape.

Its answers are letters and blanks. One that ends does so behind its first full stop, after 54 tokens on
average and never before the first; an endless one says no full stop.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random

WIDTH = 64
HEADS = 4
HIDDEN = 128
LAYERS = 2
SPREAD = 0.1  # of random weights
TRAINED_ON = 32_768  # tokens of context, the most that an engine will take

# The tokens, and what kinds of them the format knows.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
UNK, BOS, EOS = 0, 1, 2
SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{code:02X}>" for code in range(256))
LETTERS = tuple(map(chr, range(ord("a"), ord("z") + 1)))
BLANK, STOP = "▁", "."
SAID = (*LETTERS, *(BLANK + letter for letter in LETTERS))
TOKENS = (*SPECIAL, *BYTES, BLANK, STOP, *SAID)
KINDS = (UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(TOKENS) - 259))

# Two places of the hidden state carry no noise: one is always 1, the other tells a full stop.
ALWAYS, STOPPED = 0, 1
NEVER = -10.0  # as a weight of what is always 1
SURELY = 20.0

# Types of values and of tensors in the file.
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32 = 0
ALIGNED = 32

Tensor = tuple[tuple[int, ...], list[float]]  # rows and columns, the weights row by row


def write(path: Path, *, endless: bool, seed: int = 7) -> None:
    """The model as GGUF, version 3; always the same for the same seed."""
    tensors = dict(_tensors(Random(seed), endless=endless))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(_facts()))
    facts = b"".join(_text(name) + fact for name, fact in _facts().items())
    before = head + facts + _directory(tensors)
    weights = (struct.pack(f"<{len(values)}f", *values) for _, values in tensors.values())
    path.write_bytes(b"".join(map(_padded, (before, *weights))))


def _facts() -> dict[str, bytes]:
    def number(value: int) -> bytes:
        return struct.pack("<II", U32, value)

    def array(kind: int, items: Iterable[bytes]) -> bytes:
        packed = [*items]
        return struct.pack("<IIQ", ARRAY, kind, len(packed)) + b"".join(packed)

    return {
        "general.architecture": struct.pack("<I", STRING) + _text("llama"),
        "general.name": struct.pack("<I", STRING) + _text("tiny"),
        "llama.context_length": number(TRAINED_ON),
        "llama.embedding_length": number(WIDTH),
        "llama.block_count": number(LAYERS),
        "llama.feed_forward_length": number(HIDDEN),
        "llama.attention.head_count": number(HEADS),
        "llama.attention.head_count_kv": number(HEADS),
        "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", F32, 1e-5),
        "llama.rope.dimension_count": number(WIDTH // HEADS),
        "llama.vocab_size": number(len(TOKENS)),
        "tokenizer.ggml.model": struct.pack("<I", STRING) + _text("llama"),
        "tokenizer.ggml.tokens": array(STRING, map(_text, TOKENS)),
        "tokenizer.ggml.scores": array(F32, (struct.pack("<f", -place) for place in range(len(TOKENS)))),
        "tokenizer.ggml.token_type": array(I32, (struct.pack("<i", kind) for kind in KINDS)),
        "tokenizer.ggml.unknown_token_id": number(UNK),
        "tokenizer.ggml.bos_token_id": number(BOS),
        "tokenizer.ggml.eos_token_id": number(EOS),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", BOOL, True),
    }


def _tensors(random: Random, *, endless: bool) -> Iterator[tuple[str, Tensor]]:
    def noise(rows: int, columns: int) -> list[list[float]]:
        return [[random.uniform(-SPREAD, SPREAD) for _ in range(columns)] for _ in range(rows)]

    def silent(weights: list[list[float]]) -> list[list[float]]:
        """Adds nothing to the two places of the hidden state that carry no noise."""
        weights[ALWAYS] = weights[STOPPED] = [0.0] * len(weights[0])
        return weights

    def ones() -> Tensor:
        return (WIDTH,), [1.0] * WIDTH

    yield "token_embd.weight", _flat(_embedding(noise(len(TOKENS), WIDTH)))
    yield "output_norm.weight", ones()
    yield "output.weight", _flat(_choosing(noise(len(TOKENS), WIDTH), endless=endless))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", ones()
        yield f"{block}.ffn_norm.weight", ones()
        for name in ("attn_q", "attn_k", "attn_v"):
            yield f"{block}.{name}.weight", _flat(noise(WIDTH, WIDTH))
        yield f"{block}.attn_output.weight", _flat(silent(noise(WIDTH, WIDTH)))
        yield f"{block}.ffn_gate.weight", _flat(noise(HIDDEN, WIDTH))
        yield f"{block}.ffn_up.weight", _flat(noise(HIDDEN, WIDTH))
        yield f"{block}.ffn_down.weight", _flat(silent(noise(WIDTH, HIDDEN)))


def _embedding(weights: list[list[float]]) -> list[list[float]]:
    for token, row in zip(TOKENS, weights, strict=True):
        row[ALWAYS], row[STOPPED] = 1.0, float(token == STOP)
    return weights


def _choosing(weights: list[list[float]], *, endless: bool) -> list[list[float]]:
    """How likely each token is next: what is said equally so but for the noise, the end only after a stop."""
    sayable = {*SAID} if endless else {*SAID, STOP}
    for token, row in zip(TOKENS, weights, strict=True):
        row[ALWAYS], row[STOPPED] = 0.0 if token in sayable else NEVER, 0.0
    weights[EOS][STOPPED] = SURELY
    return weights


def _flat(rows: list[list[float]]) -> Tensor:
    return (len(rows), len(rows[0])), [weight for row in rows for weight in row]


def _directory(tensors: Mapping[str, Tensor]) -> bytes:
    """Where each tensor lies; the format names its dimensions from the innermost out."""
    parts, offset = [], 0
    for name, (shape, values) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts += [_text(name), dimensions, struct.pack("<IQ", TENSOR_F32, offset)]
        offset += -(-4 * len(values) // ALIGNED) * ALIGNED
    return b"".join(parts)


def _text(words: str) -> bytes:
    coded = words.encode()
    return struct.pack("<Q", len(coded)) + coded


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNED)
