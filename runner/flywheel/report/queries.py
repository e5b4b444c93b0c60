"""The SQL behind every figure. The text that is run is the text that the page shows.

Values are written into the text, so that a reader can paste it into `flywheel query "…"`: no statement here
holds a double quote, a dollar sign or a back-tick. A *turn* is (iteration, {kind: node fingerprints}).
Sums of fractions are rounded: rows come in any order, and the last digit of such a sum hangs on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flywheel.records.nodes import makers

Nodes = Mapping[str, Sequence[str]]


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def listed(values: Iterable[str]) -> str:
    """`('a', 'b')`, or a list that holds nothing."""
    return "(" + (", ".join(literal(v) for v in values) or "NULL") + ")"


def of(nodes: Nodes, *kinds: str) -> str:
    """The fingerprints of these kinds of node, as a SQL list."""
    return listed(node for kind in kinds for node in nodes.get(kind, ()))


#: A step that lost its files is run again and has a record for each time: the last counts.
_LAST = "QUALIFY row_number() OVER (PARTITION BY node ORDER BY started_at DESC) = 1"


def _turns(chain: Mapping[int, Nodes], *kinds: str) -> str:
    """Which iteration a node belongs to; all kinds of node where none is named."""
    rows = [
        f"({n}, {literal(node)})"
        for n, nodes in chain.items()
        for kind in kinds or nodes
        for node in nodes.get(kind, ())
    ]
    return f"turn(iteration, node) AS (VALUES {', '.join(rows) or '(0, NULL)'})"


def _pairs(chain: Mapping[int, Nodes]) -> str:
    """One row a suite item, both arms beside each other; `known` where every arm that ran could be judged.

    Where an iteration has a candidate at all, an item without the candidate's answer is not known.
    """
    return f"""
WITH {_turns(chain, "evaluate")},
arms AS (SELECT turn.iteration, suite, item_id, arm, outcome, score, mode, slices
         FROM scores JOIN turn USING (node)),
ran AS (SELECT iteration, bool_or(arm = 'candidate') AS candidate FROM arms GROUP BY iteration),
pairs AS (
  SELECT i.iteration, i.suite, i.item_id, i.slices, i.score AS before, c.score AS after,
         i.mode AS mode_before, c.mode AS mode_after,
         i.outcome = 'pass' AS was_right, c.outcome = 'pass' AS is_right,
         i.outcome IN ('pass', 'fail')
           AND (NOT ran.candidate OR coalesce(c.outcome IN ('pass', 'fail'), false)) AS known
  FROM arms i JOIN ran ON ran.iteration = i.iteration
  LEFT JOIN arms c
    ON c.iteration = i.iteration AND c.suite = i.suite AND c.item_id = i.item_id AND c.arm = 'candidate'
  WHERE i.arm = 'incumbent')""".strip()


_TALLY = """
  count(*) FILTER (known) AS items, count(*) FILTER (NOT known) AS unknown,
  sum(before) FILTER (known) AS before, sum(after) FILTER (known) AS after,
  sum(greatest(after - before, 0)) FILTER (known) AS gained,
  sum(greatest(before - after, 0)) FILTER (known) AS lost,
  count(*) FILTER (known AND NOT was_right AND is_right) AS fixed,
  count(*) FILTER (known AND was_right AND NOT is_right) AS broken,
  count(*) FILTER (known AND was_right AND is_right) AS still_right,
  count(*) FILTER (known AND NOT was_right AND NOT is_right) AS still_wrong""".strip("\n")


def scores(chain: Mapping[int, Nodes]) -> str:
    return f"""{_pairs(chain)}
SELECT iteration, suite,
{_TALLY}
FROM pairs GROUP BY iteration, suite ORDER BY iteration, suite"""


def slices(chain: Mapping[int, Nodes]) -> str:
    return f"""{_pairs(chain)},
sliced AS (
  SELECT *, json_extract_string(slices, slice_column) AS slice_value
  FROM (SELECT *, unnest(json_keys(slices)) AS slice_column FROM pairs WHERE slices IS NOT NULL))
SELECT suite, slice_column, slice_value,
{_TALLY}
FROM sliced GROUP BY suite, slice_column, slice_value
ORDER BY suite, slice_column, slice_value"""


def mode_rates(chain: Mapping[int, Nodes], suites: Sequence[str]) -> str:
    """For each mode: items of these suites that had it before, have it after, lost it and gained it; and of those that
    moved, which were wrong otherwise or right on the other side."""
    return f"""{_pairs(chain)},
judged AS (SELECT * FROM pairs WHERE known AND suite IN {listed(suites)}),
modes AS (SELECT mode_before AS mode FROM judged UNION SELECT mode_after FROM judged)
SELECT modes.mode, count(*) AS items,
  count(*) FILTER (mode_before = modes.mode) AS before, count(*) FILTER (mode_after = modes.mode) AS after,
  count(*) FILTER (mode_before = modes.mode AND mode_after IS DISTINCT FROM modes.mode) AS cured,
  count(*) FILTER (mode_after = modes.mode AND mode_before IS DISTINCT FROM modes.mode) AS caught,
  count(*) FILTER (mode_after = modes.mode AND mode_before <> modes.mode) AS from_wrong,
  count(*) FILTER (mode_after = modes.mode AND was_right) AS from_right,
  count(*) FILTER (mode_before = modes.mode AND is_right) AS to_right
