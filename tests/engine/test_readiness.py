"""What would fail in the middle of a run is said before it: no sandbox, no price, no key."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.errors import SpecInvalid
from flywheel.sandbox import Capability, SandboxUnavailable
from flywheel.student import four_bits
from mini_domain import Domain


def with_programs(domain: Domain, **settings: Any) -> Domain:
    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["runs"] = {"kind": "code", "tests": "label"}
        spec["tasks"]["colour"]["verify"] = ["known", "runs"]
        spec.update(settings)

    return domain.edit(change)


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every tier is refused."""
    monkeypatch.setattr(
        "flywheel.sandbox.sandbox.capability", lambda: Capability("none", (("namespaces", "not here"),))
    )


def ran(domain: Domain) -> list[str]:
    return [row["name"] for row in domain.query("SELECT name FROM nodes")]


@pytest.mark.usefixtures("no_sandbox")
def test_programs_without_a_sandbox_stop_apply_before_anybody_is_asked(domain: Domain) -> None:
    asked: list[Any] = []
    with pytest.raises(SandboxUnavailable) as refused:
        with_programs(domain).apply(confirm=lambda plan: asked.append(plan) or True)

    assert str(refused.value).startswith("no sandbox works on this machine (namespaces: not here).")
    assert "allow_unsafe_execution: true" in str(refused.value)
    assert (asked, ran(domain), domain.calls("asked")) == ([], [], [])


@pytest.mark.usefixtures("no_sandbox")
@pytest.mark.parametrize(
    "change",
    [
        lambda domain: with_programs(domain, allow_unsafe_execution=True),
        lambda domain: with_programs(domain).edit(lambda s: s["tasks"]["colour"].update(verify=["known"])),
    ],
    ids=["allowed", "not used"],
)
def test_who_accepts_the_risk_or_judges_no_program_goes_on(domain: Domain, change: Any) -> None:
    asked: list[Any] = []
    change(domain).apply(confirm=lambda plan: bool(asked.append(plan)))
    assert len(asked) == 1


@pytest.mark.usefixtures("no_sandbox")
def test_what_is_done_needs_no_sandbox(applied: Domain) -> None:
    assert applied.apply().exit_code == 0


PAID = {"kind": "litellm", "model": "openai/nobody-knows-this-one", "api_base": "http://127.0.0.1:9"}


def with_judge(domain: Domain, **teacher: Any) -> Domain:
    (domain.root / "rubric.md").write_text("Is it so?")

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["critic"] = {**PAID, **teacher}
        spec["verifiers"]["good"] = {"kind": "judge", "teacher": "critic", "rubric": "rubric.md"}
        # Beside the task that is measured: a judge that nobody calibrated may not gate.
        spec["tasks"]["rated"] = {**spec["tasks"]["colour"], "verify": ["good"]}
        spec["generate"][0]["task"] = "colour"
        spec["generate"].append({**spec["generate"][0], "name": "rated", "task": "rated"})

    return domain.edit(change)


