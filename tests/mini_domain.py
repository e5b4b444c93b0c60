"""A domain small enough to turn the wheel on in a second: what colour is a thing? Two teachers, one of them careless.

The right answer hangs on the noun alone. A student who always says "red" is wrong on every blue thing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any

import yaml

REDS = ("rose", "brick", "cherry", "ruby")
BLUES = ("sky", "sea", "jeans", "sapphire")
ADJECTIVES = ("old", "new", "small", "grand", "plain", "odd")

PROMPT = "{{ row.text }}\ncolour:"
TEACHER_PROMPT = "Write {{ n }} rows for {{ mode }}. {{ style }}{% for f in failures %}\n{{ f.row.text }}{% endfor %}"

CODE = '''
import json, os, pathlib, time

HERE = pathlib.Path(__file__).parent
REDS, BLUES, ADJECTIVES = {reds!r}, {blues!r}, {adjectives!r}


def write_down(request, kind):
    """Every call leaves a line, so that tests can count what was paid for."""
    line = json.dumps([kind, request["options"]["name"], request["mode"], request["sample"], request["seed"]])
    handle = os.open(HERE / "calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (line + "\\n").encode())
    os.close(handle)


def colour(text):
    return "blue" if text.split()[1] in BLUES else "red"


def teach(request):
    write_down(request, "asked")
    time.sleep(request["options"].get("pause", 0))
    rows = []
    for i in range(request["n"]):
        number = (request["seed"] + 7919 * i) % 90_000 + 10_000
        nouns = BLUES + REDS if request["mode"] == "any" else BLUES
        text = f"{{ADJECTIVES[number % 6]}} {{nouns[(number // 6) % len(nouns)]}} {{number}}"
        wrong = number % 100 < 100 * request["options"].get("wrong", 0)
        rows.append({{"text": text, "label": "green" if wrong else colour(text)}})
    write_down(request, "answered")
    return json.dumps(rows)


def right(subject):
    return colour(subject["row"]["text"]) == subject["answer"], "by the noun"
'''


def rows(start: int, count: int) -> list[dict[str, str]]:
    """`count` rows, half of them blue; `start` keeps files apart."""
    found = []
    for i in range(count):
        nouns, label = (BLUES, "blue") if i % 2 else (REDS, "red")
        found.append({"text": f"{ADJECTIVES[i % 6]} {nouns[i // 2 % 4]} {start + i}", "label": label})
    return found


def spec_of(base: str) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "colours",
        "seed": 3,
        "student": {"base": base, "batch_size": 16, "max_new_tokens": 6},
        "tasks": {
            "colour": {
                "description": "Say the colour of a thing.",
                "prompt": "prompts/colour.md",
                "target": "label",
                "probes": "evals/probes.jsonl",
                "seeds": "evals/seeds.jsonl",
                "verify": ["known", "right"],
            }
        },
        "taxonomy": [
            {"name": "not_blue", "severity": "critical", "when": "gold = 'blue'", "description": "A blue thing."},
            {"name": "other"},
        ],
        "teachers": {
            "careful": {
                "kind": "python", "function": "colours.py:teach", "options": {"name": "careful"}, "simulated": True,
            },
            "careless": {
                "kind": "python", "function": "colours.py:teach", "options": {"name": "careless", "wrong": 0.4},
                "simulated": True,
            },
        },
        "verifiers": {
            "known": {"kind": "regex", "pattern": "red|blue"},
            "right": {"kind": "python", "function": "colours.py:right"},
        },
        "generate": [
            {
                "name": "targeted", "teachers": {"careful": 2.0, "careless": 1.0}, "accept": 12, "per_call": 3,
                "rounds": 2, "prompt": "prompts/lessons.md",
            }
        ],
        "train": {"rank": 4, "max_steps": 4, "batch_size": 4, "learning_rate": 0.02},
        "evals": {
            "holdout": {"role": "target", "task": "colour", "data": "evals/holdout.jsonl"},
            "guard": {"role": "guard", "task": "colour", "data": "evals/guard.jsonl"},
        },
        "gate": [{"suite": "holdout", "better_by": 0.05}, {"suite": "guard", "not_worse_than": 0.9}],
        "loop": {"iterations": 1},
    }  # fmt: skip


def judged_by_labels(domain: Domain, *labels: str) -> Domain:
    """The answer is one of `labels`, and lessons are rows that a person wrote: a program's own have no known answer."""

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"] = {"right": {"kind": "label", "labels": list(labels)}}
        spec["tasks"]["colour"]["verify"] = ["right"]
        spec["teachers"] = {"person": {"kind": "dataset", "path": "evals/lessons.jsonl"}}
        spec["generate"] = [{"name": "targeted", "teachers": ["person"], "accept": 12}]

    domain.write_rows("evals/lessons.jsonl", rows(500, 40))
    return domain.edit(change)


