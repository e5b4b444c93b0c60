#!/usr/bin/env bash
# transformers 5.23.0 and tokenizers 0.23.3, seen in November 2026.
#
# Behaviour: a tokenizer of transformers remembers, in its backend, how it was last called, and `save_pretrained` writes that into tokenizer.json. After
# one call with `truncation=True, max_length=3, padding="max_length"` the file says so, and who reads it with tokenizers (which servers and other
# languages do) gets three tokens of any text:
#     "a b c d e f"     AutoTokenizer: 6 tokens     tokenizers.Tokenizer.from_file: 3 tokens
#     "a"               AutoTokenizer: 1 token      tokenizers.Tokenizer.from_file: 3 tokens, two of padding
# A tokenizer that is saved before it is called has neither.
# Expected: arguments of a call are of that call; or both readers take the file in the same way.
# Why it matters: a training script tokenizes with a length and saves model and tokenizer together. Evaluated with transformers all is well; served,
# each prompt ends at that length, question included, and the answers are about something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEXTS = ("a b c d e f", "a")


def saved(folder, **called):
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(["[UNK]", "[PAD]", *"abcdef"])}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    if called:
        tokenizer(list(TEXTS), **called)
    tokenizer.save_pretrained(folder)
    again, server = AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(f"{folder}/tokenizer.json")
    found = [again(text).input_ids for text in TEXTS], [server.encode(text).ids for text in TEXTS]
    print(called, *found)
    return found


whole = [[2, 3, 4, 5, 6, 7], [2]]
assert saved("fresh") == (whole, whole), "the behaviour has changed"
assert saved("called", truncation=True, max_length=3, padding="max_length") == (whole, [[2, 3, 4], [2, 1, 1]]), "the behaviour has changed"
PYTHON