FROM modes, judged WHERE modes.mode IS NOT NULL GROUP BY modes.mode ORDER BY modes.mode"""


def movements(chain: Mapping[int, Nodes], suites: Sequence[str], most: int) -> str:
    """Judged items of these suites with how they moved, for choosing examples: of each way to move, and of each pair of
    error modes, the first `most`."""
    return f"""{_pairs(chain)}
SELECT suite, item_id, mode_before, mode_after,
  CASE WHEN NOT was_right AND is_right THEN 'fixed' WHEN was_right AND NOT is_right THEN 'broken'
       WHEN was_right THEN 'still_right' ELSE 'still_wrong' END AS movement
FROM pairs WHERE known AND is_right IS NOT NULL AND suite IN {listed(suites)}
QUALIFY row_number() OVER (PARTITION BY suite, movement, mode_before, mode_after ORDER BY item_id) <= {most}
ORDER BY suite, item_id"""


def items(nodes: Nodes, suite: str, item_ids: Sequence[str]) -> str:
    return f"""SELECT suite, item_id, arm, s.row AS question, gold, answer, mode, verdicts FROM scores s
WHERE node IN {of(nodes, "evaluate")} AND suite = {literal(suite)} AND item_id IN {listed(item_ids)}"""


#: Of one arm, the columns that are shown beside the other's.
_ARM = ("outcome", "score", "mode", "answer", "verdicts")


def side_by_side(first: Nodes, second: Nodes, arms: tuple[str, str] = ("incumbent", "candidate")) -> str:
    """Every item that the arm of `first` answered, beside the answer of the other arm in `second`.

    Movement is empty where there is no other arm at all, and unknown where either outcome is.
    """
    columns = ", ".join(f"{side}.{name} AS {name}_{side}" for side in ("a", "b") for name in _ARM)
    return f"""WITH a AS (SELECT * FROM scores WHERE node IN {of(first, "evaluate")} AND arm = {literal(arms[0])}),
b AS (SELECT * FROM scores WHERE node IN {of(second, "evaluate")} AND arm = {literal(arms[1])})
SELECT a.suite, a.item_id, a.row AS question, a.gold, a.slices, {columns},
  CASE WHEN NOT EXISTS (FROM b) THEN ''
       WHEN a.outcome = 'unknown' OR coalesce(b.outcome, 'unknown') = 'unknown' THEN 'unknown'
       WHEN a.outcome = 'pass' THEN if(b.outcome = 'pass', 'still_right', 'broken')
       ELSE if(b.outcome = 'pass', 'fixed', 'still_wrong') END AS movement
FROM a LEFT JOIN b USING (suite, item_id)"""


def items_total(nodes: Nodes) -> str:
    """How many items the incumbent answered: `side_by_side` has as many rows."""
    return f"SELECT count(*) AS n FROM scores WHERE node IN {of(nodes, 'evaluate')} AND arm = 'incumbent'"


def item_data(nodes: Nodes) -> str:
    """Every item as the data files have it: whole texts, JSON where a column is nested; of each arm what its verifiers
    said against it, as `words.objections` says it."""
    arms = (("incumbent", "a"), ("candidate", "b"))
    of_arm = ", ".join(
        f"outcome_{side} AS {arm}_outcome, score_{side} AS {arm}_score, mode_{side} AS {arm}_mode, "
        f"{_objections(f'said_{side}')} AS {arm}_reason, answer_{side} AS {arm}_answer"
        for arm, side in arms
    )
    said = ", ".join(f"{_said_against(f'verdicts_{side}')} AS said_{side}" for _, side in arms)
    return f"""SELECT suite, item_id, movement, CAST(slices AS VARCHAR) AS slices, CAST(question AS VARCHAR) AS row,
  gold, {of_arm}
