"""The page: self-contained, inert, and showing what the report holds."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from turned_wheel import Turned

from flywheel.records.nodes import Query
from flywheel.report import Report, index_entry, render, render_index, words
from flywheel.report.model import ItemAnswer, ShownItem
from flywheel.text import usd


class Page(HTMLParser):
    """Tags with attributes, and the text outside of `style`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.stack: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "circle", "line", "rect", "polyline"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> without a start"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(params=["promoted", "rejected", "untrained", "doubtful"])
def report(request: pytest.FixtureRequest) -> Report:
    found: Report = request.getfixturevalue(request.param)
    return found


def test_tags_are_balanced_and_the_page_is_small(report: Report) -> None:
    html = render(report)
    assert Page(html).stack == []
    assert len(html.encode()) < 300_000


def test_nothing_is_fetched_or_run(report: Report) -> None:
    page = Page(render(report))
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "img", "link", "iframe", "object", "embed", "form", "base"}
    )
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
    links = [a["href"] or "" for a in page.of("a")]
    beside = re.compile(r"#.*|\.\./index\.html(#iteration-\d+)?|\.\./iter-\d{3}/index\.html|items(\.csv|\.parquet)?")
    assert all(beside.fullmatch(link) for link in links)
    ids = {a.get("id") for _, a in page.tags}
    assert all(link[1:] in ids for link in links if link.startswith("#"))