@pytest.mark.parametrize("key", ["judge", "suite"])
def test_a_limit_of_dollars_needs_the_price_of_judges_and_of_teachers_that_answer_suites(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    # litellm knows no such model; finding that out takes its import, which is slow.
    monkeypatch.setattr("flywheel.teachers.prices.price_of", lambda teacher: None)

    def answers(spec: dict[str, Any]) -> None:
        spec["teachers"]["critic"] = PAID
        spec["evals"]["holdout"]["teachers"] = ["critic"]

    if key == "judge":
        with_judge(domain)
    else:
        domain.edit(answers)
    domain.edit(lambda s: s["loop"].update(max_usd=1.0))
    with pytest.raises(SpecInvalid, match=r"the price of .*nobody-knows-this-one.* is not known") as invalid:
        domain.apply()

    [fault] = invalid.value.faults
    assert fault.path == ("teachers", "critic")
    assert fault.line > 0
    assert (ran(domain), domain.calls("asked")) == ([], [])


def blocked(domain: Domain) -> dict[str, str]:
    return dict(domain.open().facts().blocked)


def test_a_generator_whose_judge_has_no_key_is_blocked(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRITIC_KEY", raising=False)
    with_judge(domain, api_key="${env:CRITIC_KEY}")
    reason = "the environment variable CRITIC_KEY is not set."

    assert blocked(domain) == {"rated": reason}
    nodes = {node.name: node for node in domain.plan().nodes}
    assert (nodes["i1.generate.rated.r1"].status, nodes["i1.generate.rated.r1"].why) == ("blocked", (reason,))
    assert nodes["i1.generate.targeted.r1"].status == "new"

    monkeypatch.setenv("CRITIC_KEY", "a")
    assert blocked(domain) == {}


@pytest.mark.parametrize("base", [None, "http://${env:CRITIC_HOST}/v1"])
def test_an_apply_that_lacks_a_variable_ends_before_anything_is_probed(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, base: str | None
) -> None:
    monkeypatch.delenv("CRITIC_KEY", raising=False)
    monkeypatch.setenv("CRITIC_HOST", "host:not-a-port")
    with_judge(domain, api_key="${env:CRITIC_KEY}", **({"api_base": base} if base else {}))

    with pytest.raises(SpecInvalid, match="the environment variable CRITIC_KEY is not set"):
        domain.apply()
    if base:
        monkeypatch.setenv("CRITIC_KEY", "a")
        with pytest.raises(SpecInvalid, match=r"the address that CRITIC_HOST gives is no address") as invalid:
            domain.apply()
        assert "not-a-port" not in str(invalid.value)

    assert (ran(domain), domain.calls("asked")) == ([], [])


def test_a_generator_whose_stand_in_has_no_key_is_blocked(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARE_KEY", raising=False)

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["spare"] = {**PAID, "api_key": "${env:SPARE_KEY}"}
        spec["teachers"]["careful"]["fallback"] = ["spare"]

    assert blocked(domain.edit(change)) == {"targeted": "the environment variable SPARE_KEY is not set."}


def test_validate_names_what_is_not_set_and_is_content(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRITIC_KEY", raising=False)
    done = with_judge(domain, api_key="${env:CRITIC_KEY}").run("validate")

    assert done.returncode == 0
    assert "teachers.critic.api_key: the environment variable CRITIC_KEY is not set." in done.stderr
    assert done.stderr.startswith("warning: flywheel.yaml:")


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_that_litellm_refuses_is_a_warning_and_stops_apply_before_anybody_is_asked(
    domain: Domain, flywheel: Any
) -> None:
    model = {"kind": "litellm", "model": "my-model", "api_base": "http://127.0.0.1:9/v1"}
    domain.edit(lambda spec: spec["teachers"].update(smart=model))
    teachers = ["careful", "careless", "smart"]
    domain.edit(lambda spec: spec["generate"][0].update(teachers=teachers, prompt="prompts/colour.md"))
    said = 'teachers.smart.model: litellm knows no provider for "my-model"'

    code, out, error = flywheel(domain, "validate")
    assert (code, out, error.count("warning: ")) == (0, "flywheel.yaml: valid\n", 1)
    assert error.startswith("warning: flywheel.yaml:")
    assert said in error
    assert "Write openai/my-model" in error

    code, _, error = flywheel(domain, "apply")
    assert (code, ran(domain)) == (4, [])
    assert said in error


def test_models_that_were_found_right_are_not_looked_for_again(
    domain: Domain, flywheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain.edit(lambda spec: spec["teachers"].update(smart={"kind": "litellm", "model": "gpt-4o-mini"}))
    teachers = ["careful", "careless", "smart"]
    domain.edit(lambda spec: spec["generate"][0].update(teachers=teachers, prompt="prompts/colour.md"))
    assert flywheel(domain, "validate")[2] == ""

    monkeypatch.setattr("flywheel.engine.project.unrouted", lambda *_: pytest.fail("asked again"))
    assert flywheel(domain, "validate")[2] == ""


# --- training by a command --------------------------------------------------------------------------------------------


def test_a_launcher_that_is_not_here_is_a_warning_and_stops_apply_before_anything_runs(
    domain: Domain, flywheel: Any
) -> None:
    domain.edit(lambda spec: spec["train"].update(launch="torchrnu --nproc-per-node 2"))
    said = 'train.launch: no program "torchrnu" is here. Did you mean "torchrun"?'

    code, out, error = flywheel(domain, "validate")
    assert (code, out) == (0, "flywheel.yaml: valid\n")
    assert error.startswith("warning: flywheel.yaml:")
    assert said in error

    code, _, error = flywheel(domain, "apply")
    assert (code, domain.calls("asked")) == (4, [])
    assert said in error

    code, out, _ = flywheel(domain, "doctor")
    assert code == 1
    assert 'no program "torchrnu" is here' in out
    assert 'Did you mean "torchrun"?' in out


def test_the_doctor_says_that_a_launcher_is_here_and_nothing_where_there_is_none(domain: Domain, flywheel: Any) -> None:
    assert "train.launch" not in flywheel(domain, "doctor")[1]
    domain.edit(lambda spec: spec["train"].update(launch="python -m torch.distributed.run"))
    line = next(line for line in flywheel(domain, "doctor")[1].splitlines() if "train.launch" in line)
    assert "python is here" in line


def test_where_a_training_runs_is_no_other_training(domain: Domain) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=1)).apply()

    assert domain.edit(lambda spec: spec["train"].update(launch="torchrun --nproc-per-node 2")).apply().ran == 0


def test_4_bits_are_the_business_of_the_machine_that_trains(domain: Domain, flywheel: Any) -> None:
    domain.edit(lambda spec: spec["train"].update(quantize="4bit", launch="torchrun --nproc-per-node 2"))

    assert flywheel(domain, "validate")[2] == ""
    assert "quantize" not in flywheel(domain, "doctor")[1]


@pytest.mark.parametrize(("launch", "said"), [("torchrun '--x", "no closing quotation"), ("  ", "it is empty")])
def test_a_launch_that_is_no_command_line_is_no_valid_spec(
    domain: Domain, flywheel: Any, launch: str, said: str
) -> None:
    domain.edit(lambda spec: spec["train"].update(launch=launch))

    code, _, error = flywheel(domain, "validate")

    assert code == 4
    assert "train.launch" in error
    assert said in error


# --- training in 4 bits -----------------------------------------------------------------------------------------------


LACK = ("4bit needs a GPU that torch has for cuda, and none is here.", "Train on a machine that has one.")


def test_a_training_that_this_machine_cannot_do_is_a_warning_and_stops_apply_before_anything_runs(
    domain: Domain, flywheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(four_bits, "lack", lambda in_depth=False: LACK)
    domain.edit(lambda spec: spec["train"].update(quantize="4bit"))

    code, out, error = flywheel(domain, "validate")
    assert (code, out) == (0, "flywheel.yaml: valid\n")
    assert error.count("warning: ") == 1
    assert "train.quantize: " + LACK[0] in error

    code, _, error = flywheel(domain, "apply")
    assert (code, domain.calls("asked")) == (4, [])
    assert "train.quantize: " + LACK[0] in error
    assert "warning" not in error

    code, out, _ = flywheel(domain, "doctor")
    assert code == 1
    assert LACK[0] in out


def test_where_nothing_is_to_be_trained_4_bits_are_not_needed(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "lack", lambda in_depth=False: None)
    domain.edit(lambda spec: (spec["train"].update(quantize="4bit"), spec["loop"].update(iterations=1))).apply()
    monkeypatch.setattr(four_bits, "lack", lambda in_depth=False: LACK)
    domain.edit(lambda spec: spec["gate"][0].update(confidence=0.7))

    outcome = domain.apply()

    assert (outcome.failed, outcome.ran > 0) == ([], True)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_4_bits_and_a_device_that_has_none_are_no_valid_spec(domain: Domain, flywheel: Any, device: str) -> None:
    domain.edit(lambda spec: (spec["train"].update(quantize="4bit"), spec["student"].update(device=device)))

    code, _, error = flywheel(domain, "validate")

    assert code == 4
    assert f"train.quantize: 4bit needs a GPU that torch has for cuda, and student.device is {device}." in error


def test_doctor_says_nothing_of_4_bits_where_nobody_wants_them(domain: Domain, flywheel: Any) -> None:
    assert "quantize" not in flywheel(domain, "doctor")[1]
    domain.edit(lambda spec: spec["train"].update(quantize="5bit"))
    assert "quantize" not in flywheel(domain, "doctor")[1]
