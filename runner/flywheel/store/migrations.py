"""The tables, forward only. A migration is a function's worth of SQL appended to `MIGRATIONS`; never edit one.

Every table but the first few carries `node`: the fingerprint of the node that wrote the row. Lineage is a join:
deployments → decisions → scores → adapters → dataset → candidates → verdicts, calls, budgets → failures → answers.
"""

from __future__ import annotations

INITIAL = """
CREATE TABLE runs (
    run_id VARCHAR, started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, status VARCHAR,     -- running done failed interrupted
    spec_hash VARCHAR, spec_text VARCHAR, versions JSON, command VARCHAR);

-- One row a node that is done. What a node read is in `inputs` (part → hash or value), what it says in `summary`.
CREATE TABLE nodes (
    node VARCHAR, run_id VARCHAR, name VARCHAR, kind VARCHAR, iteration INTEGER,
    status VARCHAR,                                                                     -- done failed
    inputs JSON, parents JSON, rows_in BIGINT, kept BIGINT, rejected BIGINT, failed BIGINT,
    summary JSON, error VARCHAR, started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, seconds DOUBLE);

-- The student's answers to probe rows (suite answers are in `scores`).
CREATE TABLE answers (
    node VARCHAR, answer_id VARCHAR, task VARCHAR, row_id VARCHAR, model_id VARCHAR, "row" JSON, gold VARCHAR,
    prompt VARCHAR, answer VARCHAR, tokens INTEGER, truncated BOOLEAN, outcome VARCHAR); -- outcome: pass fail unknown

-- One row for each subject (answer_id, candidate_id) and verifier that looked at it.
CREATE TABLE verdicts (
    node VARCHAR, subject_id VARCHAR, verifier VARCHAR, version VARCHAR, outcome VARCHAR, reason VARCHAR,
    seconds DOUBLE);

CREATE TABLE failures (
    node VARCHAR, failure_id VARCHAR, answer_id VARCHAR, task VARCHAR, mode VARCHAR, severity VARCHAR);

-- Rates of each mode among the probes, and what they buy.
CREATE TABLE budgets (
    node VARCHAR, generator VARCHAR, task VARCHAR, mode VARCHAR, severity VARCHAR, probes BIGINT, failures BIGINT,
    mass DOUBLE, share DOUBLE, lessons BIGINT);

-- Every teacher call that was answered or given up; the key is never paid twice.
CREATE TABLE calls (
    key VARCHAR, run_id VARCHAR, teacher VARCHAR, kind VARCHAR, purpose VARCHAR, mode VARCHAR, model VARCHAR,
    request JSON, status VARCHAR, text VARCHAR, fault VARCHAR, detail VARCHAR, input_tokens BIGINT,
    output_tokens BIGINT, usd DOUBLE, seconds DOUBLE, attempts INTEGER, called_at TIMESTAMPTZ);

-- What teachers proposed. `status`: parsed, or unparsed (then `problem` says why and `text` has it).
CREATE TABLE candidates (
    node VARCHAR, candidate_id VARCHAR, task VARCHAR, generator VARCHAR, teacher VARCHAR, mode VARCHAR, round INTEGER,
    call_key VARCHAR, "row" JSON, target VARCHAR, reference VARCHAR, reference_from VARCHAR, failure_ids VARCHAR[],
    status VARCHAR, problem VARCHAR, text VARCHAR);

-- What became of a candidate (records.fates): pass, spare, fail, unknown.
CREATE TABLE judged (
    node VARCHAR, candidate_id VARCHAR, outcome VARCHAR, verifier VARCHAR, reason VARCHAR);

-- Every accepted candidate's fate in curation: kept, or dropped with the stage and the reason.
CREATE TABLE curation (
    node VARCHAR, candidate_id VARCHAR, decision VARCHAR, stage VARCHAR, reason VARCHAR, difficulty DOUBLE,
    rank INTEGER);

-- The training rows of an iteration, in order. `origin`: new, replay, seed.
CREATE TABLE dataset (
    node VARCHAR, position INTEGER, lesson_id VARCHAR, candidate_id VARCHAR, origin VARCHAR, task VARCHAR, mode VARCHAR,
    teacher VARCHAR, "row" JSON, target VARCHAR, prompt VARCHAR);

CREATE TABLE adapters (
    node VARCHAR, model_id VARCHAR, base VARCHAR, base_hash VARCHAR, path VARCHAR, weights_hash VARCHAR,
    dataset_hash VARCHAR, settings JSON, rows BIGINT, left_out BIGINT, tokens BIGINT, steps INTEGER, loss DOUBLE);

CREATE TABLE losses (node VARCHAR, step INTEGER, epoch DOUBLE, loss DOUBLE, learning_rate DOUBLE, tokens BIGINT);

-- One row for each suite item and arm (incumbent, candidate).
CREATE TABLE scores (
    node VARCHAR, suite VARCHAR, arm VARCHAR, model_id VARCHAR, item_id VARCHAR, "row" JSON, gold VARCHAR,
    answer VARCHAR, outcome VARCHAR, score DOUBLE, mode VARCHAR, severity VARCHAR, verdicts JSON, slices JSON,
    cluster VARCHAR);

CREATE TABLE decisions (
    node VARCHAR, iteration INTEGER, outcome VARCHAR, incumbent_id VARCHAR, candidate_id VARCHAR, rules JSON,
    preconditions JSON, explanation VARCHAR, decision_hash VARCHAR,
    holdout VARCHAR,           -- hash over the items of the gate's suites, to count how often they were looked at
    decided_at TIMESTAMPTZ);

-- Append-only history of the pointer. `action`: deploy, rollback.
CREATE TABLE deployments (
    sequence BIGINT, node VARCHAR, action VARCHAR, iteration INTEGER, model_id VARCHAR, weights_hash VARCHAR,
    decision_hash VARCHAR, manifest JSON, deployed_at TIMESTAMPTZ, previous_hash VARCHAR, hash VARCHAR);
"""

