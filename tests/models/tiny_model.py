"""Writes a tiny model in the GGUF format: a llama with random weights over single bytes and a few words.

It owns what the tests need of a model: small (0.5 MB), quick, the same bytes every time. It must never claim
to say anything: its answers are gibberish on purpose.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

NOUNS = ("load", "scale", "route", "team", "key", "cart", "wheel", "stone", "grain", "salt", "iron", "wood")
OTHERS = (
    "the",
    "a",
    "of",
    "on",
    "in",
    "is",
    "was",
    "and",
    "weigh",
    "heavy",
    "light",
    "left",
    "right",
    "full",
)
WORDS = [f"▁{word}" for word in (*NOUNS, *OTHERS)]
"""Whole words, so that a stream reads like text."""

CONTROL_TOKENS = 3
"""Unknown, begin, end."""

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@dataclass(frozen=True)
class Shape:
    """The sizes of the network."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 128
    context: int = 4096
    seed: int = 7


def write(path: Path, shape: Shape = Shape()) -> None:
    """Write the model to `path`."""
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name("tiny")
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.hidden)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(shape.width // shape.heads)
    vocabulary = _add_tokenizer(out)
    _add_weights(out, shape, vocabulary)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _add_tokenizer(out: gguf.GGUFWriter) -> int:
    """Add the vocabulary: control tokens, the 256 bytes, the words. Returns its size."""
    kind = gguf.TokenType
    control = [(b"<unk>", kind.UNKNOWN), (b"<s>", kind.CONTROL), (b"</s>", kind.CONTROL)]
    single = [(f"<0x{byte:02X}>".encode(), kind.BYTE) for byte in range(256)]
    whole = [(word.encode(), kind.NORMAL) for word in WORDS]
    tokens = control + single + whole
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("llama")
    out.add_token_list([text for text, _ in tokens])
    out.add_token_scores([0.0] * len(tokens))
    out.add_token_types([int(of_kind) for _, of_kind in tokens])
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_chat_template(TEMPLATE)
    return len(tokens)


def _add_weights(out: gguf.GGUFWriter, shape: Shape, vocabulary: int) -> None:
    random = np.random.default_rng(shape.seed)
    width, hidden = shape.width, shape.hidden

    def weights(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * 0.08).astype(np.float32)

    # Words come in pairs of opposite rows, large ones: whatever the state, some word wins by far, under any
    # sampling. A control token would end the text early, and bytes make characters that span chunks.
    half = weights(len(WORDS) // 2, width) * 40
    others = np.zeros((vocabulary - len(WORDS), width), np.float32)
    head = np.concatenate([others, half, -half])
    out.add_tensor("token_embd.weight", weights(vocabulary, width))
    out.add_tensor("output.weight", head)
    out.add_tensor("output_norm.weight", np.ones(width, np.float32))
    matrices = {
        "attn_q": (width, width),
        "attn_k": (width, width),
        "attn_v": (width, width),
        "attn_output": (width, width),
        "ffn_gate": (hidden, width),
        "ffn_up": (hidden, width),
        "ffn_down": (width, hidden),
    }
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(width, np.float32))
        for name, (rows, columns) in matrices.items():
            out.add_tensor(f"blk.{layer}.{name}.weight", weights(rows, columns))
