#!/usr/bin/env bash
# datatrove 0.10.1 (spacy 3.8.18), seen in November 2026.
#
# Behaviour: its MinHash deduplication, with its defaults, writes every number as 0 and leaves out signs before it compares, and does not compare texts
# of less than five words at all. Of these eight documents five are kept:
#     What is 17 plus 25 minus 3 ?         kept
#     What is 90 plus 4 minus 88 ?         removed: a copy of the one above
#     Solve x + 3 = 10 for x now .         kept
#     Solve x - 8 = 41 for x now .         removed
#     Is a < b , yes or no ?               kept
#     Is a > b , yes or no ?               removed
#     What colour is grass?                kept
#     What colour is grass?                kept
# `TextNormConfig(norm_numbers=False)` keeps the second and the fourth; of the signs, "<" and ">" remain one.
# Expected: an exact copy is a near copy; texts of the same words with other numbers and signs are not the same text.
# Why it matters: on pages of the web, dates and prices are noise; in questions the numbers are what is asked. Of a set of sums one of each wording is
# left, and labels and short questions, whose copies one wants to be rid of, all stay. Nothing is said of either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "datatrove==0.10.1" "spacy==3.8.18" "xxhash==3.8.2" nltk regex tokenizers
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.utils.text import TextNormConfig

TEXTS = [
    "What is 17 plus 25 minus 3 ?",
    "What is 90 plus 4 minus 88 ?",
    "Solve x + 3 = 10 for x now .",
    "Solve x - 8 = 41 for x now .",
    "Is a < b , yes or no ?",
    "Is a > b , yes or no ?",
    "What colour is grass?",
    "What colour is grass?",
    "Name the largest city of the south .",
    "Name the largest lake of the north .",
    "Name the capital of the whole kingdom .",
    "Name the capital of the whole kingdom .",
]


def kept(name, config):
    """Places of the documents that are left."""
    found = []

    def documents(data, rank=0, world_size=1):
        yield from (Document(text=text, id=str(place)) for place, text in enumerate(TEXTS))

    def keep(data, rank=0, world_size=1):
        for document in data:
            found.append(int(document.id))
            yield document

    steps = [
        [documents, MinhashDedupSignature(f"{name}/signatures", config)],
        [MinhashDedupBuckets(f"{name}/signatures", f"{name}/buckets", config=config)],
        [MinhashDedupCluster(f"{name}/buckets", f"{name}/removed", config=config)],
        [documents, MinhashDedupFilter(f"{name}/removed"), keep],
    ]
    for number, step in enumerate(steps):
        tasks = config.num_buckets if number == 1 else 1
        LocalPipelineExecutor(step, tasks=tasks, workers=1, logging_dir=f"{name}/logs{number}").run()
    print(name, *(f"{'kept   ' if place in found else 'removed'} {text}" for place, text in enumerate(TEXTS)), sep="\n  ")
    return found


# The last four: as one expects.
assert kept("defaults", MinhashConfig()) == [0, 2, 4, 6, 7, 8, 9, 10], "the behaviour has changed"
numbers = MinhashConfig(norm_config=TextNormConfig(norm_numbers=False))
assert kept("numbers", numbers) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10], "the behaviour has changed"
PYTHON
