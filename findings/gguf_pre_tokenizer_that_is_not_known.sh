#!/usr/bin/env bash
# transformers 5.23.0 (tokenizers as it comes) and gguf 0.19.0, seen in November 2026.
#
# Behaviour: a GGUF says in `tokenizer.ggml.pre` how text is cut before merges are applied. transformers knows 23 of these names; a file with any other,
# of several dozens that llama.cpp writes and reads, gets the cut of GPT-2, without a word. Here "stablelm2" (StableLM 2: every digit alone, line breaks
# stay with the mark before them), an architecture that transformers reads from GGUF. The same file under the name "qwen2", for which llama.cpp has the
# same expression, is read rightly:
#     "2024"      pre: qwen2 -> 2 0 2 4         pre: stablelm2 -> 2024
#     "no!\n"     pre: qwen2 -> no !\n          pre: stablelm2 -> no ! \n
# Expected: the tokens that the model was trained on, or an error (llama.cpp refuses a name that it does not know), or at least a warning.
# Why it matters: the weights load, and the model still talks, a little worse, worst with numbers. Whoever fine-tunes or measures it then does so on
# tokens that the server will not make.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "gguf==0.19.0" "torch==2.13.0"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
from pathlib import Path

import gguf
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

MERGES = ["2 0", "20 2", "202 4", "n o", "! Ċ"]
warnings = []
logging.getLogger("transformers").addHandler(type("Keep", (logging.Handler,), {"emit": lambda self, record: warnings.append(record)})())


def tokens_of(pre, text):
    folder = Path(pre)
    folder.mkdir(exist_ok=True)
    tokens = [*bytes_to_unicode().values(), *("".join(merge.split()) for merge in MERGES), "<|endoftext|>"]
    writer = gguf.GGUFWriter(folder / "model.gguf", "stablelm")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    return tokenizer.tokenize(text)


for text in ("2024", "no!\n"):
    print(repr(text), *(f"{pre}: {tokens_of(pre, text)}" for pre in ("qwen2", "stablelm2")), sep="   ")
assert tokens_of("qwen2", "2024") == ["2", "0", "2", "4"]
assert tokens_of("stablelm2", "2024") == ["2024"]
assert tokens_of("qwen2", "no!\n") == ["no", "!Ċ"]
assert tokens_of("stablelm2", "no!\n") == ["no", "!", "Ċ"]
assert not warnings
PYTHON
echo "as described"
