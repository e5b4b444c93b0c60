"""Build the built-in student `builtin:tiny`: a byte-level tokenizer and a Llama of about a million parameters.

    python scripts/train_tiny.py [--steps N] [--out DIR]

It learns the general skills of `tiny_skills.py` and nothing else. Everything is drawn from one seed, so the same
versions on the same kind of machine give the same weights. The folder it writes loads with
`AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from pathlib import Path

import torch
from tiny_skills import COMMON_WORDS, KEYWORDS, SHARES, Example, write_example
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, EOS = "<pad>", "<eos>"
JOINER = "\x1f"
OPENING_SIGNS = "'\"(<\n"
VOCABULARY = 1280
CONTEXT = 512
THREADS = 2
COPYING_SHARE = 0.12  # of the steps, at first, teach only to copy
CHUNK = 8  # batches drawn together, so that rows of like length share a batch
DEFAULT_OUT = Path(__file__).parents[1] / "runner" / "flywheel" / "student" / "tiny"
IGNORED = -100
EXAMPLES_MEASURED = 100

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def train_tokenizer(seed: int, rows: int = 20_000) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE in which each digit is a token of its own.

    A word without a space before it (after a quote or a bracket, or at the start) gets a joiner and a space: so a
    word is the same tokens wherever it stands, and to copy it is to repeat them. Decoding takes the joiners out.
    """
    rng = random.Random(seed)
    corpus = ["".join(write_example(rng)) for _ in range(rows)] + COMMON_WORDS * 150 + KEYWORDS * 400
    tokenizer = Tokenizer(models.BPE())
    openings = [normalizers.Replace(Regex(rf"[{sign}](?=\p{{L}})"), f"{sign}{JOINER} ") for sign in OPENING_SIGNS]
    tokenizer.normalizer = normalizers.Sequence([*openings, normalizers.Prepend(f"{JOINER} ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?[^\p{L}\d\s]|."), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace(f"{JOINER} ", "")])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Return a randomly initialised model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def collate(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> Batch:
    """Return input ids, attention mask and labels; only completions count for the loss."""
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    answers = tokenizer([example.completion + EOS for example in examples])["input_ids"]
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    ids = torch.full((len(examples), length), tokenizer.pad_token_id)
    labels = torch.full((len(examples), length), IGNORED)
    mask = torch.zeros((len(examples), length), dtype=torch.long)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
        mask[row, :end] = 1
    return ids, mask, labels


def pretrain(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, batch_size: int, rate: float, seed: int
) -> None:
    """Train on fresh examples with AdamW, a short warm-up and a linear decay."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, (steps - step) / max(1, steps - 100))
    )
    model.train()
    began = time.monotonic()
    for chunk_start in range(0, steps, CHUNK):
        chunk = min(CHUNK, steps - chunk_start)
        first = chunk_start < steps * COPYING_SHARE
        examples = [write_example(rng, first) for _ in range(batch_size * chunk)]
        examples.sort(key=lambda example: len(example.prompt) + len(example.completion))
        batches = [examples[start : start + batch_size] for start in range(0, len(examples), batch_size)]
        rng.shuffle(batches)
        for batch in batches:
            ids, mask, labels = collate(tokenizer, batch)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if chunk_start // CHUNK % 12 == 0:
            print(f"step {chunk_start:5d} loss {loss.item():.3f} {time.monotonic() - began:.0f} s", flush=True)


@torch.no_grad()
def accuracy_by_skill(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, each: int
) -> dict[str, float]:
    """Return the exact-match accuracy of greedy answers on fresh examples of each skill."""
    rng = random.Random(seed)
    scores: Counter[str] = Counter()
    model.eval()  # type: ignore[no-untyped-call]
    for skill in SHARES:
        examples = [skill(rng) for _ in range(each)]
        inputs = tokenizer([example.prompt for example in examples], return_tensors="pt", padding=True)
        inputs.pop("token_type_ids", None)
        output = model.generate(**inputs, max_new_tokens=80, do_sample=False)  # type: ignore[misc]
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        scores[skill.__name__] = sum(text == ex.completion for text, ex in zip(texts, examples, strict=True))
    return {name: hits / each for name, hits in scores.items()}


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the folder that `builtin:tiny` stands for."""
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


MODEL_CARD = """# builtin:tiny

A Llama of {parameters:,} parameters (hidden size 128, 4 layers, 4 heads, context 512) with a byte-level BPE of
{tokens:,} tokens in which every digit is a token of its own. It has no chat template. Weights are float32.

It was trained from scratch by `scripts/train_tiny.py`, {steps:,} steps of {batch_size} examples with seed {seed}, on
the procedurally generated skills of `scripts/tiny_skills.py`: copying, looking up, ordering, small arithmetic,
filling templates, extracting fields, choosing a label, and the simplest forms of SQL. No text from people and no row
of the project's evals was used. The guard suite `basics` asks in these SQL wordings on purpose; the wordings of the
holdout and of the teachers are others. It knows nothing: it is a small student that learns quickly.

Exact match of greedy answers on {each} fresh examples of each skill:

| skill | exact match |
|---|---|
{scores}
"""


def write_model_card(out: Path, scores: dict[str, float], facts: dict[str, int]) -> None:
    """Say beside the weights what they are and what they can do."""
    table = "\n".join(f"| {name} | {score:.2f} |" for name, score in scores.items())
    (out / "MODEL_CARD.md").write_text(MODEL_CARD.format(scores=table, **facts))


def main() -> None:
    """Train, measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)

    tokenizer = train_tokenizer(options.seed)
    model = new_model(tokenizer, options.seed)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    pretrain(model, tokenizer, options.steps, options.batch_size, options.rate, options.seed)
    scores = accuracy_by_skill(model, tokenizer, options.seed + 1, EXAMPLES_MEASURED)
    print("\n".join(f"{name:18s} {score:.2f}" for name, score in scores.items()))
    save(model, tokenizer, options.out)
    facts = {
        "parameters": model.num_parameters(),
        "tokens": len(tokenizer),
        "steps": options.steps,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "each": EXAMPLES_MEASURED,
    }
    write_model_card(options.out, scores, facts)


if __name__ == "__main__":
    main()
