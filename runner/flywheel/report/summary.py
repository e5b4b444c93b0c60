"""The iteration in short: markdown for a pull request, JUnit XML for a build server."""

from __future__ import annotations

from xml.etree import ElementTree

from flywheel.records.decision import RuleResult
from flywheel.report import words
from flywheel.report.markdown import plain, table
from flywheel.report.model import AuditRate, Rate, Report, Score
from flywheel.text import usd

_SIGNS = {"holds": "✅ holds", "fails": "❌ fails", "undecided": "❔ undecided"}


def render_summary(report: Report) -> str:
    """Markdown: verdict, rules, scores, error modes, cost. All text is escaped, whoever wrote it."""
    parts = [
        f"## {plain(report.name)}, iteration {report.iteration}: {words.standing(report.verdict)}",
        plain(report.verdict.headline),
        _warnings(report),
        _rules(report),
        _blocks(report),
        _scores(report),
        _modes(report),
        _shadow(report),
        _strategies(report),
        _rewards(report),
        _trust(report),
        _cost(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rules(report: Report) -> str:
    rows = [
        [
            _SIGNS[r.outcome],
            plain(words.demand(r)),
            words.observed(r),
            words.observed_interval(r),
            f"{r.items:,}",
        ]
        for r in report.verdict.rules
    ]
    return table(["", "rule", "observed", "interval", "items"], rows)


def _blocks(report: Report) -> str:
    blocks = [p for p in report.verdict.preconditions if not p.holds]
    warned = [p for p in report.verdict.preconditions if p.warning]
    lines = [f"- **Blocked:** {plain(p.name)}: {plain(p.detail)}" for p in blocks]
    return "\n".join([*lines, *(f"- **Warning:** {plain(p.warning)}" for p in warned)])


def _scores(report: Report) -> str:
    return table(["suite", "incumbent", "candidate", "difference"], [_score(s) for s in report.scores.suites])


def _share(rate: Rate | None) -> str:
    return words.percent(rate.value if rate else None)


def _score(score: Score) -> list[str]:
    before, after = (_share(rate) for rate in (score.incumbent, score.candidate))
    change = f"{words.points(score.change.value)} ({words.interval(score.change)})" if score.change else "–"
    return [f"{plain(score.suite)} ({score.role})", before, after, change]


def _modes(report: Report) -> str:
    rows = [
        [
            plain(mode.name),
            _share(mode.before),
            f"{mode.trained:,}",
            _share(mode.after),
            f"{words.points(mode.change.value)} ({words.interval(mode.change)})" if mode.change else "–",
        ]
        for mode in report.modes.rows
    ]
    unknown = [f"Unknown: {plain(line)}" for line in report.modes.undecided]
    return "\n\n".join([table(["error mode", "before", "lessons", "after", "change"], rows), *unknown])


def _shadow(report: Report) -> str:
    """The replay before the promotion; evidence, which the gate does not read."""
    return "\n".join(f"- Shadow replay, {plain(words.replayed(found))}" for found in report.shadow)


def _rewards(report: Report) -> str:
    if report.rewards is None:
        return ""
    rows = [[str(r.round), _share(r.reward), f"{r.answers:,}", f"{r.units:,}"] for r in report.rewards.rounds]
    shown = table(["round", "reward before it", "answers", "learned from"], rows)
    return f"{plain(report.rewards.verdict)}\n\n{shown}"


def _warnings(report: Report) -> str:
    lines = []
    if report.provenance.tainted:
        lines.append("**Untrusted code ran without a sandbox: do not deploy on these figures.**")
    if report.approvals.state:
        lines.append(f"Approval: {plain(report.approvals.state)}.")
    lines += [f"On live traffic {plain(test.model_id)} {test.verdict}: {plain(test.found)}." for test in report.live]
    lines += [f"**{plain(found.text)}** {plain(found.remedy)}" for found in report.baseline.artefacts]
    lines += [plain(said) for said in (*(row.text for row in report.baseline.shots), report.baseline.advice) if said]
    lines += [plain(said) for said in (words.far_below(report.scores), *report.baseline.constants) if said]
    return "\n\n".join(lines)


def _strategies(report: Report) -> str:
    rows = [
        [
            plain(row.name),
            f"{row.candidates:,}",
            f"{row.accepted:,} ({_share(row.acceptance)})",
            usd(row.usd_per_accepted),
            words.percent(row.dataset_share),
        ]
        for row in report.strategies.rows
    ]
    return table(["strategy", "candidates", "accepted", "per accepted lesson", "share of dataset"], rows)


def _trust(report: Report) -> str:
    """What the verifiers' audit says, and whose never was."""
    lines = [
        f"- {plain(row.task)}: all verifiers together accept {_audit_rate(row.false_accept)} of wrong answers and "
        f"reject {_audit_rate(row.false_reject)} of right ones."
        for row in report.audit.rows
        if not row.verifier
    ]
    if report.audit.never:
        lines.append(f"- Never audited: {plain(', '.join(report.audit.never))}. Run flywheel audit.")
    lines += [f"- Judge {plain(judge.verifier)} is not calibrated." for judge in report.audit.judges if judge.problem]
    return "\n".join(lines)


def _audit_rate(rate: AuditRate) -> str:
    return f"{words.percent(rate.rate.value)} ({words.interval(rate.rate)})" if rate.rate else "(not measured)"


def _cost(report: Report) -> str:
    costs, simulated = report.costs, [plain(t.name) for t in report.teachers.rows if t.simulated]
    line = (
        f"{report.funnel.stages[-1].rows:,} new lessons of {report.funnel.stages[0].rows:,} candidates, "
        f"{usd(costs.usd)}, {words.seconds(costs.seconds)}."
    )
    line = f"{line} {words.lessons_beside_people(report.strategies)}".strip()
    return f"{line} Simulated teachers: {', '.join(simulated)}." if simulated else line


def render_junit(report: Report) -> str:
    """One test case a rule and a precondition; what is open is a failure of type "undecided"."""
    verdict = report.verdict
    suite = ElementTree.Element("testsuite", name=f"{report.name} gate, iteration {report.iteration}")
    for rule in verdict.rules:
        _rule_case(suite, rule)
    for check in verdict.preconditions:
        _case(suite, check.name, "" if check.holds else "precondition", check.detail)
    _approval_case(suite, report)
    if verdict.outcome == "untrained":
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name="candidate")
        ElementTree.SubElement(case, "skipped", message=words.shown(verdict.headline))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _approval_case(suite: ElementTree.Element, report: Report) -> None:
    """A person's word, where one is needed: skipped while nobody has spoken."""
    approvals = report.approvals
    if approvals.rows:
        refused = approvals.rows[-1].verdict != "approve"
        _case(suite, "approval", "rejected" if refused else "", f"{approvals.state}: {approvals.rows[-1].note}")
    elif approvals.needed:
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name="approval")
        ElementTree.SubElement(case, "skipped", message=approvals.state)


def _rule_case(suite: ElementTree.Element, rule: RuleResult) -> None:
    fault = {"holds": "", "fails": "failed", "undecided": "undecided"}[rule.outcome]
    _case(suite, rule.label, fault, rule.explanation)


def _case(suite: ElementTree.Element, name: str, fault: str, detail: str) -> None:
    """`fault` empty: it holds, and the detail is its output."""
    case = ElementTree.SubElement(suite, "testcase", classname="gate", name=words.shown(name, 200))
    if fault:
        ElementTree.SubElement(case, "failure", type=fault, message=words.shown(detail))
    else:
        ElementTree.SubElement(case, "system-out").text = words.shown(detail)
