"""What a model is handed over with: prompts, task settings, tokenizer, decoding, and a page that says how to ask it.

The page's program needs transformers and peft and nothing of ours. It must ask exactly as the model was evaluated:
the same prompt, the same chat template, the same tokens, greedily.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.hashing import hash_file
from flywheel.nodes.trust.model_card import front_matter
from flywheel.prompting import shots_of
from flywheel.records.rows import read_rows
from flywheel.spec.data import read_prompt
from flywheel.spec.models import Spec, Task
from flywheel.student import BUILTIN, StudentFiles
from flywheel.student.loading import base_arm
from flywheel.student.packing import PackingJob
from flywheel.student.work import Asking

#: `(function, payload)` → what the model worker gives back.
Compute = Callable[[str, Any], Any]

#: Hashed elsewhere: weights and their configuration by `adapter_hash`; the manifest holds the hashes.
_HASHED_ELSEWHERE = {"adapter_model.safetensors", "adapter_config.json", "manifest.json"}


@dataclass(frozen=True)
class Handover:
    """A model on its way out of the project `root`."""

    spec: Spec
    root: Path
    student: StudentFiles
    model_id: str
    iteration: int
    dtype: str
    """In which it was evaluated, such as `float32`."""
    versions: Mapping[str, str]
    merged: bool = False
    """Whether the folder is a whole model, which needs no base."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Suite → the model's mean on it."""


def write_handover(folder: Path, handover: Handover, compute: Compute) -> None:
    """Put all but the weights into `folder`, which has them. Raises FlywheelError where the base is not there."""
    spec = handover.spec
    arm = base_arm(handover.student, spec.student.dtype, spec.student.device)
    chat = compute("flywheel.student.packing:pack", PackingJob(arm, Asking.of(spec.student), str(folder)))
    (folder / "prompts").mkdir(exist_ok=True)
    for name, task in spec.tasks.items():
        (folder / _prompt_file(name)).write_bytes((handover.root / task.prompt).read_bytes())
    settings = json.dumps(_settings(handover, chat), indent=2, ensure_ascii=False)
    (folder / "flywheel.json").write_text(settings + "\n", encoding="utf-8")
    page = folder / "README.md"
    page.write_text(_front_matter(handover) + _page(handover), encoding="utf-8")
    for weights in folder.glob("*.safetensors"):  # written for their owner alone, and a server is somebody else
        weights.chmod(page.stat().st_mode)


def file_hashes(folder: Path) -> dict[str, str]:
    """Path in the folder → sha256, of all that is no part of the adapter's own hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: hash_file(path) for name, path in named.items() if name not in _HASHED_ELSEWHERE}


def _prompt_file(task: str) -> str:
    return f"prompts/{task}.jinja"


def _settings(handover: Handover, chat: Mapping[str, Any] | None) -> dict[str, Any]:
    student, asked, shots = handover.student, handover.spec.student, shots_of(handover.spec, handover.root)
    return {
        "format": 1,
        "name": handover.spec.name,
        "model_id": handover.model_id,
        "iteration": handover.iteration,
        "base": {"name": student.name, "revision": student.revision, "hash": student.weights_hash},
        "dtype": handover.dtype,
        "chat": chat,
        "max_new_tokens": asked.max_new_tokens,
        "tasks": {
            name: {
                "prompt": _prompt_file(name),
                "shots": shots[name],
                "target": task.target,
                "stop": task.stop,
                "final": task.final,
            }
            for name, task in handover.spec.tasks.items()
        },
        "versions": dict(handover.versions),
    }


# --- the page ---------------------------------------------------------------------------------------------------------


def _front_matter(handover: Handover) -> str:
    name = f"{handover.spec.name} {handover.model_id}"
    known = handover.spec.deploy.card_license
    return front_matter(name, handover.student, merged=handover.merged, license=known, scores=handover.scores)


def _page(handover: Handover) -> str:
    task, declared = next(iter(handover.spec.tasks.items()))
    packages = ["transformers", "torch", "jinja2"] if handover.merged else ["peft", "transformers", "torch", "jinja2"]
    versions = ", ".join(f"{name} {handover.versions[name]}" for name in packages if name in handover.versions)
    row = json.dumps(dict.fromkeys(_columns(handover, declared), "…"), ensure_ascii=False)
    words = [*_arguments(handover), shlex.quote(row)]
    what = "a whole model" if handover.merged else "a LoRA adapter"
    return _PAGE.format(
        title=f"{handover.spec.name} {handover.model_id}",
        what=f"{what}, iteration {handover.iteration} of the flywheel project {handover.spec.name}",
        base=_base_words(handover),
        install=" ".join(packages),
        versions=f" Evaluated with {versions}, in {handover.dtype}." if versions else "",
        command=f"python answer.py {' '.join(words)}",
        snippet=_snippet(handover, task),
        tasks=", ".join(f"`{name}`" for name in handover.spec.tasks),
    )


def _columns(handover: Handover, task: Task) -> list[str]:
    """Those that the prompt reads; all but the target where it reads all."""
    read = read_prompt(handover.root / task.prompt).columns
    if read is not None:
        return list(read)
    path = task.seeds or task.probes
    return [column for column in read_rows(handover.root / path)[0] if column != task.target] if path else []


def _is_on_the_hub(student: StudentFiles) -> bool:
    return student.revision is not None


def _arguments(handover: Handover) -> list[str]:
    if handover.merged or _is_on_the_hub(handover.student):
        return []
    return ["base" if handover.student.base in BUILTIN else shlex.quote(handover.student.name)]


def _base_words(handover: Handover) -> str:
    student = handover.student
    if handover.merged:
        return f"The adapter is merged into its base, {student.name}; nothing else is needed."
    if _is_on_the_hub(student):
        return f"Its base is `{student.name}` at revision `{student.revision}` of the Hugging Face hub."
    known = f"(sha256 over its files, as flywheel takes it: `{student.weights_hash}`)"
    whole = "`flywheel export --merged FOLDER`, in the project, writes one folder that needs no base."
    if student.base in BUILTIN:
        got = "`flywheel export FOLDER`, in the project, writes this folder again with the base in `FOLDER/base`."
        return f"Its base is `{student.name}`, which comes with flywheel {known}. {got} {whole}"
    noun = "GGUF file" if student.gguf else "folder"
    return f"Its base is the {noun} `{student.name}` {known}: name where you have it. {whole}"


def _snippet(handover: Handover, task: str) -> str:
    student = handover.student
    imports, base = "from peft import PeftModel\n", "base = {source}"
    if handover.merged:
        imports, base = "", 'base = {"pretrained_model_name_or_path": here}'
    elif _is_on_the_hub(student):
        name, revision = json.dumps(student.name), json.dumps(student.revision)
        base = f'base = {{"pretrained_model_name_or_path": {name}, "revision": {revision}}}'
    elif student.gguf:
        base = (
            "file = Path(sys.argv[1])  # the GGUF\n"
            'base = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}'
        )
    else:
        base = 'base = {"pretrained_model_name_or_path": sys.argv[1]}  # the folder'
    adapted = "" if handover.merged else "model = PeftModel.from_pretrained(model, here)\n"
    return _SNIPPET.format(peft=imports, base=base, adapted=adapted, task=task)


_PAGE = """# {title}