FROM (SELECT *, {said} FROM ({side_by_side(nodes, nodes)})) ORDER BY suite, item_id"""


def _said_against(verdicts: str) -> str:
    """A list of (who, why) out of JSON. A column of its own: what stands in a lambda is worked out at each call."""
    verdict = "json_object('verifier', 'VARCHAR', 'outcome', 'VARCHAR', 'reason', 'VARCHAR')"
    against = f"list_filter(from_json({verdicts}, json_array({verdict})), lambda v: v.outcome <> 'pass')"
    return (
        f"list_transform({against}, lambda v: {{'who': v.verifier, 'why': coalesce(nullif(v.reason, ''), v.outcome)}})"
    )


def _objections(said: str) -> str:
    """Reasons in the order in which they were first given, each after the names of those who gave it."""
    first = f"list_position(list_transform({said}, lambda other: other.why), v.why) = place"
    names = f"list_transform(list_filter({said}, lambda other: other.why = v.why), lambda other: other.who)"
    once = f"list_filter({said}, lambda v, place: {first})"
    each = f"list_transform({once}, lambda v: array_to_string({names}, ', ') || ': ' || v.why)"
    none, alone = f"coalesce(len({said}), 0) = 0", f"{said}[1].who || ': ' || {said}[1].why"  # most, without a lambda
    return f"CASE WHEN {none} THEN '' WHEN len({said}) = 1 THEN {alone} ELSE array_to_string({each}, '; ') END"


def items_where(every: str, wanted: Mapping[str, str]) -> str:
    """Of `side_by_side` the items that each given filter leaves."""
    column, _, value = wanted["slice"].partition(": ")
    pointer = "/" + column.replace("~", "~0").replace("/", "~1")
    text = "lower(concat_ws(' ', item_id, CAST(question AS VARCHAR), gold, answer_a, answer_b))"
    tests = {
        "text": f"contains({text}, lower({literal(wanted['text'])}))",
        "suite": f"suite = {literal(wanted['suite'])}",
        "movement": f"movement = {literal(wanted['movement'])}",
        "mode": f"(mode_a = {literal(wanted['mode'])} OR mode_b = {literal(wanted['mode'])})",
        "slice": f"json_extract_string(slices, {literal(pointer)}) = {literal(value)}",
        "verdict": f"coalesce(outcome_b, outcome_a) = {literal(wanted['verdict'])}",
        "item": f"item_id = {literal(wanted['item'])}",
    }
    holds = [test for name, test in tests.items() if wanted[name]]
    return f"SELECT * FROM ({every}) WHERE {' AND '.join(holds) or 'true'}"


def item_order(name: str) -> str:
    """What comes first; broken items where `name` is none of the others."""
    moved = "list_position(['broken', 'fixed', 'unknown', 'still_wrong', 'still_right'], movement)"
    first = {
        "suite": "suite",
        "question": "CAST(question AS VARCHAR)",
        "longest": "-length(coalesce(answer_b, answer_a))",
    }
    return f"{first.get(name, moved)}, suite, item_id"


def pasts(chain: Mapping[int, Nodes], item_ids: Sequence[str] | None = None) -> str:
    """How every item, or those, went in every iteration so far."""
    some = "" if item_ids is None else f" AND item_id IN {listed(item_ids)}"
    return f"""WITH {_turns(chain, "evaluate")}
SELECT suite, item_id, iteration, max(outcome) FILTER (arm = 'incumbent') AS before,
  max(mode) FILTER (arm = 'incumbent') AS mode_before, max(outcome) FILTER (arm = 'candidate') AS after,
  max(mode) FILTER (arm = 'candidate') AS mode_after
FROM scores JOIN turn USING (node) WHERE arm IN ('incumbent', 'candidate'){some}
GROUP BY ALL ORDER BY suite, item_id, iteration"""


def arms(nodes: Nodes) -> str:
    """What each arm's answers were like; teachers that answered a suite too have arms of their own."""
    return f"""SELECT suite, arm, count(*) FILTER (outcome <> 'unknown') AS items,
  count(*) FILTER (outcome = 'unknown') AS unknown, round(sum(score) FILTER (outcome <> 'unknown'), 9) AS score,
  avg(tokens) AS tokens, avg(seconds) AS seconds, avg(CAST(truncated AS INTEGER)) AS truncated
FROM scores WHERE node IN {of(nodes, "evaluate")} GROUP BY suite, arm ORDER BY suite, arm"""


def failures(nodes: Nodes) -> str:
    """Among the probes."""
    of_traffic = f"""
  AND answer_id NOT IN (SELECT answer_id FROM answers WHERE node IN {of(nodes, "mine")})"""
    return f"""SELECT mode, count(*) AS failures FROM failures
WHERE node IN {of(nodes, "diagnose")}{of_traffic if nodes.get("mine") else ""} GROUP BY mode ORDER BY mode"""


def in_traffic(nodes: Nodes) -> str:
    """Failures in what production answered, each mode beside all answers that could be judged."""
    return f"""WITH asked AS (SELECT answer_id, outcome FROM answers WHERE node IN {of(nodes, "mine")})
SELECT mode, count(*) AS failures, (SELECT count(*) FROM asked WHERE outcome <> 'unknown') AS judged
FROM failures JOIN asked USING (answer_id) WHERE node IN {of(nodes, "diagnose")} GROUP BY mode ORDER BY mode"""


def traffic(nodes: Nodes) -> str:
    return f"""SELECT count(*) FILTER (outcome <> 'unknown') AS judged, count(*) FILTER (outcome = 'fail') AS failures
FROM answers WHERE node IN {of(nodes, "mine")}"""


def shadow(nodes: Nodes) -> str:
    """What the replay of each task's rows of production came to, as JSON."""
    return f"""SELECT subject AS task, summary FROM nodes
WHERE node IN {of(nodes, "shadow")} AND status = 'done' {_LAST} ORDER BY task"""


