"""The page of `flywheel review`: plain forms, for this machine only.

Who may write is who has the page: each form carries a token that only this server's own pages have, and a page
elsewhere that has its name resolve to this machine is refused by its name.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from flywheel.engine.approval import speak
from flywheel.engine.loopback import STRANGER, LoopbackHandler, loopback_server, serve_until_stopped
from flywheel.engine.project import open_project
from flywheel.engine.reviewing.items import ReviewDesk, ReviewItem, approvals_wanted
from flywheel.engine.reviewing.log import keep, read_reviews
from flywheel.errors import FlywheelError
from flywheel.records.reviews import Review, Words, categories, last_words, settled
from flywheel.report.html import render_review
from flywheel.stats import krippendorff_alpha
from flywheel.text import listing, one_line

#: Bytes of a form; an answer of a student has tens of thousands at most.
MOST_BYTES = 1 << 20
LONGEST_NAME = 60
#: Items of a group that the overview links; the forms lead through all.
LISTED = 200

Fields = Mapping[str, str]


class FormRefused(Exception):
    """What was sent cannot be taken: the status, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


@dataclass(frozen=True)
class Response:
    status: HTTPStatus
    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class ReviewRoom:
    """One running `flywheel review`. `person`: who speaks where the page was not told; `needed`: people that an item
    takes."""

    desk: ReviewDesk
    person: str = ""
    needed: int = 1
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _items: dict[str, ReviewItem] = field(default_factory=dict)

    def words(self) -> dict[str, dict[str, Review]]:
        return last_words(read_reviews(self.desk.state))

    def items(self, spoken: Mapping[str, Words], anew: bool = False) -> dict[str, ReviewItem]:
        """By name; read again where the overview is asked for, so that a word costs no look at the whole project."""
        if anew or not self._items:
            self._items = {item.name: item for item in self.desk.items(spoken)}
        return self._items

    # -- looking

    def get(self, address: str, person: str) -> Response:
        split = urlsplit(address)
        wanted = dict(parse_qsl(split.query))
        pages = {"/": self._overview, "/item": self._item, "/next": self._next}
        if split.path not in pages:
            raise FormRefused(HTTPStatus.NOT_FOUND, "There is no such page. All that waits is at /")
        if not person or (split.path == "/" and "who" in wanted):
            return _page("who", token=self.token, person=person)
        return pages[split.path](wanted, person)

    def _overview(self, wanted: Fields, person: str) -> Response:
        del wanted
        words = self.words()
        items = self.items(words, anew=True)
        groups: dict[str, list[ReviewItem]] = {}
        for item in items.values():
            groups.setdefault(item.group, []).append(item)
        return _page(
            "overview",
            token=self.token,
            person=person,
            needed=self.needed,
            groups=[_group(name, found, words, person) for name, found in groups.items()],
            approvals=self._approvals(),
        )

    def _approvals(self) -> Sequence[Any]:
        return approvals_wanted(open_project(self.desk.spec)) if self.desk.spec is not None else ()

    def _next(self, wanted: Fields, person: str) -> Response:
        """The first item that needs a word of this person's: after the one just seen, then from the start."""
        words = self.words()
        names = list(self.items(words))
        start = names.index(wanted["after"]) + 1 if wanted.get("after") in names else 0
        open_ = [name for name in [*names[start:], *names[:start]] if self._needs(words.get(name, {}), person)]
        kept = {"kept": wanted["after"]} if "kept" in wanted else {}
        if not open_:
            return _elsewhere("/")
        return _elsewhere("/item?" + urlencode({"name": open_[0], **kept}))

    def _item(self, wanted: Fields, person: str) -> Response:
        words = self.words()
        item = self._known(wanted.get("name", ""), words)
        mine = words.get(item.name, {}).get(person.casefold())
        found = list(self.items(words).values())
        return _page(
            "item",
            token=self.token,
            form=secrets.token_hex(16),
            person=person,
            item=item,
            mine=mine,
            kept=wanted.get("kept", ""),
            number=next(i for i, other in enumerate(found, 1) if other.name == item.name),
            total=len(found),
            open=sum(self._needs(words.get(other.name, {}), person) for other in found),
        )

    def _known(self, name: str, words: Mapping[str, Words]) -> ReviewItem:
        item = self.items(words).get(name) or self.items(words, anew=True).get(name)
        if item is None:
            raise FormRefused(HTTPStatus.NOT_FOUND, "That does not wait any more. All that waits is at /")
        return item

    def _needs(self, words: Words, person: str) -> bool:
        """Whether this person is still to speak: too few did, or they do not agree."""
        return person.casefold() not in words and (len(words) < self.needed or settled(words).state != "settled")

    # -- saying

    def post(self, address: str, fields: Fields, person: str) -> Response:
        if not hmac.compare_digest(fields.get("token", "").encode(), self.token.encode()):
            raise FormRefused(
                HTTPStatus.FORBIDDEN, "This form is of an earlier start, or of another page. Load / again."
            )
        path = urlsplit(address).path
        if path == "/person":
            return self._introduced(fields)
        if not person:
            raise FormRefused(HTTPStatus.BAD_REQUEST, "Who speaks? Say your name at / first.")
        if path == "/word":
            return self._said(fields, person)
        if path == "/approval":
            return self._approved(fields, person)
        raise FormRefused(HTTPStatus.NOT_FOUND, "There is no such form.")

    def _introduced(self, fields: Fields) -> Response:
        name = person_named(fields.get("person", ""))
        cookie = f"reviewer={quote(name, safe='')}; Path=/; HttpOnly; SameSite=Strict"
        return _elsewhere("/", ("Set-Cookie", cookie))

    def _said(self, fields: Fields, person: str) -> Response:
        item = self._known(fields.get("item", ""), self.words())
        review = Review(
            review_id=_form_id(fields.get("form", "")),
            item=item.name,
            person=person,
            value=None if fields.get("say") == "none" else _value(item, fields.get("value", "")),
            note=one_line(fields.get("note", ""), 2_000),
            needed=self.needed,
            given_at=datetime.now(UTC).isoformat(),
        )
        keep(self.desk.state, review)
        return _elsewhere("/next?" + urlencode({"after": item.name, "kept": "1"}))

    def _approved(self, fields: Fields, person: str) -> Response:
        if self.desk.spec is None:
            raise FormRefused(HTTPStatus.NOT_FOUND, "There is no project here, so nothing to approve.")
        word, number = fields.get("say", ""), fields.get("iteration", "")
        words: Mapping[str, Literal["approve", "reject"]] = {"approve": "approve", "reject": "reject"}
        if word not in words or not number.isdecimal():
            raise FormRefused(HTTPStatus.BAD_REQUEST, "Say approve or reject, of an iteration.")
        speak(open_project(self.desk.spec), int(number), words[word], person, fields.get("note", ""))
        return _elsewhere("/")