TRUST = """
ALTER TABLE candidates ADD COLUMN strategy VARCHAR;
ALTER TABLE candidates ADD COLUMN group_id VARCHAR;      -- samples of one question
ALTER TABLE candidates ADD COLUMN depth INTEGER;         -- machine-made rows between this one and a person's
ALTER TABLE candidates ADD COLUMN parent_id VARCHAR;     -- the row it was made from
ALTER TABLE judged ADD COLUMN pass_rate DOUBLE;          -- share of the group's samples that passed
ALTER TABLE judged ADD COLUMN score DOUBLE;              -- mean grade of the verifiers that grade
ALTER TABLE verdicts ADD COLUMN score DOUBLE;
ALTER TABLE verdicts ADD COLUMN advisory BOOLEAN;
ALTER TABLE runs ADD COLUMN sandbox VARCHAR;             -- tier that untrusted code ran in; empty where none ran
ALTER TABLE runs ADD COLUMN tainted BOOLEAN;             -- untrusted code ran without a sandbox

-- A judge's agreement with people.
CREATE TABLE calibrations (
    verifier VARCHAR, version VARCHAR, teacher VARCHAR, cases BIGINT, agreed BIGINT, kappa DOUBLE, low DOUBLE,
    high DOUBLE, confusion JSON, calibrated_at TIMESTAMPTZ);

-- How often a verifier is wrong. `source`: golden, seeds, or the corruption. `expected`: pass or fail.
CREATE TABLE audits (
    audit VARCHAR, task VARCHAR, verifier VARCHAR, version VARCHAR, source VARCHAR, expected VARCHAR, cases BIGINT,
    passed BIGINT, failed BIGINT, unknown BIGINT, wrong JSON, audited_at TIMESTAMPTZ);
"""