def shadow_changed(nodes: Nodes, most: int) -> str:
    """Rows of production that the models answer otherwise: of each way to change the first `most`."""
    return f"""WITH replay AS (
  SELECT node, json_extract_string(summary, '/models/incumbent') AS incumbent,
    json_extract_string(summary, '/models/candidate') AS candidate
  FROM nodes WHERE node IN {of(nodes, "shadow")} AND status = 'done' {_LAST})
SELECT a.task, a."row" AS question, a.gold, a.answer AS incumbent_answer, b.answer AS candidate_answer,
  a.outcome AS incumbent_outcome, b.outcome AS candidate_outcome
FROM replay JOIN answers a ON a.node = replay.node AND a.model_id = replay.incumbent
JOIN answers b ON b.node = replay.node AND b.model_id = replay.candidate AND b.source_id = a.source_id
WHERE a.answer <> b.answer
QUALIFY row_number() OVER (PARTITION BY a.task, a.outcome, b.outcome ORDER BY a.row_id, a.source_id) <= {most}
ORDER BY a.task, b.outcome, a.outcome, a.row_id"""


def undecided(nodes: Nodes) -> str:
    """Predicates that could not be computed for some wrong answers of the probes or the suites, as JSON."""
    return f"""SELECT json_extract(summary, '/undecided') AS undecided FROM nodes
WHERE node IN {of(nodes, "diagnose", "evaluate")} AND status = 'done' {_LAST}"""


def probes(nodes: Nodes) -> str:
    return f"SELECT count(*) AS probes FROM answers WHERE node IN {of(nodes, 'probe')}"


def wrong_probes(nodes: Nodes) -> str:
    return f"""SELECT task, answer, gold, truncated, model_id FROM answers
WHERE node IN {of(nodes, "probe")} AND outcome = 'fail' ORDER BY task, row_id"""


def wrong_items(nodes: Nodes) -> str:
    """What the incumbent answered wrong on the suites."""
    return f"""SELECT suite, answer, gold, truncated, model_id FROM scores
WHERE node IN {of(nodes, "evaluate")} AND arm = 'incumbent' AND outcome = 'fail' ORDER BY suite, item_id"""


def most_frequent(nodes: Nodes) -> str:
    """Each suite's most frequent right answer, and how many of its items have it."""
    return f"""SELECT suite, arg_max(gold, (times, gold)) AS gold, max(times) AS times,
  CAST(sum(times) AS BIGINT) AS items
FROM (SELECT suite, gold, count(*) AS times FROM scores
  WHERE node IN {of(nodes, "evaluate")} AND arm = 'candidate' GROUP BY ALL) GROUP BY suite ORDER BY suite"""


def with_shots(nodes: Nodes, suite: str, shown: str) -> str:
    """On the items that all could be judged on: candidate (`after`), incumbent as asked (`before`), incumbent as the
    suite `shown` asks it (`shown`), and what the candidate gained and lost over each."""
    return f"""WITH judged AS (SELECT suite, arm, item_id, score FROM scores
  WHERE node IN {of(nodes, "evaluate")} AND outcome IN ('pass', 'fail'))
SELECT count(*) AS items, round(sum(c.score), 9) AS after, round(sum(i.score), 9) AS before,
  round(sum(s.score), 9) AS shown,
  round(sum(greatest(c.score - i.score, 0)), 9) AS gained, round(sum(greatest(i.score - c.score, 0)), 9) AS lost,
  round(sum(greatest(c.score - s.score, 0)), 9) AS gained_over_shown,
  round(sum(greatest(s.score - c.score, 0)), 9) AS lost_to_shown
FROM judged c JOIN judged i USING (item_id) JOIN judged s USING (item_id)
WHERE c.suite = {literal(suite)} AND c.arm = 'candidate' AND i.suite = {literal(suite)} AND i.arm = 'incumbent'
  AND s.suite = {literal(shown)} AND s.arm = 'incumbent'"""


#: A lesson that was made from no failure has no mode.
_MODE = "coalesce(nullif(mode, ''), 'any')"


def cannot_pay(nodes: Nodes) -> str:
    """Where targeting can hardly pay, as a JSON list of texts; builds before 0.2 did not say."""
    return f"""SELECT json_extract(summary, '/cannot_pay') AS cannot_pay FROM nodes
WHERE node IN {of(nodes, "budget")} AND status = 'done' {_LAST}"""


def budgets(nodes: Nodes) -> str:
    return f"""SELECT {_MODE} AS mode, sum(lessons) AS lessons FROM budgets
WHERE node IN {of(nodes, "budget")} GROUP BY ALL ORDER BY mode"""


# --- from asked to trained ----------------------------------------------------------------------------------

#: What `verify` notes where a sample passed and is no lesson all the same.


def asked(nodes: Nodes) -> str:
    """What each round of each generator asked for, and how many calls failed of which fault."""
    return f"""SELECT subject AS generator, name,
  coalesce(list_sum(map_values(CAST(json_extract(summary, '/wanted') AS MAP(VARCHAR, BIGINT)))), 0) AS wanted,
  CAST(json_extract(summary, '/calls') AS BIGINT) AS calls,
  CAST(json_extract(summary, '/calls_cached') AS BIGINT) AS cached,
  json_extract(summary, '/calls_failed') AS failed,
  json_extract(summary, '/allocation') AS allocation,
  CAST(json_extract(summary, '/same_answers') AS DOUBLE) AS same_answers,
  CAST(json_extract(summary, '/promised') AS DOUBLE) AS promised
FROM nodes WHERE node IN {of(nodes, "generate")} AND status = 'done'
{_LAST} ORDER BY name"""


