"""Many answers by vLLM's offline engine (`student.engine: vllm`; Kwon et al. 2023, arXiv 2309.06180).

It runs in a child process, by the Python of the environment that the command `vllm` belongs to: its pins of torch and
transformers are not ours. Prompts go there as token ids and answers come back as such, so that templates, control
tokens and the end of an answer are read here, as ever. An engine can leave an adapter out and say nothing, so what it
answers first is held to transformers' own greedy answers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.spec.serving import RANKS_OF_VLLM, next_rank
from flywheel.student.engine import Sampling
from flywheel.student.rounding import rounding
from flywheel.text import one_line, plural

#: The environment variable that names the command, where it is not on the PATH.
COMMAND = "FLYWHEEL_VLLM"
#: Prompts to which both answer, and how many tokens of each answer are compared.
COMPARED, COMPARED_TOKENS = 4, 32
#: Tokens, prompt and answer together, that an engine is started for at least.
LEAST_ROOM = 1024

#: What a base's generation config can make of an answer and this engine is not told, and where it makes nothing.
_UNTOLD: dict[str, Any] = {
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "sequence_bias": None,
    "suppress_tokens": None,
    "watermarking_config": None,
}

_CHILD = Path(__file__).with_name("vllm_child.py")
#: For the child: one process less to end, nothing told to anybody, and no log but what is wrong.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_OFFLINE": "1",  # transformers have loaded the same model, so it is here
}
#: GiB for keys and values where there is no GPU: without a word vLLM wants nearly all of a machine's memory.
_CPU_ROOM = "2"


def interpreter() -> Path | None:
    """The Python beside the command `vllm`; None where there is none."""
    command = shutil.which(os.environ.get(COMMAND) or "vllm")
    python = Path(command).resolve().with_name("python") if command else None
    return python if python is not None and python.exists() else None


def lack() -> tuple[str, str] | None:
    """What is not here and what to do about it; None where vLLM is here."""
    if interpreter() is not None:
        return None
    named = os.environ.get(COMMAND)
    where = f"{COMMAND} names {named}, which is no command" if named else "no command vllm is on the PATH"
    if shutil.which(named or "vllm"):
        where = "beside its command there is no python"
    return (
        f"vllm is not here: {where}.",
        f"Install it in an environment of its own and set {COMMAND} to that environment's bin/vllm, or remove engine.",
    )


def refuse_untold(config: Any) -> None:
    """Raises FlywheelError where a base's `GenerationConfig` decodes in a way that the engine is not told."""
    found = {key: getattr(config, key, None) for key in _UNTOLD}
    if changed := [key for key, value in found.items() if value is not None and value != _UNTOLD[key]]:
        raise FlywheelError(
            f"student.engine: the base's generation_config.json sets {', '.join(changed)}, which vllm is not told and "
            "transformers obeys. Remove student.engine."
        )


@dataclass(frozen=True)
class _Reference:
    """What transformers answers greedily to a row of token ids, and the logits before each token, shape (tokens,
    vocabulary), after the base's penalty."""

    ids: list[int]
    tokens: list[int]
    logits: Any


class Vllm:
    """The engine of one model, started when it is asked. Not for several threads.

    `settings`: model, revision, dtype and adapter. `by_transformers`: the same model in memory, never kept.
    """

    def __init__(
        self, settings: Mapping[str, Any], tokenizer: Any, context: int | None, by_transformers: Callable[[], Any]
    ) -> None:
        self.version = ""
        self._settings, self._tokenizer, self._context = settings, tokenizer, context
        self._by_transformers = by_transformers
        self._child: _VllmProcess | None = None
        self._room = 0
        self._is_held = False

    def answer(
        self, rows: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], progress: Callable[[int], None]
    ) -> list[list[int]]:
        try:
            child = self._ready(rows, sampling)
            progress(0)  # to start took a while
            return child.generate(rows, sampling, seeds, progress)
        except BaseException:
            self.close()  # it may be dead, not held to anything yet, or in the middle of these answers
            raise

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ready(self, rows: Sequence[list[int]], sampling: Sampling) -> _VllmProcess:
        """A child with room for the longest row and its answer. At the first start it is held to transformers, which
        answer before it starts: an accelerator may not have the memory for both."""
        needed = max(map(len, rows)) + sampling.max_new_tokens
        if self._child is not None and needed <= self._room:
            return self._child
        self.close()
        references = [] if self._is_held else _references(self._by_transformers(), rows, sampling)
        self._room = self._rounded(needed)
        adapter = self._settings["adapter"]
        rank = None if adapter is None else _rank_for(Path(adapter))
        self._child = _VllmProcess({**self._settings, "max_model_len": self._room, "max_lora_rank": rank})
        self.version = f"vllm {self._child.version}"
        self._hold(self._child, references, sampling)
        return self._child

    def _rounded(self, tokens: int) -> int:
        """A power of two that fits the model: the next suite's prompts may be a little longer."""
        room = max(LEAST_ROOM, 1 << (tokens - 1).bit_length())
        return room if self._context is None else min(room, self._context)

    def _hold(self, child: _VllmProcess, references: Sequence[_Reference], sampling: Sampling) -> None:
        if not references:
            return
        greedy = _compared(sampling)
        said = child.generate([one.ids for one in references], greedy, [], lambda done: None)
        apart = [found for one, tokens in zip(references, said, strict=True) if (found := _apart(one, tokens))]
        allowed = rounding(self._settings["dtype"], max(float(one.logits.abs().max()) for one in references))
        beyond = [found for found in apart if found[0] > allowed]
        if beyond:
            raise FlywheelError(self._refusal(beyond, len(references), allowed))
        self._is_held = True

    def _refusal(self, beyond: Sequence[tuple[float, list[int], list[int]]], asked: int, allowed: float) -> str:
        logit, theirs, ours = max(beyond, key=lambda found: found[0])
        shown = [one_line(self._tokenizer.decode(tokens), 60) for tokens in (theirs, ours)]
        return (
            f"student.engine: {self.version} answers {len(beyond)} of {plural(asked, 'prompt')} otherwise than "
            f'transformers: "{shown[0]}" instead of "{shown[1]}", a token that is {logit:.3g} less likely (logits; '
            f"{allowed:.2g} would be rounding). Remove student.engine, or try another release of vLLM."
        )


