"""Asking a student: prompts in, answers out, in batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.answers import stopped
from flywheel.records import Generation
from flywheel.student.chat import Chat, Prompter
from flywheel.student.engine import Sampling
from flywheel.student.loading import Loaded, prepare_torch
from flywheel.student.memory import out_of_memory, reading_room

#: As the number of its tokens: an answer that is in another share.
ELSEWHERE = -1


@dataclass(frozen=True)
class Share:
    """Of a job's batches each `of`-th, from `number` on: batches are the same, however many models answer them."""

    number: int = 0
    of: int = 1


def generate(
    loaded: Loaded,
    prompts: Sequence[tuple[str, str]],
    *,
    chat: Chat,
    max_new_tokens: int,
    batch_size: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seeds: Sequence[int] = (),
    stop: Sequence[str] = (),
    share: Share = Share(),
    progress: Callable[[int], None] = lambda done: None,
) -> list[Generation]:
    """Answer `prompts` (id, text), in order. Greedy at temperature 0; else sampled, with a seed for each prompt.
    An answer ends before the first of the strings in `stop`. A prompt that leaves no room for one is not asked.

    Prompts are batched by length, so that little is padded; left padding as causal models need. With a `share` those
    of its batches are answered, and the others have ELSEWHERE as their tokens. `progress` is told how many are done, at
    first those that are not asked.
    """
    prompter, context = Prompter(loaded.tokenizer, chat), loaded.context
    encoded = [prompter.ids(text) for _, text in prompts]
    problems = [misfit(len(ids), max_new_tokens, context) for ids in encoded]
    answers = {i: Generation(prompts[i][0], "", 0, False, problem) for i, problem in enumerate(problems) if problem}
    fit = (i for i, problem in enumerate(problems) if not problem)
    order = sorted(fit, key=lambda i: (-len(encoded[i]), prompts[i][0]))
    done = len(answers) if share.number == 0 else 0
    progress(done)
    already = done
    for batch, outputs in batches(
        loaded, prompter, encoded, order, max_new_tokens, batch_size, temperature, top_p, seeds, stop, share,
        lambda more: progress(already + more),
    ):  # fmt: skip
        for index, tokens in zip(batch, outputs, strict=True):
            answers[index] = generation(loaded, prompter, prompts[index][0], tokens, max_new_tokens, stop)
        done += len(batch)
        progress(done)
    return [answers.get(i) or Generation(name, "", ELSEWHERE, False) for i, (name, _) in enumerate(prompts)]


def batches(
    loaded: Loaded,
    prompter: Prompter,
    encoded: Sequence[list[int]],
    order: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seeds: Sequence[int] = (),
    stop: Sequence[str] = (),
    share: Share = Share(),
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[Sequence[int], list[list[int]]]]:
    """Generate for `encoded` in `order`, a batch of the share at a time: (places in `encoded`, new token ids of
    each). An engine makes its own batches: it is given all of them at once, and tells `progress` how many are done."""
    parts = [order[s : s + batch_size] for s in range(share.number * batch_size, len(order), share.of * batch_size)]
    if loaded.engine is not None and parts:
        places = [place for part in parts for place in part]
        penalty = getattr(loaded.model.generation_config, "repetition_penalty", None) or 1.0
        sampling = Sampling(ends_of(loaded, prompter), max_new_tokens, temperature, top_p, stop, penalty)
        drawn = [seeds[i] for i in places] if temperature > 0 else []
        yield places, loaded.engine.answer([encoded[i] for i in places], sampling, drawn, progress)
        return
    for batch in parts:
        noise = sampler([seeds[i] for i in batch], temperature, top_p) if temperature > 0 else None
        rows = [encoded[i] for i in batch]
        yield batch, generate_batch(loaded, rows, ends_of(loaded, prompter), max_new_tokens, noise, stop)