def lessons(nodes: Nodes, *by: str) -> str:
    """Candidates and how far they came, over everything or by columns of `candidates`; samples of a question are
    one question."""
    keys = [_MODE.replace("mode", "c.mode") + " AS mode" if key == "mode" else f"c.{key}" for key in by]
    group = f" GROUP BY ALL ORDER BY {', '.join(by)}" if by else ""
    return f"""SELECT {"".join(f"{key}, " for key in keys)}count(*) AS generated,
  count(DISTINCT coalesce(nullif(c.group_id, ''), c.candidate_id)) AS questions,
  count(DISTINCT coalesce(nullif(c.group_id, ''), c.candidate_id)) FILTER (j.outcome = 'pass') AS answered,
  count(*) FILTER (c.status <> 'unparsed') AS parsed, count(*) FILTER (c.status = 'parsed') AS fitting,
  count(*) FILTER (j.outcome IN ('pass', 'spare')) AS verified,
  count(*) FILTER (j.outcome = 'pass') AS chosen, count(*) FILTER (k.decision = 'kept') AS curated,
  count(d.candidate_id) AS trained
FROM candidates c
LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND j.node IN {of(nodes, "verify")}
LEFT JOIN curation k ON k.candidate_id = c.candidate_id AND k.node IN {of(nodes, "curate")}
LEFT JOIN (SELECT DISTINCT candidate_id FROM dataset
           WHERE node IN {of(nodes, "curate", "train")} AND origin = 'new') d
  ON d.candidate_id = c.candidate_id
WHERE c.node IN {of(nodes, "generate")}{group}"""


def taught(nodes: Nodes) -> str:
    """`lessons` by all that any of the tables which say who taught what go by."""
    return lessons(nodes, "generator", "teacher", "mode")


def losses_on_the_way(nodes: Nodes) -> str:
    """Why candidates were lost: totals by cause, with the three commonest reasons of each."""
    return f"""WITH lost AS (
  SELECT 'parsed' AS stage, 'unreadable' AS cause, coalesce(problem, '') AS reason FROM candidates
  WHERE node IN {of(nodes, "generate")} AND status = 'unparsed'
  UNION ALL
  SELECT 'fitting',
         CASE WHEN problem LIKE 'ROUGE-L%' THEN 'too like an earlier question'
              WHEN problem LIKE '%min_words' THEN 'too short' WHEN problem LIKE '%max_words' THEN 'too long'
              WHEN problem LIKE 'forbidden%' THEN 'forbidden' ELSE 'filtered' END,
         coalesce(problem, '') FROM candidates WHERE node IN {of(nodes, "generate")} AND status = 'filtered'
  UNION ALL
  SELECT 'verified',
         coalesce(verifier, 'verifier') || ': ' || outcome,
         coalesce(reason, '') FROM judged
  WHERE node IN {of(nodes, "verify")} AND outcome NOT IN ('pass', 'spare')
  UNION ALL
  SELECT 'chosen', if(reason LIKE 'too easy%', 'spare: too easy', 'spare: another sample of the question'),
         coalesce(reason, '')
  FROM judged WHERE node IN {of(nodes, "verify")} AND outcome = 'spare'
  UNION ALL
  SELECT 'curated', coalesce(stage, 'curation'), coalesce(reason, '') FROM curation
  WHERE node IN {of(nodes, "curate")} AND decision <> 'kept')
SELECT stage, cause, reason, count(*) AS lessons,
  sum(count(*)) OVER (PARTITION BY stage, cause) AS total
FROM lost GROUP BY stage, cause, reason
QUALIFY row_number() OVER (PARTITION BY stage, cause ORDER BY count(*) DESC, reason) <= 3
ORDER BY stage, total DESC, cause, lessons DESC, reason"""


def calls(nodes: Nodes, by: str) -> str:
    """Teacher calls of an iteration, by `teacher`, `node` or `generator`: all that its generators asked, also where
    they were answered before; and what judges and teachers on suites were asked while other steps ran.

    `own`: dollars of the calls that candidates came from, and of failed ones.
    """
    others = of(nodes, "probe", "mine", "verify", "curate", "evaluate", "ablate")
    return f"""WITH asking AS (
  SELECT node, subject AS generator,
    unnest(CAST(json_extract(summary, '/keys') AS VARCHAR[])) AS key
  FROM nodes WHERE node IN {of(nodes, "generate")} AND status = 'done'),
mine AS (
  SELECT key, node, generator, true AS lessons FROM asking
  UNION
  SELECT calls.key, n.node, '' AS generator, false AS lessons FROM nodes n
  JOIN calls ON calls.run_id = n.run_id AND calls.called_at BETWEEN n.started_at AND n.ended_at
  WHERE n.node IN {others} AND n.status = 'done' AND calls.key NOT IN (SELECT key FROM asking)),
once AS (
  SELECT key, min(node) AS node, min(generator) AS generator, bool_or(lessons) AS lessons FROM mine GROUP BY key),
author AS (SELECT DISTINCT call_key FROM candidates WHERE node IN {of(nodes, "generate")})
SELECT {by}, count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed,
  coalesce(sum(input_tokens + output_tokens), 0) AS tokens, coalesce(round(sum(usd), 9), 0) AS usd,
  coalesce(round(sum(usd) FILTER (lessons AND (status <> 'ok' OR key IN (SELECT call_key FROM author))), 9), 0) AS own
FROM calls JOIN once USING (key) GROUP BY {by} ORDER BY {by}"""


