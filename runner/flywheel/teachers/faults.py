"""How a teacher's call can fail, and what each class means for retrying and paying.

    class           retried  teacher stops  paid
    rate_limit      yes                     no       429
    timeout         yes                     maybe    the attempt's total deadline passed
    server          yes                     no       5xx
    connection      yes                     maybe    refused, reset, cut off
    malformed       yes                     maybe    not a chat completion: HTML, broken JSON, too large
    auth                     yes            no       401, 403
    quota                    yes            no       429 or 402: no money left
    not_found                yes            no       404: no such model or path
    wrong_model              yes            yes      another model answered than the one asked for
    format       (laxer form)               no       400: the server does not take this response_format
    bad_request                             no       any other 4xx
    context_length                          no       the prompt is too long
    content_filter                          yes      refused by a filter
    refusal                                 yes      the model declined
    truncated                               yes      the answer met max_tokens
    empty                                   yes      no choices, no text
    crashed                                 no       the project's function raised
    unavailable              (breaker open) no       not sent: the teacher keeps failing
    interrupted                             maybe    sent before a crash; no answer was received

"Maybe paid" counts as paid in full: the upper bound of the call.
"""

from __future__ import annotations

import re

from flywheel.records import FaultClass, Reply
from flywheel.teachers.bill import NO_BILL, Bill

RETRIED = frozenset({"rate_limit", "timeout", "server", "connection", "malformed"})
STOPPING = frozenset({"auth", "quota", "not_found", "wrong_model"})
OUT_OF_REACH = STOPPING | RETRIED | {"unavailable"}
"""Where another teacher may do what this one cannot; a reached limit of money is `BudgetStop`, never a fault."""
MAYBE_PAID = frozenset({"timeout", "connection", "malformed", "interrupted"})
ANSWERED = frozenset({"content_filter", "refusal", "truncated", "empty"})

_CONTEXT = re.compile(
    r"context.?length|maximum context|context window|prompt is too long|too many (input )?tokens", re.I
)
_FILTER = re.compile(r"content.?(filter|policy)|content management policy", re.I)
_QUOTA = re.compile(r"insufficient.?quota|exceeded your current quota|billing|credit balance", re.I)


class TeacherFault(Exception):
    """One attempt failed. `retry_after` is what the server asked for, in seconds; `bill` what it said of tokens."""

    def __init__(
        self,
        fault: FaultClass,
        detail: str = "",
        retry_after: float | None = None,
        text: str = "",
        bill: Bill = NO_BILL,
        overloaded: bool = False,
        paid: bool | None = None,
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after
        self.text = text
        self.bill = bill
        self.paid = fault in MAYBE_PAID | ANSWERED if paid is None else paid
        self.overloaded = overloaded or fault in ("rate_limit", "timeout")


def fault_of_status(status: int, body: str, retry_after: float | None = None) -> TeacherFault:
    """The class of an HTTP answer that is not 200; `body` is kept as detail."""
    detail = f"HTTP {status}: {body[:2_000]}"
    return TeacherFault(_class_of(status, body), detail, retry_after, overloaded=status in (429, 503, 529), paid=False)


def _class_of(status: int, body: str) -> FaultClass:
    if status in (402, 429) and (status == 402 or _QUOTA.search(body)):
        return "quota"
    if status == 429:
        return "rate_limit"
    if status in (401, 403):
        return "auth"
    if status == 404:
        return "not_found"
    if status == 408:
        return "timeout"
    if status >= 500 or status in (409, 425):
        return "server"
    if _CONTEXT.search(body):
        return "context_length"
    return "content_filter" if _FILTER.search(body) else "bad_request"


def is_final(reply: Reply) -> bool:
    """Whether asking again with the same key would only pay again. Passing faults are asked again in the next
    run.
    """
    return reply.status == "ok" or reply.fault in ANSWERED
