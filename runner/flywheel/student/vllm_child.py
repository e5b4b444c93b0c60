"""vLLM's offline engine, in the environment where vLLM is installed: its pins are not ours.

Run as a file by that environment's Python, with the number of an open connection, the settings as JSON and the process
with which it ends. It imports nothing of flywheel. Messages are JSON: `{"ready": version}` goes out first; for each job
that comes in, `{"done": n}` as prompts are answered and `{"tokens": [...]}`, the new token ids of each; `{"error"}`
where vLLM refuses, and it ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


def main() -> None:
    line = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(int(sys.argv[3]),), daemon=True).start()

    def send(**message: Any) -> None:
        line.send_bytes(json.dumps(message).encode())

    try:
        generate = _started(json.loads(sys.argv[2]))
        send(ready=_version())
        while (job := _next(line)) is not None:
            send(tokens=generate(job, lambda done: send(done=done)))
        os._exit(0)  # what vLLM does at its end takes seconds
    except Exception as error:  # whatever it is, the other side has to be told
        send(error=f"{type(error).__name__}: {error}")
        raise


def _next(line: Connection) -> dict[str, Any] | None:
    """The next job; None where nobody waits for more."""
    try:
        job: dict[str, Any] = json.loads(line.recv_bytes())
    except EOFError:
        return None
    return job


def _end_with(parent: int) -> None:
    """Large weights take minutes to load, in which nobody looks at the connection."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _version() -> str:
    import vllm

    return str(vllm.__version__)


Generate = Callable[[dict[str, Any], Callable[[int], None]], list[list[int]]]


def _started(settings: dict[str, Any]) -> Generate:
    """What answers jobs with this model and, where there is one, its adapter."""
    import torch
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    adapted = settings["adapter"] is not None
    where = _on_gpu(torch) if torch.cuda.is_available() else _ON_CPU
    llm = LLM(
        model=settings["model"],
        revision=settings["revision"],
        dtype=settings["dtype"],
        max_model_len=settings["max_model_len"],
        load_format="safetensors",
        generation_config="vllm",  # what is sampled is said with each prompt
        trust_remote_code=False,
        **where,
        **({"enable_lora": True, "max_loras": 1, "max_lora_rank": settings["max_lora_rank"]} if adapted else {}),
    )
    adapter = LoRARequest("adapter", 1, settings["adapter"]) if adapted else None

    def generate(job: dict[str, Any], progress: Callable[[int], None]) -> list[list[int]]:
        prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]
        sampling = [_sampling(job, seed) for seed in job["seeds"]]
        with _counting(progress) as bar:
            found = llm.generate(prompts, sampling, lora_request=adapter, use_tqdm=bar)
        return [list(output.outputs[0].token_ids) for output in found]

    return generate


#: To compile takes longer than most jobs. A prompt that is read in parts cannot have a seed: vLLM 0.32.0 turns its
#: generator back, which torch's of a CPU cannot.
_ON_CPU = {"enforce_eager": True, "enable_chunked_prefill": False}


def _on_gpu(torch: Any) -> dict[str, Any]:
    """What others hold of its memory is not ours to ask for."""
    free, total = torch.cuda.mem_get_info()
    return {"gpu_memory_utilization": min(0.9, free / total - 0.03)}


def _sampling(job: dict[str, Any], seed: int | None) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        temperature=job["temperature"],
        top_p=job["top_p"],
        repetition_penalty=job["repetition_penalty"],
        seed=seed,
        max_tokens=job["max_tokens"],
        stop=job["stop"],
        include_stop_str_in_output=True,  # what was written; the text is cut where it is read
        stop_token_ids=job["ends"],
        ignore_eos=True,  # the tokenizer's own is among `ends`
    )


@contextmanager
def _counting(progress: Callable[[int], None]) -> Iterator[Any]:
    """A bar for vLLM that shows nothing and tells how many prompts are answered."""
    from tqdm import tqdm

    class Counted(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> Any:
            told = super().update(n)
            if str(self.desc).startswith("Processed"):  # there is one for tokenizing, too
                progress(int(self.n))
            return told

    with open(os.devnull, "w") as nowhere:
        yield lambda *of, **how: Counted(*of, **{**how, "file": nowhere})


if __name__ == "__main__":
    main()
