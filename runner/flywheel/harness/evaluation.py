"""One arm on all suites, in the model worker."""

from __future__ import annotations

from typing import Any

from flywheel.harness.model import answering_model
from flywheel.harness.named import run_named
from flywheel.harness.suites import Evaluated, EvaluationJob, Progress, offline_unless_asked, quiet, run_own
from flywheel.hashing import fingerprint, short
from flywheel.student.loading import Loaded, load


def evaluate(job: EvaluationJob, progress: Progress) -> Evaluated:
    """Runs in the model worker. Raises NodeFailed where lm-eval cannot run a suite."""
    offline_unless_asked()
    quiet()
    loaded = load(job.asking.arm(job.arm))
    lm = answering_model(loaded, job.asking, progress)
    results, settings = run_own(lm, job), _settings(loaded, lm, job)
    named, share = [suite for suite in job.suites if suite.lm_eval is not None], job.asking.share
    if named and loaded.engine is not None:  # lm-eval asks for likelihoods, too
        lm = answering_model(load(job.arm), job.asking, progress)
    for number, suite in enumerate(named):
        if number % share.of == share.number:
            results[suite.name] = run_named(lm, suite, job)
            progress({"suite": suite.name, "done": len(results[suite.name])})
    return Evaluated({suite.name: results.get(suite.name, []) for suite in job.suites}, settings)


def _settings(loaded: Loaded, lm: Any, job: EvaluationJob) -> dict[str, Any]:
    template = loaded.tokenizer.chat_template
    return {
        "device": loaded.device,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "batch_size": job.asking.batch_size,
        "max_new_tokens": job.asking.max_new_tokens,
        "context": lm.max_length,
        "chat_template": short(fingerprint(template)) if template else None,
        "system": job.asking.chat.system if template else None,
        **({"chat_template_kwargs": dict(job.asking.chat.template)} if job.asking.chat.template else {}),
        **({"engine": loaded.engine.version} if loaded.engine and loaded.engine.version else {}),
        "seed": job.seed,
    }