This folder is {what}. {base}

Save the program below in this folder as `answer.py`; with `pip install {install}` it answers a row as the
model was evaluated.{versions}

```sh
{command}
```

```python
{snippet}```

| file | holds |
|---|---|
| `flywheel.json` | tasks ({tasks}) with their prompts, stops and final answers; messages, base, versions |
| `prompts/` | how each task is asked (Jinja); `row` is the row's columns |
| `tokenizer*`, `chat_template.jinja` | the tokenizer, and its chat template where there is one |
| `generation_config.json` | greedy decoding as evaluated; a server that samples by default answers otherwise |
"""

_SNIPPET = """import json
import re
import sys
from pathlib import Path

import jinja2
import torch
{peft}from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

here = Path(".")  # this folder
{base}
row = json.loads(sys.argv[-1])
settings = json.loads((here / "flywheel.json").read_text("utf-8"))
task = settings["tasks"]["{task}"]


class Prompts(jinja2.Environment):
    def getattr(self, obj, name):  # a column called "items" is a column
        return obj[name] if isinstance(obj, dict) and name in obj else super().getattr(obj, name)


prompts = Prompts(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
prompts.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
prompt = prompts.from_string((here / task["prompt"]).read_text("utf-8-sig")).render(row=row)
prompt = task["shots"] + prompt  # solved examples, where it was measured with some

tokenizer = AutoTokenizer.from_pretrained(here)
chat = settings["chat"]
if chat is None:
    ids = tokenizer.encode(prompt, split_special_tokens=True)
else:  # what looks like a control token in the row stays text
    messages = json.loads(json.dumps(chat["messages"]).replace("{{prompt}}", json.dumps(prompt)[1:-1]))
    how = {{"add_generation_prompt": True, "return_dict": False, "sanitize_control_tokens": True}}
    ids = tokenizer.apply_chat_template(messages, **how, **chat["variables"])
    start = [i for i in tokenizer.encode("") if i == tokenizer.bos_token_id and ids[:1] != [i]]
    ids = start + ids + tokenizer.encode(chat["after"], add_special_tokens=False)
inputs = {{"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}}

model = AutoModelForCausalLM.from_pretrained(**base, dtype=settings["dtype"])
model.generation_config = GenerationConfig.from_pretrained(here)
{adapted}tokens = model.generate(**inputs)[0, len(ids) :]
text = tokenizer.decode(tokens, skip_special_tokens=True)
for stop in task["stop"]:
    text = text.partition(stop)[0]
found = re.findall(task["final"], text) if task["final"] else []
print(found[-1].strip() if found else text)
"""