def person_named(name: str) -> str:
    """A name that can be kept. Raises FormRefused for none, and for one that no person has."""
    found = one_line(name, LONGEST_NAME)
    if not found:
        raise FormRefused(HTTPStatus.BAD_REQUEST, "A name is needed; it is kept with each word.")
    return found


def _form_id(text: str) -> str:
    if not (len(text) == 32 and set(text) <= set("0123456789abcdef")):
        raise FormRefused(HTTPStatus.BAD_REQUEST, "This form has lost its number. Load the page again.")
    return text


def _value(item: ReviewItem, text: str) -> str:
    value = text.replace("\r\n", "\n").strip()
    if not value:
        raise FormRefused(HTTPStatus.BAD_REQUEST, "An answer is needed, or say that there is no right one.")
    if item.choices and value not in item.choices:
        raise FormRefused(HTTPStatus.BAD_REQUEST, f"The answers are: {listing(item.choices, value)}.")
    return value


def _group(name: str, items: Sequence[ReviewItem], words: Mapping[str, Words], person: str) -> dict[str, Any]:
    """What the overview says of a group: how far it is, and how far people agree."""
    said = [words.get(item.name, {}) for item in items]
    states = [settled(found).state for found in said]
    rows = [
        {"name": item.name, "text": _headline(item), "state": state, "mine": person.casefold() in found}
        for item, state, found in zip(items, states, said, strict=True)
    ]
    return {
        "name": name, "total": len(items), "settled": states.count("settled"), "disputed": states.count("disputed"),
        "mine": sum(row["mine"] is True for row in rows), "twice": sum(len(found) > 1 for found in said),
        "alpha": krippendorff_alpha(map(categories, said)), "rows": rows[:LISTED],
    }  # fmt: skip


