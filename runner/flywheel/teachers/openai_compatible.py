"""The lean path: an OpenAI-compatible server with an `api_base`, over aiohttp. Litellm costs 4 ms CPU a call;
this 0.3.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from flywheel.records import LessonRequest
from flywheel.spec.teachers import LitellmTeacher, Teacher
from flywheel.teachers.chat import MAX_BODY_BYTES, Completion, check_model, payload, read_completion, retry_after
from flywheel.teachers.faults import TeacherFault, fault_of_status
from flywheel.teachers.structured import Ladder

if TYPE_CHECKING:
    import aiohttp

PREFIXES = ("openai/", "hosted_vllm/")


def serves(teacher: Teacher) -> bool:
    return teacher.address is not None and teacher.routed_as.startswith(PREFIXES)


class OpenAICompatible:
    """`Transport` to `{api_base}/chat/completions`; one kept-alive session. No redirects, no retries, a body
    cap.
    """

    def __init__(self, teacher: LitellmTeacher, api_base: str, api_key: str | None) -> None:
        self._teacher = teacher
        self._ladder = Ladder(teacher.output)
        base = urlsplit(api_base)
        # A query stays behind the path, where servers look for a key or a version.
        self._url = urlunsplit(base._replace(path=f"{base.path.rstrip('/')}/chat/completions"))
        self._model = teacher.model.partition("/")[2]
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        import aiohttp

        # The desk bounds the connections and the time; aiohttp's own limits would only add to them.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def complete(self, request: LessonRequest) -> Completion:
        import aiohttp

        form = self._ladder.form(request)
        body = json.dumps({"model": self._model, **payload(self._teacher, request, form)}).encode()
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                raw = await _read(response)
                headers = {k.lower(): v for k, v in response.headers.items()} if response.status != 200 else {}
        except aiohttp.ClientConnectorError as error:
            raise TeacherFault("connection", f"{type(error).__name__}: {error}", paid=False) from error
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            raise TeacherFault("connection", f"{type(error).__name__}: {error}") from error
        if response.status != 200:
            fault = fault_of_status(response.status, raw.decode("utf-8", "replace"), retry_after(headers))
            raise self._ladder.judged(form, fault)
        return check_model(self._model, read_completion(_json(raw)))

    async def close(self) -> None:
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BODY_BYTES:
            response.close()
            raise TeacherFault("malformed", f"the answer is longer than {MAX_BODY_BYTES >> 20} MB: {parts[0][:200]!r}")
        parts.append(part)
    return b"".join(parts)


def _whole(digits: str) -> int | float:
    """Python refuses to read thousands of digits; one field that holds them makes no answer unreadable."""
    return int(digits) if len(digits) < 400 else float(digits)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        shown = raw[:2_000].decode("utf-8", "replace")
        raise TeacherFault("malformed", f"status 200, but not JSON ({error}): {shown}") from error