def test_the_policy_admits_exactly_the_style(report: Report) -> None:
    html = render(report)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(a["content"] for a in Page(html).of("meta") if a.get("http-equiv"))
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_with_items_the_policy_admits_the_one_script_too(promoted: Report) -> None:
    said = ItemAnswer(outcome="pass", answer="a", mode="", reason="")
    item = ShownItem(suite="s", item_id="x", movement="", slices=(), question="q", gold="g", first=said, second=None)
    html = render(promoted, [item])
    script = re.search(r"<script>(.*?)</script>", html, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(a["content"] for a in Page(html).of("meta") if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}';" in str(policy)
    assert "innerHTML" not in script[1]
    assert "script-src" not in render(promoted)


def test_the_banner_names_the_candidate_and_what_got_worse(rejected: Report) -> None:
    banner = re.sub(r"\s+", " ", render(rejected).split('id="why"')[0])
    assert f"Candidate <code>{rejected.verdict.candidate_id}</code>" in banner
    assert "guard" in {worse.name for worse in rejected.verdict.worse}
    for worse in rejected.verdict.worse:
        assert worse.change.high < 0 or (worse.name.startswith("error mode") and worse.change.low > 0)
        assert words.points(worse.change.value) in banner
    calm = rejected.model_copy(update={"verdict": rejected.verdict.model_copy(update={"worse": ()})})
    assert "Nothing got worse beyond chance" in render(calm)


def test_a_promotion_that_is_mostly_wrong_is_not_green_and_says_so(promoted: Report) -> None:
    assert promoted.verdict.mostly_wrong == ()
    verdict = promoted.verdict.model_copy(update={"mostly_wrong": ("holdout",)})
    html = render(promoted.model_copy(update={"verdict": verdict}))
    assert '<div class="banner promote short" id="verdict">' in html
    assert "<h1>Promote: better, and still mostly wrong</h1>" in html


def test_the_page_before_is_linked_and_the_next_by_way_of_the_overview(rejected: Report) -> None:
    html = render(rejected)
    assert re.findall(r'"\.\./(iter-\d+)/', html) == ["iter-001"]
    assert '<a href="../index.html#iteration-3">next</a>' in html


def test_the_overview_has_the_places_that_pages_lead_to(wheel: Turned) -> None:
    reports = wheel.domain.root / "reports"
    places = set(re.findall(r'id="(iteration-\d+)"', (reports / "index.html").read_text()))
    led = [
        set(re.findall(r"index\.html#(iteration-\d+)", page.read_text()))
        for page in sorted(reports.glob("iter-*/index.html"))
    ]
    assert len(led) > 2
    assert set().union(*led[:-1]) <= places
    assert led[-1] <= places, "what is not there yet is said"


def test_headings_do_not_skip_levels(report: Report) -> None:
    levels = [int(tag[1]) for tag, _ in Page(render(report)).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_sections_come_in_the_promised_order(promoted: Report) -> None:
    ids = [a.get("aria-labelledby", "") for a in Page(render(promoted)).of("section")]
    assert [i.removesuffix("-h") for i in ids if i] == [
        "why", "changed", "scores", "modes", "items", "funnel", "teachers", "verifiers", "training", "ablations",
        "guards", "trend", "cost", "provenance",
    ]  # fmt: skip


def test_the_figures_of_the_report_are_on_the_page(promoted: Report) -> None:
    text = re.sub(r"\s+", " ", Page(render(promoted)).text)
    assert promoted.verdict.headline in text
    for score in (*promoted.scores.suites, *promoted.scores.slices):
        assert words.percent(score.candidate and score.candidate.value) in text  # type: ignore[arg-type]
        assert words.interval(score.change) in text
    for mode in promoted.modes.rows:
        assert mode.name in text
        assert words.interval(mode.before) in text
        assert words.interval(mode.change) in text
    for rule in promoted.verdict.rules:
        assert rule.explanation in text
        assert words.observed_interval(rule) in text
    for node in promoted.provenance.nodes:
        assert node.fingerprint in text


def test_every_query_is_shown(promoted: Report) -> None:
    text = Page(render(promoted)).text
    assert f'flywheel query "{promoted.modes.rates_query}"' in text
    assert text.count("flywheel query ") >= 18


@pytest.mark.parametrize("outcome", ["promote", "reject", "inconclusive"])
def test_the_banner_states_the_outcome(promoted: Report, outcome: str) -> None:
    verdict = promoted.verdict.model_copy(update={"outcome": outcome})
    page = render(promoted.model_copy(update={"verdict": verdict}))
    assert f'<div class="banner {outcome}" id="verdict">' in page
    assert words.TITLES[outcome] in Page(page).text  # type: ignore[index]


def test_an_untrained_iteration_shows_no_candidate(untrained: Report) -> None:
    html = render(untrained)
    text = Page(html).text
    assert "There was no candidate model to judge" in text
    assert "Nothing was trained in this iteration" in text
    shown, compared = html.split('id="scores"')[1].split('id="trend"')[0].split('id="ablations"')
    shown += compared.split('id="guards"')[1]  # what `compare` found is of another iteration
    assert "dot after" not in shown.replace('"dot after" cx="13"', "")


def test_simulated_teachers_are_named_as_simulated(promoted: Report) -> None:
    html = render(promoted)
    assert "Simulated:</strong> careful, careless." in html
    assert html.count(">simulated</span>") == 2


def test_a_missing_reason_is_said_on_the_page(promoted: Report) -> None:
    stage = promoted.funnel.stages[-1].model_copy(update={"rows": 1})
    funnel = promoted.funnel.model_copy(update={"stages": (*promoted.funnel.stages[:-1], stage)})
    assert "does not add up" in render(promoted.model_copy(update={"funnel": funnel}))
    assert "does not add up" not in render(promoted)


def test_hostile_text_is_text(hostile: Report) -> None:
    html = render(hostile)
    page = Page(html)
    assert page.stack == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert html.count("</style>") == 1
    assert not re.search("[\u2028\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", html)
    assert "<script>alert(1)</script>" in page.text
    assert len(html.encode()) < 1_000_000


def test_the_overview_is_inert_too(hostile: Report) -> None:
    page = Page(render_index([index_entry(hostile)]))
    assert page.stack == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})


def test_a_report_edited_by_hand_is_made_safe_at_the_last_border(promoted: Report) -> None:
    edited = promoted.model_copy(update={"changed": ("a\u202eb" + "z" * 2_000_000,)})
    html = render(edited)
    assert "\u202e" not in html
    assert len(html) < 1_000_000


def test_the_overview_lists_links_and_says_what_is_in_service(pages: dict[int, Report], shared_query: Query) -> None:
    page = Page(render_index([index_entry(report) for report in pages.values()]))
    links = [a["href"] for a in page.of("a") if not (a["href"] or "").startswith("#")]
    assert links == [f"iter-00{n}/index.html" for n in pages]
    [last] = shared_query("SELECT model_id FROM deployments ORDER BY sequence DESC LIMIT 1")
    assert f"{last['model_id']} is in service" in page.text
    for title in ("Promote", "Do not promote", "Nothing was trained"):
        assert title in page.text