def _headline(item: ReviewItem) -> str:
    return one_line(" · ".join(str(value) for value in item.question.values()), 90) or item.name


def _page(view: str, **values: Any) -> Response:
    return Response(HTTPStatus.OK, render_review(view, **values).encode())


def _elsewhere(address: str, *headers: tuple[str, str]) -> Response:
    return Response(HTTPStatus.SEE_OTHER, headers=(("Location", address), *headers))


# --- the server -------------------------------------------------------------------------------------------------------


def server(room: ReviewRoom, port: int = 0) -> ThreadingHTTPServer:
    """On the loopback of this machine; port 0 takes a free one. Raises UsageError where the port is taken."""

    class FormHandler(LoopbackHandler):
        def do_GET(self) -> None:
            self._answer(lambda: room.get(self.path, self._person()))

        def do_POST(self) -> None:
            self._answer(lambda: room.post(self.path, self._fields(), self._person()))

        def _answer(self, respond: Callable[[], Response]) -> None:
            try:
                self._refuse_strangers()
                self._send(respond())
            except FormRefused as refused:
                self._say(refused.status, refused.why)
            except FlywheelError as error:
                self._say(HTTPStatus.CONFLICT, str(error))

        def _refuse_strangers(self) -> None:
            if not self.is_asked_by_its_own_name:
                raise FormRefused(HTTPStatus.FORBIDDEN, STRANGER)
            if self.command == "POST" and self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                raise FormRefused(HTTPStatus.FORBIDDEN, "This form was sent from another page.")

        def _person(self) -> str:
            pairs = (part.strip().partition("=") for part in self.headers.get("Cookie", "").split(";"))
            kept = next((value for name, _, value in pairs if name == "reviewer"), "")
            return one_line(unquote(kept), LONGEST_NAME) or room.person

        def _fields(self) -> Fields:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise FormRefused(HTTPStatus.LENGTH_REQUIRED, "How long is it?")
            if int(length) > MOST_BYTES:
                raise FormRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"More than {MOST_BYTES:,} bytes.")
            if self.headers.get_content_type() != "application/x-www-form-urlencoded":
                raise FormRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only forms are taken.")
            try:
                text = self.rfile.read(int(length)).decode("utf-8")
                return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20))
            except ValueError as error:
                raise FormRefused(HTTPStatus.BAD_REQUEST, f"The form cannot be read: {error}") from error

        def _say(self, status: HTTPStatus, text: str) -> None:
            self._send(Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8"))

        def _send(self, response: Response) -> None:
            headers = (("X-Frame-Options", "DENY"), *response.headers)
            self.send_page(response.status, response.kind, response.body, headers)

    return loopback_server(FormHandler, port)


def serve(room: ReviewRoom, port: int, say: Callable[[str], None]) -> None:
    """Until Ctrl-C. `say` is told the address."""
    serve_until_stopped(server(room, port), say)


def desk_at(spec: Path, rows: Sequence[Any]) -> ReviewDesk:
    """Of a project, or of `rows` alone: their spec need not be valid yet."""
    return ReviewDesk(spec.absolute().parent, None if rows else spec, tuple(rows))