def dataset(nodes: Nodes, by: str) -> str:
    """Training rows by `mode` or `teacher`; rows that people wrote have neither."""
    key = f"if(origin = 'seed', 'seeds', {_MODE})" if by == "mode" else by
    return f"""SELECT {key} AS {by}, count(*) AS lessons, count(*) FILTER (origin = 'new') AS new,
  count(*) FILTER (origin = 'replay') AS replay, count(*) FILTER (origin = 'seed') AS seed
FROM dataset WHERE node IN {of(nodes, "curate", "train")} GROUP BY ALL ORDER BY 1"""


def dataset_by_generator(nodes: Nodes) -> str:
    """Training rows by the strategy that they came from, in whatever iteration; None for rows that people wrote."""
    return f"""SELECT c.generator, count(*) AS lessons
FROM dataset d LEFT JOIN (SELECT DISTINCT candidate_id, generator FROM candidates) c USING (candidate_id)
WHERE d.node IN {of(nodes, "curate", "train")} GROUP BY c.generator ORDER BY c.generator"""


def dataset_change(before: Nodes, now: Nodes) -> str:
    """Training rows that came, and that went, since the iteration before."""
    return f"""WITH before AS (SELECT DISTINCT lesson_id FROM dataset WHERE node IN {of(before, "curate", "train")}),
now AS (SELECT DISTINCT lesson_id FROM dataset WHERE node IN {of(now, "curate", "train")})
SELECT (SELECT count(*) FROM now ANTI JOIN before USING (lesson_id)) AS added,
  (SELECT count(*) FROM before ANTI JOIN now USING (lesson_id)) AS removed"""


def verifiers(nodes: Nodes) -> str:
    """What verifiers said of candidates: one that an earlier verifier failed was not shown to the later ones."""
    return f"""SELECT c.task, v.verifier, v.version, count(*) AS judged,
  count(*) FILTER (v.outcome = 'pass') AS passed, count(*) FILTER (v.outcome = 'fail') AS failed,
  count(*) FILTER (v.outcome = 'unknown') AS unknown, count(*) FILTER (v.advisory) AS advisory,
  coalesce(round(sum(v.seconds), 9), 0) AS seconds
FROM verdicts v JOIN candidates c ON c.candidate_id = v.subject_id AND c.node IN {of(nodes, "generate")}
WHERE v.node IN {of(nodes, "verify")} GROUP BY ALL ORDER BY c.task, v.verifier, v.version"""


# --- from failure to lesson ---------------------------------------------------------------------------------


def followed_lessons(nodes: Nodes, modes: Iterable[str], each: int) -> str:
    """Of each of these modes, and of each fate that its candidates met, the first `each` candidates and how many there
    are."""
    return f"""WITH met AS (
  SELECT c.node, c.candidate_id, {_MODE.replace("mode", "c.mode")} AS mode,
    CASE WHEN d.candidate_id IS NOT NULL THEN 'trained' WHEN k.decision IS NOT NULL THEN k.decision
         WHEN c.status <> 'parsed' THEN c.status ELSE coalesce(j.outcome, 'unknown') END AS fate,
    j.verifier, j.reason, k.stage, k.reason AS curation
  FROM candidates c
  LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND j.node IN {of(nodes, "verify")}
  LEFT JOIN curation k ON k.candidate_id = c.candidate_id AND k.node IN {of(nodes, "curate")}
  LEFT JOIN (SELECT DISTINCT candidate_id FROM dataset
             WHERE node IN {of(nodes, "curate", "train")} AND origin = 'new') d ON d.candidate_id = c.candidate_id
  WHERE c.node IN {of(nodes, "generate")}),
first AS (SELECT mode, fate, count(*) AS rows, unnest(min(candidate_id, {each})) AS candidate_id FROM met
          WHERE mode IN {listed(modes)} GROUP BY mode, fate)
SELECT first.mode, first.fate, first.rows, c.candidate_id, c.task, c.teacher, c.row AS question, c.target,
  c.failure_ids, c.problem, met.verifier, met.reason, met.stage, met.curation
FROM first JOIN met USING (candidate_id) JOIN candidates c ON c.candidate_id = met.candidate_id AND c.node = met.node
QUALIFY row_number() OVER (PARTITION BY c.candidate_id) = 1
ORDER BY first.mode, first.fate, c.candidate_id"""


def followed_failures(nodes: Nodes, modes: Iterable[str], wanted: Iterable[str], each: int) -> str:
    """Of each of these modes the first `each` wrong answers to probes, and those of the `wanted` failures. What
    production answered stays in the store: a report is passed on."""
    return f"""SELECT f.mode, f.failure_id, a.answer_id, a.task, a.row AS question, a.gold, a.answer
FROM failures f JOIN answers a ON a.answer_id = f.answer_id AND a.node IN {of(nodes, "probe")}
WHERE f.node IN {of(nodes, "diagnose")} AND f.mode IN {listed(modes)}
QUALIFY row_number() OVER (PARTITION BY f.mode ORDER BY f.failure_id NOT IN {listed(wanted)}, f.failure_id) <= {each}
  OR f.failure_id IN {listed(wanted)}
ORDER BY f.mode, f.failure_id"""


