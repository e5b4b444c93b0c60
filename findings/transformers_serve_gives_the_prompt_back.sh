#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.13.0, seen in November 2026.
#
# Behaviour: `transformers serve` gives "<｜User｜>2+2<｜Assistant｜>4<｜end▁of▁sentence｜>" as the content of a chat answer, streamed or not: the whole prompt, the answer and
#     the name of its end. It does so for every model of a Qwen2 or Qwen3 architecture whose chat template does not write <|im_start|>assistant; with a template that does, and an end
#     other than <|im_end|>, <|endoftext|> and <|eot_id|>, it gives "4<｜end▁of▁sentence｜>". The same tokenizer, prompt and answer of a Llama give "4", and so does
#     /v1/completions. (For these architectures the answer goes through a response template with a start and three ends of its own.)
# Expected: "4", which is what decoding the new tokens without special ones gives, in the library itself and in the server for other architectures.
# Why it matters: DeepSeek-R1's distilled Qwens are such models, and so is any fine-tune with a template of its own. As a teacher it writes the question into every answer; as
#     what is judged, a label or a number is wrong in every row; and the status is 200.
set -euo pipefail
folder=$(mktemp -d)
server=""
trap 'kill $server 2> /dev/null || true; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers[serving]==5.23.0" "torch==2.13.0"
cd "$folder"
export HF_HOME="$folder/home" HF_HUB_OFFLINE=1
cat > model.py <<'PYTHON'
"""Models that say `4` and end: every token is a direction of its own, and the head knows which follows which."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

END, ASKED, SAYS = "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
SPECIAL = [END, ASKED, SAYS, "<|im_start|>", "<|im_end|>"]
OWN = "{% for m in messages %}" + ASKED + "{{ m.content }}{% endfor %}{% if add_generation_prompt %}" + SAYS + "{% endif %}"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
raw = Tokenizer(models.BPE({token: i for i, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}, []))
raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
raw.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=raw, eos_token=END, pad_token=END, additional_special_tokens=SPECIAL[1:]
)
number = raw.token_to_id
shape = dict(
    vocab_size=264, hidden_size=264, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
    eos_token_id=0, pad_token_id=0, bos_token_id=None, tie_word_embeddings=False,
)
for name, config, kind, template in (
    ("llama", LlamaConfig, LlamaForCausalLM, OWN),
    ("qwen2", Qwen2Config, Qwen2ForCausalLM, OWN),
    ("chatml", Qwen2Config, Qwen2ForCausalLM, CHATML),
):
    model = kind(config(**shape))
    with torch.no_grad():
        for part in model.parameters():
            part.zero_()
        for norm in (model.model.norm, model.model.layers[0].input_layernorm, model.model.layers[0].post_attention_layernorm):
            norm.weight.fill_(1.0)
        model.model.embed_tokens.weight.copy_(torch.eye(264))
        for before, after in ((SAYS, "4"), ("Ċ", "4"), ("4", END)):
            model.lm_head.weight[number(after), number(before)] = 1.0
    model.save_pretrained(name)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(name)
    asked = [{"role": "user", "content": "2+2"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)[0, ids.shape[1] :]
    print(name, "in the library", tokenizer.decode(new, skip_special_tokens=True))
PYTHON
cat > ask.py <<'PYTHON'
import json
import sys
import time
import urllib.request


def ask(path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{sys.argv[2]}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=60).read().decode()


for _ in range(120):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/health", timeout=5)
        break
    except OSError:
        time.sleep(1)
said = {"model": sys.argv[1], "temperature": 0, "max_tokens": 4}
asked = {**said, "messages": [{"role": "user", "content": "2+2"}]}
print("chat", json.loads(ask("/v1/chat/completions", asked))["choices"][0]["message"]["content"])
lines = [line[6:] for line in ask("/v1/chat/completions", {**asked, "stream": True}).splitlines() if line.startswith("data: {")]
parts = [json.loads(line)["choices"] for line in lines]
print("streamed", "".join(part[0]["delta"].get("content") or "" for part in parts if part))
print("completion", json.loads(ask("/v1/completions", {**said, "prompt": "<｜User｜>2+2<｜Assistant｜>"}))["choices"][0]["text"])
PYTHON
"$folder/venv/bin/python" model.py 2> /dev/null | tee decoded
port=$("$folder/venv/bin/python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
for name in llama qwen2 chatml; do
  "$folder/venv/bin/transformers" serve --host 127.0.0.1 --port "$port" --device cpu "$folder/$name" > "$name.log" 2>&1 &
  server=$!
  "$folder/venv/bin/python" ask.py "$folder/$name" "$port" | sed "s/^/$name /" | tee -a said
  kill "$server"
  wait "$server" 2> /dev/null || true
done
cat > expected <<'TEXT'
llama chat 4
llama streamed 4
llama completion 4
qwen2 chat <｜User｜>2+2<｜Assistant｜>4<｜end▁of▁sentence｜>
qwen2 streamed <｜User｜>2+2<｜Assistant｜>4<｜end▁of▁sentence｜>
qwen2 completion 4
chatml chat 4<｜end▁of▁sentence｜>
chatml streamed 4<｜end▁of▁sentence｜>
chatml completion 4
TEXT
[ "$(cat decoded)" = "$(printf 'llama in the library 4\nqwen2 in the library 4\nchatml in the library 4')" ] || { echo "the behaviour has changed"; exit 1; }
cmp said expected || { echo "the behaviour has changed"; exit 1; }