def test_an_overview_of_nothing_says_what_to_do() -> None:
    assert "flywheel apply" in Page(render_index([])).text


def test_the_ledgers_are_on_the_page(rejected: Report) -> None:
    text = re.sub(r"\s+", " ", Page(render(rejected)).text)
    for row in (*rejected.teachers.rows, *rejected.strategies.rows):
        assert words.interval(row.acceptance) in text
        assert usd(row.usd_per_accepted) in text
    targeted = rejected.strategies.rows[0]
    assert f"{words.percent(targeted.same_answers)} of the answers repeat another word for word" in text
    assert "allocate: bandit" in text
    for share in targeted.shares:
        assert words.percent(share.bandit) in text


def test_what_was_not_measured_is_said_so(promoted: Report) -> None:
    audit = promoted.audit.model_copy(update={"rows": (), "never": ("known", "right")})
    measurement = promoted.measurement.model_copy(update={"noise": (), "settings": ()})
    ablations = promoted.ablations.model_copy(update={"rows": ()})
    arms = tuple(
        arm.model_copy(update={"tokens": None, "seconds": None, "truncated": None}) for arm in promoted.scores.arms
    )
    scores = promoted.scores.model_copy(update={"arms": arms})
    bare = {"audit": audit, "measurement": measurement, "ablations": ablations, "scores": scores}
    text = re.sub(r"\s+", " ", Page(render(promoted.model_copy(update=bare))).text)
    assert "Never audited in the version that judged here: known, right." in text
    assert "flywheel audit" in text
    assert "Run-to-run noise: not measured." in text
    assert "Nothing was left out to measure its worth" in text
    assert text.count("not measured") == 1 + 3 * len(arms)


def test_the_audit_is_on_the_page(promoted: Report) -> None:
    text = re.sub(r"\s+", " ", Page(render(promoted)).text)
    accepted = promoted.audit.rows[0].false_accept
    assert accepted.rate
    counts = f"{accepted.wrong} of {accepted.cases}, {accepted.unknown} unknown"
    assert f"{words.percent(accepted.rate.value)}{words.interval(accepted.rate)}, {counts}" in text
    [judge] = promoted.audit.judges
    assert f"{judge.low:.2f} to {judge.high:.2f}" in text
    assert "calibrated" in text


def test_a_tainted_run_is_said_loudly(promoted: Report) -> None:
    run = promoted.provenance.runs[0].model_copy(update={"tainted": True})
    provenance = promoted.provenance.model_copy(update={"runs": (run,)})
    html = render(promoted.model_copy(update={"provenance": provenance}))
    assert 'role="alert"' in html.split('id="why"')[0]
    assert "ran without a sandbox" in html.split('id="why"')[0]
    assert 'role="alert"' not in render(promoted)


def test_who_approved_and_what_still_waits(promoted: Report) -> None:
    assert "approved by Ada" in Page(render(promoted)).text
    waiting = promoted.approvals.model_copy(update={"needed": True, "rows": ()})
    text = Page(render(promoted.model_copy(update={"approvals": waiting}))).text
    assert "waits for a person" in text
    assert "flywheel approve 1 --by NAME" in text


def test_teachers_on_the_suite_are_shown_as_never_gated(promoted: Report) -> None:
    html = render(promoted)
    assert "never gated" in html
    [arm] = [arm for arm in promoted.scores.arms if arm.arm == "teacher:careless"]
    assert arm.score
    assert words.percent(arm.score.value) in html


def test_stock_commands_noise_and_long_prompts_are_on_the_page(promoted: Report) -> None:
    text = re.sub(r"\s+", " ", Page(render(promoted)).text)
    assert {stock.suite for stock in promoted.measurement.commands} >= {"holdout", "guard"}
    for stock in promoted.measurement.commands:
        assert stock.command in text
    assert "Items measured twice" in text
    assert "Prompts that do not fit the model, left unanswered and counted as unknown: tags 1." in text


def test_both_iterations_costs_stand_beside_each_other(rejected: Report) -> None:
    text = re.sub(r"\s+", " ", Page(render(rejected)).text)
    assert "Time before" in text
    assert usd(rejected.costs.usd_before) in text


def test_what_training_had_to_say_is_shown(promoted: Report) -> None:
    assert "Note: the loss hardly fell: this is a stand-in." in Page(render(promoted)).text
