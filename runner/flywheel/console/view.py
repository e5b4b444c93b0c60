"""What is known of a run while it lasts, fed by its events, and what a step says in a few words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.plan.verbs import VERBS
from flywheel.records.fates import in_words
from flywheel.student.work import plain_merge_warning
from flywheel.text import about, duration, one_line, pace, plural, signed, usd

Event = dict[str, Any]


@dataclass
class NodeView:
    """What is known of one node. `since` is when what is counted now began, `at` when it was last told of, both in
    seconds as `time.time` has them; `begun`: what was done of it then."""

    kind: str
    iteration: int
    state: str
    done: int = 0
    total: int = 0
    what: str = ""
    words: str = ""
    started: float = 0.0
    since: float = 0.0
    at: float = 0.0
    begun: int = 0
    seconds: float = 0.0
    had_nothing_to_do: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "reused")

    def progress(self, event: Event) -> None:
        done, total = event.get("done") or 0, event.get("total") or 0
        what = " on ".join(str(event[key]) for key in ("what", "suite") if event.get(key))
        if (what, total) != (self.what, self.total) or done < self.done or done == self.begun:
            # From what is told last before the first is done: what came before was loading, or is of a run that was
            # killed.
            self.since, self.begun, self.words = event["at"], done, ""
        self.done, self.total, self.what, self.at = done, total, what, event["at"]
        if "loss" in event:
            self.words = f"loss {event['loss']:.3f}"
        elif done and "passed" in event:
            self.words = f"{event['passed'] / done:.0%} pass"

    @property
    def each_second(self) -> float:
        """How many were done a second; 0.0 before the first."""
        counted, elapsed = self.done - self.begun, self.at - self.since
        return counted / elapsed if counted > 0 and elapsed > 0 else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Of what is counted now; None before the first, and after the last."""
        if not self.each_second or self.done >= self.total:
            return None
        return max(0.0, (self.total - self.done) / self.each_second - (now - self.at))

    def in_words(self, now: float) -> str:
        """How far a running node is: `96/400 answers  12/s  26 s left  0.8 s`."""
        left = self.seconds_left(now)
        parts = (
            f"{self.done:,}/{self.total:,} {self.what}".rstrip() if self.total else "",
            self.words,
            pace(self.each_second) if self.each_second else "",
            f"{about(left)} left" if left is not None else "",
            f"{duration(now - self.started)} so far",
        )
        return "  ".join(part for part in parts if part)


@dataclass
class RunView:
    """The state of a run, fed by events."""

    name: str = ""
    nodes: dict[str, NodeView] = field(default_factory=dict)
    teachers: dict[str, Event] = field(default_factory=dict)
    usd: float = 0.0
    calls: int = 0
    began: float = field(default_factory=time.time)
    has_ended: bool = False

    def take(self, event: Event) -> None:
        match event["event"]:
            case "run_started":
                self.name, self.has_ended = event["name"], False
                self.nodes = {name: NodeView(kind, n, state) for name, kind, n, state in event["nodes"]}
            case "node_started":
                node = self.nodes[event["node"]]
                node.state, node.started, node.at = "running", event["at"], event["at"]
            case "progress":
                self.nodes[event["node"]].progress(event)
            case "calls":
                self.teachers[event["teacher"]] = event
            case "node_done":
                self._done(self.nodes[event["node"]], event)
            case "node_failed":
                node = self.nodes[event["node"]]
                node.state, node.words = "failed", one_line(event["error"], 400)
            case "run_ended":
                self.has_ended = True

    def _done(self, node: NodeView, event: Event) -> None:
        node.state, node.seconds, node.words = "done", event["seconds"], found_in_words(node.kind, event)
        # A refill round with nothing to refill is not news.
        node.had_nothing_to_do = event["counts"].get("rows_in") == 0 and VERBS[node.kind].is_refilled
        self.usd += event["summary"].get("usd") or 0.0
        self.calls += event["summary"].get("calls") or 0

    @property
    def running(self) -> dict[str, NodeView]:
        return {name: node for name, node in self.nodes.items() if node.state == "running"}

    @property
    def asking(self) -> dict[str, str]:
        """Teacher → how far it is, of those that have calls to answer."""
        return {name: _calls_in_words(said) for name, said in list(self.teachers.items()) if _is_asked(said)}


def _is_asked(said: Event) -> bool:
    return bool(said["done"] + said["cached"] < said["asked"])


def _calls_in_words(said: Event) -> str:
    done, asked, each_second = said["done"], said["asked"] - said["cached"], said["calls_per_second"]
    parts = (
        f"{done:,}/{plural(asked, 'call')}",
        f"{said['failed']:,} failed" if said["failed"] else "",
        pace(each_second) if each_second else "",
        f"{about((asked - done) / each_second)} left" if each_second else "",
        usd(said["usd"]) if said["usd"] else "",
    )
    return "  ".join(part for part in parts if part)


# --- what a finished node found ---------------------------------------------------------------------------------------