def _compared(sampling: Sampling) -> Sampling:
    """The beginning of a greedy answer."""
    return replace(sampling, max_new_tokens=min(COMPARED_TOKENS, sampling.max_new_tokens), temperature=0.0, stop=())


def _references(loaded: Any, rows: Sequence[list[int]], sampling: Sampling) -> list[_Reference]:
    """Of a few rows of all lengths. `loaded` is given up."""
    import torch

    chosen = sorted(range(len(rows)), key=lambda i: (len(rows[i]), rows[i]))[:: max(1, len(rows) // COMPARED)]
    found = []
    for ids in (rows[i] for i in chosen[:COMPARED]):
        inputs = torch.tensor([ids], device=loaded.device)
        with torch.inference_mode():
            output = loaded.model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=_compared(sampling).max_new_tokens,
                pad_token_id=loaded.tokenizer.pad_token_id,
                eos_token_id=list(sampling.ends),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                output_scores=True,
                return_dict_in_generate=True,
            )
        tokens = output.sequences[0, len(ids) :].tolist()
        found.append(_Reference(list(ids), tokens, torch.cat(output.scores).float().cpu()))
    on_gpu = loaded.device == "cuda"
    del loaded
    if on_gpu:
        torch.cuda.empty_cache()
    return found


def _apart(reference: _Reference, tokens: Sequence[int]) -> tuple[float, list[int], list[int]] | None:
    """How much less likely (logits) than transformers' own the first other token is, infinitely where one of the two
    ends and the other goes on, and both answers up to it; None where they are the same. Behind a token of equal chance
    answers may go their own ways."""
    pairs = enumerate(zip(tokens, reference.tokens, strict=False))
    place = next((place for place, (theirs, ours) in pairs if theirs != ours), None)
    if place is None:
        same = len(tokens) == len(reference.tokens)
        return None if same else (inf, list(tokens), reference.tokens)
    logits = reference.logits[place]
    less = float(logits[reference.tokens[place]] - logits[tokens[place]])
    return less, list(tokens[: place + 1]), reference.tokens[: place + 1]


def _rank_for(adapter: Path) -> int:
    """The least of vLLM's ranks that has room for the adapter. Raises FlywheelError where it is larger than all."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    if rank > (most := RANKS_OF_VLLM[-1]):
        raise FlywheelError(f"student.engine: vllm takes no rank above {most}, and the adapter's is {rank}.")
    return next_rank(rank)


class _VllmProcess:
    """vLLM's process. Its output goes where this process's own goes: into the worker's log."""

    def __init__(self, settings: dict[str, Any]) -> None:
        python = interpreter()
        assert python is not None, "who loads the model looks for it"
        self._wire, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [str(python), "-I", str(_CHILD), str(theirs.fileno()), json.dumps(settings), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={"VLLM_CPU_KVCACHE_SPACE": _CPU_ROOM, **os.environ, **_ENVIRONMENT},
            )
        self.version = str(self._next()["ready"])

    def generate(
        self, rows: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], progress: Callable[[int], None]
    ) -> list[list[int]]:
        job: dict[str, Any] = {
            "prompts": [list(ids) for ids in rows],
            "seeds": list(seeds) or [None for _ in rows],
            "ends": list(sampling.ends),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
            "stop": list(sampling.stop),
        }
        try:
            self._wire.send_bytes(json.dumps(job).encode())
        except ConnectionError:  # it ended while nobody asked
            raise self._ended() from None
        while "tokens" not in (message := self._next()):
            progress(int(message["done"]))
        found: list[list[int]] = message["tokens"]
        return found

    def close(self) -> None:
        """It ends when nobody is there to ask it."""
        self._wire.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _next(self) -> dict[str, Any]:
        """Raises FlywheelError with what vLLM says where it refuses, or ends."""
        try:
            message: dict[str, Any] = json.loads(self._wire.recv_bytes())
        except (EOFError, ConnectionError):
            raise self._ended() from None
        if "error" in message:
            self.close()
            raise FlywheelError(f"student.engine: vllm refuses: {one_line(message['error'], 300)}")
        return message

    def _ended(self) -> FlywheelError:
        self.close()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return FlywheelError(
            f"student.engine: vllm {how}. Its own words are in the run's worker.log, under .flywheel/runs; run "
            "`flywheel apply` again, or remove student.engine to go on without it."
        )