def misfit(prompt_tokens: int, answer_tokens: int, context: int | None) -> str:
    """Why a prompt is not asked; nothing where it fits."""
    if context is None or prompt_tokens + answer_tokens <= context:
        return ""
    return f"a prompt of {prompt_tokens:,} tokens and {answer_tokens:,} of answer do not fit the model's {context:,}"


def ends_of(loaded: Loaded, prompter: Prompter) -> list[int]:
    """Tokens at which the student stops."""
    config = getattr(loaded.model, "generation_config", None)
    return prompter.stop_ids(getattr(config, "eos_token_id", None))


def generate_batch(
    loaded: Loaded,
    rows: list[list[int]],
    ends: list[int],
    max_new_tokens: int,
    noise: Callable[[Any, Any], Any] | None,
    stop: Sequence[str] = (),
    watch: Callable[[list[list[int]]], list[bool]] | None = None,
) -> list[list[int]]:
    """The new token ids of each row, of at most `max_new_tokens`, up to one of `ends`; then padding.

    `watch` is shown them after every step, and says which rows end there.
    """
    torch = prepare_torch()
    batch = loaded.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(loaded.device)
    start = batch["input_ids"].shape[1]
    criteria = [_stopping(torch, loaded, stop, start)] if stop else []
    criteria += [_watching(torch, watch, start)] if watch else []
    with torch.inference_mode():
        output = loaded.model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=max_new_tokens,
            pad_token_id=loaded.tokenizer.pad_token_id,
            eos_token_id=ends,
            logits_processor=[noise] if noise else [],
            stopping_criteria=criteria or None,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
        )
    tokens: list[list[int]] = output[:, start:].tolist()
    return tokens


def _watching(torch: Any, watch: Callable[[list[list[int]]], list[bool]], start: int) -> Callable[[Any, Any], Any]:
    def has_ended(ids: Any, scores: Any) -> Any:
        return torch.tensor(watch(ids[:, start:].tolist()), device=ids.device)

    return has_ended


def _stopping(torch: Any, loaded: Loaded, stop: Sequence[str], start: int) -> Callable[[Any, Any], Any]:
    """Ends a row once what it has written (from place `start`) holds one of the strings.

    Its end is decoded at every step: transformers' own `stop_strings` compares tokens, and overlooks strings that are
    written in pieces of bytes.
    """
    longest = max(len(string.encode()) for string in stop) + 4  # tokens of at least a byte, and half a character

    def has_stopped(ids: Any, scores: Any) -> Any:
        ends = loaded.tokenizer.batch_decode(ids[:, max(start, ids.shape[1] - longest) :], skip_special_tokens=True)
        return torch.tensor([any(string in end for string in stop) for end in ends], device=ids.device)

    return has_stopped


def sampler(seeds: Sequence[int], temperature: float, top_p: float) -> Callable[[Any, Any], Any]:
    """Sampling as argmax of logits plus Gumbel noise (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030).

    Each row draws from its own generator, so that an answer does not depend on the rows it was batched with, and a
    run that goes on after a crash samples what it would have sampled.
    """
    torch = prepare_torch()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add_noise(_: Any, scores: Any) -> Any:
        scores = scores.float() / temperature
        ordered, places = scores.sort(dim=-1, descending=True)
        shares = ordered.softmax(dim=-1)
        outside = (shares.cumsum(dim=-1) - shares) >= top_p
        scores = scores.scatter(1, places, ordered.masked_fill(outside, float("-inf")))
        uniform = torch.stack([torch.rand(scores.shape[1], generator=g) for g in generators]).to(scores.device)
        return scores - (-uniform.clamp(1e-9, 1 - 1e-7).log()).log()

    return add_noise