def ablated(summary: Mapping[str, Any]) -> str:
    if not summary["measured"]:
        return f"not measured: {summary['why']}"
    gain, low, high = (signed(100 * summary[name]) for name in ("difference", "low", "high"))
    return f"{summary['without']} brings {gain} points ({low} to {high})"


def found_in_words(kind: str, event: Event) -> str:
    """What a finished node found, in a few words."""
    summary, counts = event["summary"], event["counts"]
    match kind:
        case "probe" | "mine":
            right, wrong = summary["right"], summary["wrong"]
            return in_words({"pass": right, "fail": wrong, "unknown": summary["rows"] - right - wrong}) + _notes(
                summary
            )
        case "diagnose":
            modes = ", ".join(f"{mode} {n}" for mode, n in list(summary["modes"].items())[:4])
            unknown = f" ({_undecided(summary['undecided'])})" if summary.get("undecided") else ""
            return f"{plural(summary['failures'], 'failure')}: {modes}{unknown}" if modes else "no failures"
        case "budget":
            return plural(sum(summary["lessons"].values()), "lesson") + " to buy"
        case "generate":
            failed = sum(summary["calls_failed"].values())
            broken = f", {failed} failed" if failed else ""
            asked = f"{plural(summary['calls'], 'call')}{broken}"
            return f"{plural(counts['kept'], 'candidate')} from {asked}" + _notes(summary)
        case "verify":
            return in_words(summary["fates"])
        case "curate":
            dropped = sum(summary["dropped"].values())
            rows = sum(summary["origins"].values())
            return f"{summary['new']} kept, {dropped} dropped; {plural(rows, 'training row')}" + _next(summary)
        case "train":
            if not summary["trained"]:
                return f"not trained: {summary['why']}"
            return f"{plural(summary['steps'], 'step')}, loss {summary['loss']:.3f}" + _notes(summary)
        case "sample":
            return _sampled(summary)
        case "prefer":
            if not summary["trained"]:
                return f"unchanged: {summary['why']}"
            learned = plural(summary["rows"], _UNITS[summary["method"]])
            return f"{plural(summary['steps'], 'step')} on {learned}" + _notes(summary)
        case "ablate":
            return ablated(summary)
        case "curve":
            return f"{plural(summary['steps'], 'step')} on {plural(summary['lessons'], 'lesson')}"
        case "evaluate":
            warning = plain_merge_warning(summary.get("effect") or {})
            return _scores(summary["scores"]) + (f"; {warning}" if warning else "")
        case "shadow":
            return _replayed(summary) + _notes(summary)
        case "gate":
            return str(summary["explanation"])
        case "report":
            return str(summary["path"])
        case "deploy":
            return f"deployed {summary['model_id']}" if summary["deployed"] else f"not deployed: {summary['why']}"
    return ""


_UNITS = {"dpo": "pair", "kto": "answer", "grpo": "answer"}


def _sampled(summary: Mapping[str, Any]) -> str:
    earned = f"{summary['reward']:.1%} right" if summary["reward"] is not None else "none could be judged"
    unknown = f", {summary['unknown']:,} unknown" if summary["unknown"] else ""
    return (
        f"{plural(summary['answers'], 'answer')} to {plural(summary['questions'], 'question')}: {earned}{unknown}; "
        f"{plural(summary['learnable'], 'question')} with some right and some wrong"
    )


def _replayed(summary: Mapping[str, Any]) -> str:
    if not summary["rows"]:
        return f"nothing replayed: {summary['why']}"
    changed = summary["rows"] - summary["same"]
    judged = f"; {summary['fixed']:,} become right, {summary['broken']:,} wrong" if summary["judged"] else ""
    return f"{changed:,} of {plural(summary['rows'], 'answer')} change{judged}"


def _notes(summary: Mapping[str, Any]) -> str:
    return "".join(f"; {note}" for note in summary.get("notes", ()))


def _next(summary: Mapping[str, Any]) -> str:
    """Of the pairs next to the threshold of meaning the least alike, of those that agree in numbers and names."""
    near = [pair for pair in summary.get("alike", ()) if pair["agree"]]
    if not near:
        return ""
    pair = near[-1]
    one, other = (one_line(pair[side], 60) for side in ("one", "other"))
    return f"; least alike shown ({pair['similarity']:.3f}): “{one}” and “{other}”"


def _undecided(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Predicates that could not be computed for some failures; why, of the first."""
    counts = ", ".join(f"{where} of {said['rows']}" for where, said in list(found.items())[:3])
    return f"unknown: {counts}; {next(iter(found.values()))['why']}"


def _scores(scores: dict[str, float]) -> str:
    suites = dict.fromkeys(name.rsplit("/", 1)[0] for name in scores)
    parts = []
    for suite in suites:
        arms = [scores.get(f"{suite}/{arm}") for arm in ("incumbent", "candidate")]
        parts.append(f"{suite} " + " → ".join(f"{score:.1%}" for score in arms if score is not None))
    return ", ".join(parts)
