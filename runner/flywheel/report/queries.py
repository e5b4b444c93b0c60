"""The SQL behind every figure. The text that is run is the text that the page shows.

Values are written into the text, so that a reader can paste it into `flywheel query "…"`: no statement here
holds a double quote, a dollar sign or a back-tick. A *turn* is (iteration, {kind: node fingerprints}).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    """For each mode: items of these suites that had it before, have it after, lost it and gained it."""
    return f"""{_pairs(chain)},
judged AS (SELECT * FROM pairs WHERE known AND suite IN {listed(suites)}),
modes AS (SELECT mode_before AS mode FROM judged UNION SELECT mode_after FROM judged)
SELECT modes.mode, count(*) AS items,
  count(*) FILTER (mode_before = modes.mode) AS before, count(*) FILTER (mode_after = modes.mode) AS after,
  count(*) FILTER (mode_before = modes.mode AND mode_after IS DISTINCT FROM modes.mode) AS cured,
  count(*) FILTER (mode_after = modes.mode AND mode_before IS DISTINCT FROM modes.mode) AS caught
FROM modes, judged WHERE modes.mode IS NOT NULL GROUP BY modes.mode ORDER BY modes.mode"""


def movements(chain: Mapping[int, Nodes]) -> str:
    """Every judged item with how it moved, for choosing examples."""
    return f"""{_pairs(chain)}
SELECT suite, item_id, mode_before, mode_after,
  CASE WHEN NOT was_right AND is_right THEN 'fixed' WHEN was_right AND NOT is_right THEN 'broken'
       WHEN was_right THEN 'still_right' ELSE 'still_wrong' END AS movement
FROM pairs WHERE known AND is_right IS NOT NULL ORDER BY suite, item_id"""


def items(nodes: Nodes, suite: str, item_ids: Sequence[str]) -> str:
    return f"""SELECT suite, item_id, arm, s.row AS question, gold, answer, mode FROM scores s
WHERE node IN {of(nodes, "evaluate")} AND suite = {literal(suite)} AND item_id IN {listed(item_ids)}"""


def failures(nodes: Nodes) -> str:
    return f"""SELECT mode, count(*) AS failures FROM failures
WHERE node IN {of(nodes, "diagnose")} GROUP BY mode ORDER BY mode"""


def probes(nodes: Nodes) -> str:
    return f"SELECT count(*) AS probes FROM answers WHERE node IN {of(nodes, 'probe')}"


def budgets(nodes: Nodes) -> str:
    return f"""SELECT mode, sum(lessons) AS lessons FROM budgets
WHERE node IN {of(nodes, "budget")} GROUP BY mode ORDER BY mode"""


def lessons(nodes: Nodes, by: str = "") -> str:
    """Candidates and how far they came, over everything or by a column of `candidates`."""
    key, group = (f"c.{by}, ", f" GROUP BY c.{by} ORDER BY c.{by}") if by else ("", "")
    return f"""SELECT {key}count(*) AS generated, count(*) FILTER (c.status = 'parsed') AS parsed,
  count(*) FILTER (j.outcome = 'pass') AS verified, count(*) FILTER (k.decision = 'kept') AS curated,
  count(d.candidate_id) AS trained
FROM candidates c
LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND j.node IN {of(nodes, "verify")}
LEFT JOIN curation k ON k.candidate_id = c.candidate_id AND k.node IN {of(nodes, "curate")}
LEFT JOIN (SELECT DISTINCT candidate_id FROM dataset
           WHERE node IN {of(nodes, "curate", "train")} AND origin = 'new') d
  ON d.candidate_id = c.candidate_id
WHERE c.node IN {of(nodes, "generate")}{group}"""


def losses_on_the_way(nodes: Nodes) -> str:
    """Why candidates were lost: totals by cause, with the three commonest reasons of each."""
    return f"""WITH lost AS (
  SELECT 'parsed' AS stage, 'unreadable' AS cause, coalesce(problem, '') AS reason FROM candidates
  WHERE node IN {of(nodes, "generate")} AND status <> 'parsed'
  UNION ALL
  SELECT 'verified',
         coalesce(verifier, 'verifier') || if(outcome = 'unknown', ': could not say', ': failed'),
         coalesce(reason, '') FROM judged WHERE node IN {of(nodes, "verify")} AND outcome <> 'pass'
  UNION ALL
  SELECT 'curated', coalesce(stage, 'curation'), coalesce(reason, '') FROM curation
  WHERE node IN {of(nodes, "curate")} AND decision <> 'kept')