RULER = """
ALTER TABLE scores ADD COLUMN tokens INTEGER;            -- of the answer
ALTER TABLE scores ADD COLUMN seconds DOUBLE;            -- the answer's share of its batch
ALTER TABLE scores ADD COLUMN truncated BOOLEAN;         -- cut at max_new_tokens
ALTER TABLE scores ADD COLUMN prompt_tokens INTEGER;
ALTER TABLE scores ADD COLUMN samples JSON;              -- of repeats: each answer and outcome
ALTER TABLE decisions ADD COLUMN look INTEGER;

-- Append-only: who let a decision pass, or not. The hashes are of what that person saw.
CREATE TABLE approvals (
    sequence BIGINT, node VARCHAR, iteration INTEGER, verdict VARCHAR, person VARCHAR, note VARCHAR,
    decision_hash VARCHAR, report_hash VARCHAR, weights_hash VARCHAR, dataset_hash VARCHAR, given_at TIMESTAMPTZ,
    previous_hash VARCHAR, hash VARCHAR);

-- Two small trainings that differ in one part. `scores`: item → [with, without].
CREATE TABLE ablations (
    node VARCHAR, name VARCHAR, without VARCHAR, suite VARCHAR, lessons BIGINT, items BIGINT, with_part DOUBLE,
    without_part DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE, p_value DOUBLE, detail JSON);
"""

SUBJECTS = r"""
ALTER TABLE nodes ADD COLUMN subject VARCHAR;            -- task, generator, ablation; empty where there is one
ALTER TABLE nodes ADD COLUMN round INTEGER;              -- refill round, 0 where there are none
UPDATE nodes SET subject = split_part(name, '.', 3), round = coalesce(TRY_CAST(
    CASE WHEN kind IN ('generate', 'verify') THEN regexp_extract(name, '\.r([0-9]+)$', 1) END AS INTEGER), 0);
"""

FATES = """
-- A candidate that passed and was not needed is spare. It was called a failure of a verifier that there is not.
UPDATE judged SET outcome = 'spare', verifier = NULL WHERE verifier = '(selection)';
"""

TRAFFIC = """
-- One call of a model in production, without personal data. `flags`: why it is never learned from (records.traffic).
-- `asked`, `held`: of the conversation before the answer, and with it; `earlier`: the same of each of its turns before.
CREATE TABLE traffic (
    source_id VARCHAR, format VARCHAR, file VARCHAR, conversation VARCHAR, trace VARCHAR, name VARCHAR, turn INTEGER,
    messages JSON, tools JSON, answer VARCHAR, "row" JSON, model VARCHAR, called_at TIMESTAMPTZ, input_tokens BIGINT,
    output_tokens BIGINT, usd DOUBLE, flags VARCHAR[], asked VARCHAR, held VARCHAR, earlier VARCHAR[],
    ingested_at TIMESTAMPTZ);

-- What was said of it. `about`: a source_id, or a trace. `author`: person, or what graded it.
CREATE TABLE feedback (
    opinion_id VARCHAR, about VARCHAR, given_at TIMESTAMPTZ, rating INTEGER, correction VARCHAR, comment VARCHAR,
    author VARCHAR, file VARCHAR, ingested_at TIMESTAMPTZ);

-- Append-only: each file that was taken in (items = stored + completed + known + opinions + refused), and each removal.
CREATE TABLE ingests (
    sequence BIGINT, action VARCHAR, file VARCHAR, format VARCHAR, items BIGINT, stored BIGINT, completed BIGINT,
    known BIGINT, opinions BIGINT, refused JSON, flagged JSON, redacted JSON, removed BIGINT, done_at TIMESTAMPTZ);

-- What is never taken in again: hashes of source ids.
CREATE TABLE forgotten (source_hash VARCHAR, forgotten_at TIMESTAMPTZ);

ALTER TABLE answers ADD COLUMN source_id VARCHAR;         -- of an answer from production: the call in `traffic`
"""