def followed_verdicts(nodes: Nodes, subjects: Iterable[str]) -> str:
    """What verifiers said of these answers and candidates, in the order in which they looked."""
    return f"""SELECT subject_id, verifier, outcome, reason FROM verdicts
WHERE node IN {of(nodes, "probe", "verify")} AND subject_id IN {listed(subjects)} ORDER BY subject_id, rowid"""


# --- who watches the verifiers ------------------------------------------------------------------------------


def audits(versions: Iterable[tuple[str, str, str]]) -> str:
    """The newest audit of each (task, verifier, version); the verifier * stands for all of a task together."""
    rows = ", ".join(f"({', '.join(map(literal, row))})" for row in versions) or "(NULL, NULL, NULL)"
    return f"""WITH wanted(task, verifier, version) AS (VALUES {rows}),
newest AS (SELECT task, verifier, version, max_by(audit, audited_at) AS audit
           FROM audits JOIN wanted USING (task, verifier, version) GROUP BY ALL)
SELECT task, verifier, version, source, expected, cases, passed, failed, a.unknown, wrong,
  strftime(audited_at, '%Y-%m-%d %H:%M') AS at
FROM audits a JOIN newest USING (task, verifier, version, audit) ORDER BY task, verifier, expected DESC, source"""


def calibrations(judges: Iterable[tuple[str, str]]) -> str:
    """The newest calibration of each (judge, version)."""
    rows = ", ".join(f"({literal(name)}, {literal(version)})" for name, version in judges) or "(NULL, NULL)"
    return f"""WITH wanted(verifier, version) AS (VALUES {rows})
SELECT verifier, teacher, cases, agreed, kappa, low, high, json_extract_string(confusion, '/problem') AS problem,
  strftime(calibrated_at, '%Y-%m-%d %H:%M') AS at
FROM calibrations JOIN wanted USING (verifier, version)
QUALIFY row_number() OVER (PARTITION BY verifier ORDER BY calibrated_at DESC) = 1 ORDER BY verifier"""


def ablations(nodes: Nodes) -> str:
    """Ablations of the iteration, and comparisons of the whole loop, with their curves as JSON."""
    return f"""SELECT name, without, suite, lessons, items, with_part, without_part, difference, low, high, p_value,
    detail->>'note' AS note, detail->'curves' AS curves
FROM ablations WHERE node IN {of(nodes, "ablate")} OR starts_with(node, 'compare:')
ORDER BY starts_with(node, 'compare:'), name, suite"""


# --- training, gate, cost -----------------------------------------------------------------------------------


def loss_curve(nodes: Nodes) -> str:
    return f"SELECT step, loss FROM losses WHERE node IN {of(nodes, 'train')} AND isfinite(loss) ORDER BY step"


def adapters(nodes: Nodes) -> str:
    return f"""SELECT model_id, base, base_hash, weights_hash, dataset_hash, settings, rows, left_out, tokens,
  steps FROM adapters WHERE node IN {listed(makers(nodes))}"""


def trained_on_lessons(nodes: Nodes) -> str:
    return f"SELECT rows, left_out, tokens, steps FROM adapters WHERE node IN {of(nodes, 'train')}"


def rewards(nodes: Nodes) -> str:
    """Rounds of learning from judged answers: what the student earned before each, and what it learned from. `variance`
    of the share that passed takes the answers to a question as one draw."""
    return f"""WITH asked AS (
  SELECT round, question_id, count(*) AS answers, count(*) FILTER (outcome = 'unknown') AS unknown,
    count(*) FILTER (outcome = 'pass') AS passed, answers - unknown AS decided,
    row_number() OVER (PARTITION BY question_id ORDER BY round) = 1 AS is_new
  FROM samples WHERE node IN {of(nodes, "sample")} GROUP BY round, question_id),
shares AS (SELECT round, sum(passed) / nullif(sum(decided), 0) AS share FROM asked GROUP BY round),
sampled AS (
  SELECT round, count(*) AS questions, count(*) FILTER (is_new) AS new_questions,
    CAST(sum(answers) AS BIGINT) AS answers, CAST(sum(unknown) AS BIGINT) AS unknown,
    CAST(sum(passed) AS BIGINT) AS passed,
    sum((passed - share * decided) ** 2) / nullif(sum(decided), 0) ** 2 * count(*) / nullif(count(*) - 1, 0) AS variance
  FROM asked JOIN shares USING (round) GROUP BY round),
learned AS (
  SELECT round, CAST(json_extract(summary, '/rows') AS BIGINT) AS units,
    CAST(json_extract(summary, '/steps') AS BIGINT) AS steps,
    CAST(json_extract(summary, '/left_out') AS BIGINT) AS left_out
  FROM nodes WHERE node IN {of(nodes, "prefer")} AND status = 'done' {_LAST})
SELECT sampled.*, coalesce(units, 0) AS units, coalesce(steps, 0) AS steps, coalesce(left_out, 0) AS left_out
FROM sampled LEFT JOIN learned USING (round) ORDER BY round"""