SELECT stage, cause, reason, count(*) AS lessons,
  sum(count(*)) OVER (PARTITION BY stage, cause) AS total
FROM lost GROUP BY stage, cause, reason
QUALIFY row_number() OVER (PARTITION BY stage, cause ORDER BY count(*) DESC, reason) <= 3
ORDER BY stage, total DESC, cause, lessons DESC, reason"""


def calls(nodes: Nodes, by: str) -> str:
    """Teacher calls of an iteration: those its candidates came from, and those made while it generated."""
    return f"""WITH mine AS (
  SELECT DISTINCT c.call_key AS key, c.node FROM candidates c WHERE c.node IN {of(nodes, "generate")}
  UNION
  SELECT calls.key, n.node FROM nodes n
  JOIN calls ON calls.run_id = n.run_id AND calls.called_at BETWEEN n.started_at AND n.ended_at
  WHERE n.node IN {of(nodes, "generate")} AND n.status = 'done'),
once AS (SELECT key, min(node) AS node FROM mine GROUP BY key)
SELECT {by}, count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed,
  coalesce(sum(input_tokens + output_tokens), 0) AS tokens, coalesce(sum(usd), 0) AS usd
FROM calls JOIN once USING (key) GROUP BY {by} ORDER BY {by}"""


def dataset(nodes: Nodes, by: str) -> str:
    return f"""SELECT {by}, count(*) AS lessons, count(*) FILTER (origin = 'new') AS new,
  count(*) FILTER (origin = 'replay') AS replay, count(*) FILTER (origin = 'seed') AS seed
FROM dataset WHERE node IN {of(nodes, "curate", "train")} GROUP BY {by} ORDER BY {by}"""


def verifiers(nodes: Nodes) -> str:
    return f"""SELECT verifier, version, count(*) AS judged, count(*) FILTER (outcome = 'pass') AS passed,
  count(*) FILTER (outcome = 'fail') AS failed, count(*) FILTER (outcome = 'unknown') AS unknown,
  coalesce(sum(seconds), 0) AS seconds
FROM verdicts WHERE node IN {of(nodes, "verify")} GROUP BY verifier, version ORDER BY verifier, version"""


def loss_curve(nodes: Nodes) -> str:
    return f"SELECT step, loss FROM losses WHERE node IN {of(nodes, 'train')} AND isfinite(loss) ORDER BY step"


def adapters(nodes: Nodes) -> str:
    return f"""SELECT model_id, base, base_hash, weights_hash, dataset_hash, settings, rows, left_out, tokens,
  steps FROM adapters WHERE node IN {of(nodes, "train")}"""


def decision(nodes: Nodes) -> str:
    return f"""SELECT outcome, incumbent_id, candidate_id, rules, preconditions, explanation, decision_hash
FROM decisions WHERE node IN {of(nodes, "gate")}"""


def turns(chain: Mapping[int, Nodes]) -> str:
    """Each iteration: what its gate said, the rows it trained on, how long its nodes took."""
    return f"""WITH {_turns(chain)}
SELECT turn.iteration, any_value(d.outcome) AS outcome, any_value(a.model_id) AS trained,
  any_value(a.rows) AS rows, coalesce(sum(n.seconds), 0) AS seconds
FROM turn LEFT JOIN nodes n ON n.node = turn.node AND n.status = 'done'
LEFT JOIN decisions d ON d.node = turn.node LEFT JOIN adapters a ON a.node = turn.node
GROUP BY turn.iteration ORDER BY turn.iteration"""


def node_costs(nodes: Nodes) -> str:
    every = of(nodes, *nodes)
    return f"""SELECT node, name, kind, seconds, rows_in, kept, rejected, failed FROM nodes
WHERE node IN {every} AND status = 'done' ORDER BY started_at, name"""


def deployed() -> str:
    return """SELECT model_id, iteration, action, weights_hash, epoch(deployed_at) AS deployed_at
FROM deployments ORDER BY sequence DESC LIMIT 1"""