REVIEWS = """
-- What people said in `flywheel review`, taken in when an apply begins: append-only, the last word of a person counts.
-- `item`: kind, place and id; `value`: the answer, NULL where there is no right one; `needed`: people that it takes.
CREATE TABLE reviews (
    sequence BIGINT, review_id VARCHAR, item VARCHAR, person VARCHAR, value VARCHAR, note VARCHAR, needed INTEGER,
    given_at TIMESTAMPTZ);
"""

PREFERENCE = """
-- The student's own answers to questions that it may learn from, sampled and judged. `pass_rate`: of the question's
-- answers that could be judged, in the same round.
CREATE TABLE samples (
    node VARCHAR, sample_id VARCHAR, round INTEGER, model_id VARCHAR, task VARCHAR, question_id VARCHAR, "row" JSON,
    gold VARCHAR, prompt VARCHAR, answer VARCHAR, tokens INTEGER, truncated BOOLEAN, outcome VARCHAR,
    pass_rate DOUBLE);

-- What a round of learning from judged answers was given: a pair, or one answer with its reward. `origin` of a wrong
-- answer: sample, probe, candidate.
CREATE TABLE preferences (
    node VARCHAR, position INTEGER, task VARCHAR, question_id VARCHAR, prompt VARCHAR, chosen VARCHAR,
    rejected VARCHAR, reward DOUBLE, origin VARCHAR);
"""

POLICIES = """
-- How many of the student's samples of a probe row are right, where the budget goes by that.
CREATE TABLE edges (node VARCHAR, task VARCHAR, answer_id VARCHAR, samples INTEGER, passed INTEGER);
"""

CLEARED = """
-- What a training row says (`lesson_id`) that was held against these eval items (`evals`: their fingerprint) and
-- overlaps none: it is not looked at again.
CREATE TABLE cleared (node VARCHAR, evals VARCHAR, lesson_id VARCHAR);
"""

SIGNATURES = """
-- What a lesson is compared by for near-duplicates (store.similarity.Signature), worked out once; of two the later
-- node's counts, which found another part of its text to be what it says.
CREATE TABLE signatures (
    node VARCHAR, lesson_id VARCHAR, content VARCHAR, "copy" VARCHAR, kind VARCHAR, least BLOB);
"""

STAGES = """
-- Suites whose evaluation ends when their rules are decided: `ends` of the stages, the last `stage`, the items `left`.
ALTER TABLE decisions ADD COLUMN stages JSON;
"""

QUESTIONS = """
-- What a lesson's question is told by, in the same words or not: 16 hex digits over its normalised text.
ALTER TABLE signatures ADD COLUMN question VARCHAR;
"""

SHORT_SIGNATURES = """
-- Made anew from the lessons: `signature` is a row of store.similarity.SIGNATURE, `lines` the digests of the lesson's
-- lines, which tell whether it has to be looked at again when other lines became frames.
DROP TABLE signatures;
CREATE TABLE signatures (node VARCHAR, lesson_id VARCHAR, signature BLOB, lines BLOB);
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    ("0001_initial", INITIAL), ("0002_trust", TRUST), ("0003_ruler", RULER), ("0004_subjects", SUBJECTS),
    ("0005_fates", FATES), ("0006_traffic", TRAFFIC), ("0007_reviews", REVIEWS), ("0008_preference", PREFERENCE),
    ("0009_policies", POLICIES), ("0010_cleared", CLEARED + SIGNATURES), ("0011_stages", STAGES),
    ("0013_questions", QUESTIONS), ("0016_short_signatures", SHORT_SIGNATURES),
)  # fmt: skip

#: Tables whose rows belong to one node; a node that did not finish leaves nothing in them.
NODE_TABLES: tuple[str, ...] = (
    "answers", "verdicts", "failures", "budgets", "candidates", "judged", "curation", "dataset", "adapters", "losses",
    "scores", "decisions", "ablations", "samples", "preferences", "edges", "cleared", "signatures",
)  # fmt: skip
