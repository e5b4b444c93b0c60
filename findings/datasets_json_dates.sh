#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow as it comes), seen in November 2026.
#
# Behaviour: a JSON lines column whose texts all look like dates becomes timestamps, although JSON has only text there. What was written is
# lost: "2024-01-02" comes back as datetime(2024, 1, 2, 0, 0), and of "2024-01-02T03:04:06Z" beside a time without a zone the Z is gone. One
# row more that looks otherwise ("2024-01-02 03:04:05.123"), and the whole column stays text.
# Expected: text, as in the file (as json.loads gives it), or an option to ask for dates.
# Why it matters: the right answers of "when was ...?" are such a column. The target that a model is trained on, or compared with, is then
# str(datetime): "2024-01-02 00:00:00"; and whether that happens hangs on the other rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import datetime

from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()


def read(name, *texts):
    open(name, "w").write("".join(f"{{\"answer\": \"{text}\"}}\n" for text in texts))
    return load_dataset("json", data_files=name, split="train")["answer"][:]


days = read("days.jsonl", "2024-01-02", "2024-01-03")
zones = read("zones.jsonl", "2024-01-02T03:04:05", "2024-01-02T03:04:06Z")
mixed = read("mixed.jsonl", "2024-01-02", "2024-01-02 03:04:05.123")
print(days, zones, mixed, sep="\n")
assert str(days[0]) == "2024-01-02 00:00:00", "the behaviour has changed"
assert zones[1] == datetime.datetime(2024, 1, 2, 3, 4, 6) and zones[1].tzinfo is None, "the behaviour has changed"
assert mixed == ["2024-01-02", "2024-01-02 03:04:05.123"], "the behaviour has changed"
PYTHON