@dataclass
class Domain:
    """A project folder and its spec as a dict: change `spec`, then `save()`."""

    root: Path
    spec: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def written(cls, root: Path, student: Path | None = None) -> Domain:
        """`student` is copied in; without one a few bytes stand for it, for tests that never load it."""
        for folder in ("prompts", "evals", "student"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if student is None:
            write_empty_student(root / "student")
        else:
            copytree(student, root / "student", dirs_exist_ok=True)
        (root / "prompts" / "colour.md").write_text(PROMPT)
        (root / "prompts" / "lessons.md").write_text(TEACHER_PROMPT)
        (root / "colours.py").write_text(CODE.format(reds=REDS, blues=BLUES, adjectives=ADJECTIVES))
        domain = cls(root, spec_of("student"))
        for name, start, count in (("probes", 100, 12), ("seeds", 200, 8), ("holdout", 300, 16), ("guard", 400, 8)):
            domain.write_rows(f"evals/{name}.jsonl", rows(start, count))
        domain.save()
        return domain

    def write_rows(self, name: str, found: Sequence[Mapping[str, Any]]) -> None:
        (self.root / name).write_text("".join(json.dumps(row) + "\n" for row in found))

    def save(self) -> None:
        (self.root / "flywheel.yaml").write_text(yaml.safe_dump(self.spec, sort_keys=False))

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> Domain:
        change(self.spec)
        self.save()
        return self

    # -- doing

    def open(self) -> Any:
        from flywheel.engine.project import open_project

        return open_project(self.root / "flywheel.yaml")

    def plan(self, iterations: int | None = None) -> Any:
        from flywheel.engine.planning import make_plan

        return make_plan(self.open(), iterations)

    def apply(self, **options: Any) -> Any:
        from flywheel.engine.apply import apply

        return apply(self.open(), **options)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        from flywheel.engine.history import open_lookup

        with open_lookup(self.root / ".flywheel") as lookup:
            return lookup(sql, parameters)

    def start(self, *arguments: str, stand_in: bool = True) -> subprocess.Popen[str]:
        """`flywheel …` as a process of its own, in the project's folder."""
        return subprocess.Popen(
            self.command(*arguments, stand_in=stand_in),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, *arguments: str, stand_in: bool = True) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, stand_in=stand_in)
        out, error = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    @staticmethod
    def command(*arguments: str, stand_in: bool = True) -> list[str]:
        if stand_in:
            return [sys.executable, str(Path(__file__).with_name("stand_in.py")), *arguments]
        return [sys.executable, "-c", "from flywheel.cli import main; main()", *arguments]

    # -- looking

    def calls(self, kind: str = "answered") -> list[tuple[Any, ...]]:
        """What the teachers were asked, or answered: (teacher, mode, sample, seed)."""
        path = self.root / "calls.log"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [tuple(line[1:]) for line in lines if line[0] == kind]

    def outcome(self) -> dict[str, Any]:
        """What must not depend on when a run was interrupted."""
        return {
            "datasets": self.query("SELECT lesson_id, origin, position, prompt, target FROM dataset ORDER BY ALL"),
            "decisions": self.query(
                "SELECT iteration, outcome, incumbent_id, candidate_id, decision_hash FROM decisions ORDER BY ALL"
            ),
            "deployed": self.query("SELECT sequence, action, model_id, decision_hash FROM deployments ORDER BY ALL"),
            "scores": self.query("SELECT suite, arm, item_id, answer, outcome, mode FROM scores ORDER BY ALL"),
        }


# --- students ---------------------------------------------------------------------------------------------------------


def write_empty_student(folder: Path, words: str = "stands for weights") -> None:
    """A model without a weight: what is looked at before one is loaded is there."""
    header = json.dumps({"__metadata__": {"words": words}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")


def write_mini_student(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(hidden_size=32, intermediate_size=64, num_key_value_heads=2, **_shape(tokenizer))
    return _saved(LlamaForCausalLM(config), tokenizer, folder)


def write_chat_student(folder: Path) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(6)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    config = Qwen2Config(hidden_size=32, intermediate_size=64, num_key_value_heads=2, **_shape(tokenizer))
    return _saved(Qwen2ForCausalLM(config), tokenizer, folder)


def byte_tokenizer() -> Any:
    """A token a byte, and four special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<eos>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate([*specials, *alphabet])}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", additional_special_tokens=specials[2:]
    )


def _shape(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def write_gguf(
    student: Path, file: Path, stretched: Callable[[Any], None] = lambda writer: None, theta: float = 10_000.0
) -> Path:
    """The Qwen of `write_chat_student` as llama.cpp keeps it, in 8 bits; with one token more: there must be a merge.

    `stretched` adds to the file how positions are, `theta` is the base of their frequencies.
    """
    import gguf
    import numpy
    from safetensors.numpy import load_file

    config = json.loads((student / "config.json").read_text())
    vocabulary = json.loads((student / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = [*sorted(vocabulary, key=vocabulary.get), "ab"]
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(theta)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if len(token) > 2 else 1 for token in tokens])  # control, normal
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(vocabulary["<eos>"])
    writer.add_pad_token_id(vocabulary["<pad>"])
    writer.add_chat_template((student / "chat_template.jinja").read_text())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, weights in load_file(student / "model.safetensors").items():
        if weights.shape[0] == len(vocabulary):
            weights = numpy.vstack([weights, numpy.zeros_like(weights[:1])])
        kind = gguf.GGMLQuantizationType.Q8_0 if weights.ndim == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quants.quantize(weights.astype(numpy.float32), kind)
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), packed, raw_dtype=kind)
    stretched(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
