#!/usr/bin/env bash
# accelerate 1.15.0 with torch 2.13.0, seen in November 2026.
#
# Behaviour: `accelerate launch --cpu --num_processes 2 script.py` starts one process, without RANK and WORLD_SIZE; of the number not a word is said.
#     --num_processes is "the total number of processes to be launched in parallel" in its help. With --multi_gpu it starts two, on a machine without any GPU too.
# Expected: two processes (gloo), or a word that the number is not heard.
# Why it matters: a training on CPUs, or a try of a distributed script before GPUs are paid for, runs in one process and looks as if all were well: it takes N times
# as long, and what only two processes show (a deadlock, rows read twice) never shows. torchrun --nproc-per-node 2 starts two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "accelerate==1.15.0" "torch==2.13.0" numpy
cat > "$folder/script.py" <<'PYTHON'
import os

print("rank", os.environ.get("RANK"), "of", os.environ.get("WORLD_SIZE"), flush=True)
PYTHON
cd "$folder"
export HF_HOME="$folder/home"
run() {
  echo "$*"
  "$folder/venv/bin/$1" "${@:2}" script.py 2> "$folder/err" | sort | tee "$folder/out"
}
run accelerate launch --cpu --num_processes 2
[ "$(cat "$folder/out")" = "rank None of None" ] || { echo "the behaviour has changed"; exit 1; }
if grep -i "ignored\|one process" "$folder/err"; then echo "the behaviour has changed: it is said now"; exit 1; fi
run accelerate launch --multi_gpu --num_processes 2
[ "$(cat "$folder/out")" = "$(printf 'rank 0 of 2\nrank 1 of 2')" ] || { echo "the behaviour has changed"; exit 1; }
run torchrun --nproc-per-node 2
[ "$(cat "$folder/out")" = "$(printf 'rank 0 of 2\nrank 1 of 2')" ] || { echo "the behaviour has changed"; exit 1; }