def since_first_round(nodes: Nodes) -> str:
    """Of each suite, the candidate beside the model that the first round started from, where that was measured, too:
    as the incumbent here, or by another run."""
    return f"""WITH start AS (
  SELECT suite, item_id, any_value(score) AS score FROM scores WHERE score IS NOT NULL AND model_id IN (
    SELECT model_id FROM samples WHERE node IN {of(nodes, "sample")} AND round = 1) GROUP BY ALL)
SELECT suite, count(*) AS items, round(sum(start.score), 9) AS before, round(sum(after.score), 9) AS after,
  round(sum(greatest(after.score - start.score, 0)), 9) AS gained,
  round(sum(greatest(start.score - after.score, 0)), 9) AS lost
FROM start JOIN scores after USING (suite, item_id)
WHERE after.node IN {of(nodes, "evaluate")} AND after.arm = 'candidate' AND after.score IS NOT NULL
GROUP BY suite ORDER BY suite"""


def training_notes(nodes: Nodes) -> str:
    """What training had to say, as a JSON list of texts; builds before 0.2 had nothing."""
    return f"""SELECT json_extract(summary, '/notes') AS notes FROM nodes
WHERE node IN {of(nodes, "train")} AND status = 'done' {_LAST}"""


def decision(nodes: Nodes) -> str:
    return f"""SELECT outcome, incumbent_id, candidate_id, rules, preconditions, explanation, decision_hash,
  look, stages
FROM decisions WHERE node IN {of(nodes, "gate")}"""


def turns(chain: Mapping[int, Nodes]) -> str:
    """Each iteration: what its gate said, the rows it trained on, how long its nodes took."""
    return f"""WITH {_turns(chain)},
last AS (SELECT node, kind, seconds FROM nodes WHERE status = 'done' {_LAST})
SELECT turn.iteration, any_value(d.outcome) AS outcome, any_value(a.model_id) AS trained,
  any_value(a.rows) FILTER (n.kind = 'train') AS rows, coalesce(round(sum(n.seconds), 9), 0) AS seconds
FROM turn LEFT JOIN last n ON n.node = turn.node
LEFT JOIN decisions d ON d.node = turn.node LEFT JOIN adapters a ON a.node = turn.node
GROUP BY turn.iteration ORDER BY turn.iteration"""


def lessons_so_far(chain: Mapping[int, Nodes]) -> str:
    """Lessons that some training saw for the first time, in each iteration and all before it."""
    return f"""WITH {_turns(chain, "curate")},
seen AS (SELECT lesson_id, min(iteration) AS iteration FROM dataset JOIN turn USING (node)
         WHERE origin = 'new' GROUP BY lesson_id)
SELECT iteration, CAST(sum(count(*)) OVER (ORDER BY iteration) AS BIGINT) AS lessons
FROM seen GROUP BY iteration ORDER BY iteration"""


def watched(chain: Mapping[int, Nodes]) -> str:
    """What training rows are like in each iteration, as curation measured it."""
    return f"""WITH {_turns(chain, "curate")}
SELECT turn.iteration, json_extract(summary, '/watch') AS watch FROM nodes JOIN turn USING (node)
WHERE status = 'done' {_LAST} ORDER BY turn.iteration"""


def node_costs(nodes: Nodes) -> str:
    every = of(nodes, *nodes)
    return f"""SELECT node, name, kind, seconds, rows_in, kept, rejected, failed FROM nodes
WHERE node IN {every} AND status = 'done' {_LAST} ORDER BY started_at, name"""


def approvals(nodes: Nodes) -> str:
    """What people said of the decision, oldest first."""
    return f"""SELECT person, verdict, note, strftime(given_at, '%Y-%m-%d %H:%M') AS at FROM approvals
WHERE decision_hash IN (SELECT decision_hash FROM decisions WHERE node IN {of(nodes, "gate")}) ORDER BY sequence"""


def measurement(nodes: Nodes) -> str:
    """How the suites were measured, as JSON parts."""
    parts = ("settings", "measured_before", "noise", "too_long", "lm_eval_commands", "ran_on", "thoughts", "labels")
    chosen = ", ".join(f"json_extract(summary, '/{part}') AS {part}" for part in parts)
    return f"SELECT {chosen} FROM nodes WHERE node IN {of(nodes, 'evaluate')} AND status = 'done' {_LAST}"


def runs(nodes: Nodes) -> str:
    """The runs that worked on these nodes, where untrusted code ran, and whether without a sandbox."""
    return f"""SELECT run_id, max(sandbox) AS sandbox, coalesce(bool_or(tainted), false) AS tainted FROM runs
WHERE run_id IN (SELECT run_id FROM nodes WHERE node IN {of(nodes, *nodes)} AND status = 'done')
GROUP BY run_id ORDER BY run_id"""


def deployed() -> str:
    return """SELECT model_id, iteration, action, weights_hash, epoch(deployed_at) AS deployed_at
FROM deployments ORDER BY sequence DESC LIMIT 1"""