def generation(
    loaded: Loaded,
    prompter: Prompter,
    prompt_id: str,
    tokens: list[int],
    max_new_tokens: int,
    stop: Sequence[str] = (),
) -> Generation:
    """The answer that new token ids say, up to the end of the turn or to one of the strings in `stop`."""
    ends = {*ends_of(loaded, prompter), loaded.tokenizer.pad_token_id}
    kept = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    text = prompter.said(tokens[:kept])
    said = stopped(text, stop)
    cut = kept == len(tokens) and kept >= max_new_tokens and said == text
    return Generation(prompt_id, said, kept, truncated=cut)


def completion_losses(
    loaded: Loaded,
    pairs: Sequence[tuple[str, str]],
    *,
    chat: Chat,
    progress: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """Mean negative log-likelihood, in nats a token, of each target after its prompt: how hard a lesson is."""
    torch = prepare_torch()
    prompter = Prompter(loaded.tokenizer, chat)
    rows = [prompter.supervised(prompt, target) for prompt, target in pairs]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    losses: dict[int, float] = {}
    progress(0)
    for part, token_losses, owners in read_losses(torch, loaded, rows, order):
        sums = torch.zeros(len(part), device=token_losses.device).index_add(0, owners, token_losses)
        counts = owners.bincount(minlength=len(part)).clamp(min=1)
        losses.update(zip(part, (sums / counts).tolist(), strict=True))
        progress(len(losses))
    return [losses[i] for i in range(len(rows))]


def read_losses(
    torch: Any, loaded: Loaded, rows: Sequence[tuple[list[int], int]], order: Sequence[int]
) -> Iterator[tuple[list[int], Any, Any]]:
    """`target_losses` of all rows, in parts that fit into memory: (places in `rows`, losses, places in the part)."""
    waiting = list(reading_room(loaded.model).parts(rows, order))
    while waiting:
        part = waiting.pop(0)
        try:
            # What is gathered in inference mode could not be learned with afterwards.
            with torch.no_grad() if loaded.sharded else torch.inference_mode():
                token_losses, owners = target_losses(torch, loaded, [rows[i] for i in part])
        except (RuntimeError, MemoryError) as error:
            # Smaller parts in one process alone, and the others would wait for it for ever.
            if not out_of_memory(error) or len(part) == 1 or loaded.sharded:
                raise
            waiting[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
            continue
        yield part, token_losses, owners


def target_losses(torch: Any, loaded: Loaded, rows: Sequence[tuple[list[int], int]]) -> tuple[Any, Any]:
    """Of every target token in order, shape (targets,): its loss in nats, and the number of its row."""
    logits, targets, owners = target_logits(torch, loaded, rows)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none"), owners


def target_logits(torch: Any, loaded: Loaded, rows: Sequence[tuple[list[int], int]]) -> tuple[Any, Any, Any]:
    """Of every target token in order: the logits before it, shape (targets, vocabulary), itself, and its row's number.

    Logits are computed where a target follows and nowhere else: most tokens are prompt, and a vocabulary is large.
    Padding is to the right, where a causal model cannot see it, so that no mask is needed.
    """
    ids, labels = collate(torch, loaded.tokenizer, rows, loaded.device)
    wanted = labels[:, 1:] != -100
    before = torch.nn.functional.pad(wanted, (0, 1))  # the token after which each target comes
    return _logits_at(loaded.model, ids, before).float(), labels[:, 1:][wanted], wanted.nonzero()[:, 0]


def _logits_at(model: Any, ids: Any, places: Any) -> Any:
    """Logits, shape (places that are true, vocabulary)."""
    logits = model(input_ids=ids, logits_to_keep=places, use_cache=False).logits
    return logits if logits.dim() == 2 else logits[places]  # a model that does not know `logits_to_keep` gives all


def collate(torch: Any, tokenizer: Any, rows: Sequence[tuple[list[int], int]], device: str) -> tuple[Any, Any]:
    """Right-padded token ids, shape (rows, longest), and labels with prompt and padding at -100."""
    width = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows], device=device)
    labels = torch.tensor(
        [[-100] * start + ids[start:] + [-100] * (width - len(ids)) for ids, start in rows], device=device
    )
    return ids, labels
