"""The front matter of a model's page, as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.student import StudentFiles


def front_matter(
    name: str, student: StudentFiles, *, merged: bool, license: str | None, scores: Mapping[str, float]
) -> str:
    """YAML between its two rules. `scores`: suite → mean on the holdout, 0 to 1. A base that is not on the hub is not
    named: the hub would look for it there."""
    # A tenth of a second, for those who make a card.
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation", dataset_type=suite, dataset_name=f"{suite} (holdout)", metric_type="accuracy",
            metric_value=round(mean, 6),
        )
        for suite, mean in sorted(scores.items())
    ]  # fmt: skip
    card = ModelCardData(
        base_model=student.name if student.revision is not None else None,
        library_name="transformers" if merged else "peft",
        license=license,
        tags=["flywheel"] if merged else ["flywheel", "lora"],
        model_name=name,
        eval_results=results or None,
        pipeline_tag="text-generation",
    )
    return f"---\n{card.to_yaml()}\n---\n\n"
