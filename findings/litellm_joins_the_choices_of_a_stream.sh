#!/usr/bin/env bash
# litellm 1.106.2, seen in November 2026.
#
# Behaviour: of a streamed call with n=2, `stream_chunk_builder` makes one answer, of both answers' pieces in the order in which they came; the
# callbacks after a call (`log_success_event`), by which calls are logged, get the same:
#     the server streams    choice 0: "Paris" ", of course." (stop)       choice 1: "I do" " not know." (length)
#     stream=False          two choices, as the server sent them
#     stream=True           the text as sent, one end for both; built and logged: one choice, "ParisI do, of course. not know." (stop)
# Expected: two choices, by the index that each chunk says.
# Why it matters: answers are streamed and drawn several at a time to choose the best, to compare them or to learn from them. The log, and every data set
# made from it, holds sentences that no model said; that the second answer was cut at its length is nowhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "litellm==1.106.2"
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import litellm
from litellm.integrations.custom_logger import CustomLogger

PIECES = [(0, "Paris", None), (1, "I do", None), (0, ", of course.", None), (1, " not know.", None), (0, None, "stop"), (1, None, "length")]
ABOUT = {"id": "1", "created": 1, "model": "gpt-4o"}
ANSWERS = [("Paris, of course.", "stop"), ("I do not know.", "length")]
logged = []


class Provider(BaseHTTPRequestHandler):
    """A chat completion of two choices, whole or in pieces, as the protocol of OpenAI has it."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["n"] == 2
        if asked.get("stream"):
            chunks = [
                {**ABOUT, "object": "chat.completion.chunk", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": end}]}
                for index, text, end in PIECES
            ]
            body, kind = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", "text/event-stream"
        else:
            choices = [
                {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": end}
                for index, (text, end) in enumerate(ANSWERS)
            ]
            body, kind = json.dumps({**ABOUT, "object": "chat.completion", "choices": choices}), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


class Log(CustomLogger):
    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        logged.append(answers(response_obj))


def answers(response):
    return [(choice.message.content, choice.finish_reason) for choice in response.choices]


def ask(stream):
    return litellm.completion(
        "openai/gpt-4o", [{"role": "user", "content": "Capital of France?"}], n=2, stream=stream, api_key="none",
        api_base=f"http://127.0.0.1:{server.server_port}",
    )


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
Thread(target=server.serve_forever, daemon=True).start()
litellm.callbacks = [Log()]
whole = answers(ask(stream=False))
chunks = list(ask(stream=True))
choices = [choice for chunk in chunks for choice in chunk.choices]
pieces = [(choice.index, choice.delta.content) for choice in choices if choice.delta.content]
ends = [(choice.index, choice.finish_reason) for choice in choices if choice.finish_reason]
built = answers(litellm.stream_chunk_builder(chunks))
until = time.monotonic() + 30
while len(logged) < 2 and time.monotonic() < until:
    time.sleep(0.05)
print("whole", whole, "pieces", pieces, "ends", ends, "built", built, "logged", logged, sep="\n")
assert whole == ANSWERS
assert pieces == [(index, text) for index, text, _ in PIECES if text], "the behaviour has changed"
assert ends == [(0, "stop")], "the behaviour has changed"
assert built == [("ParisI do, of course. not know.", "stop")], "the behaviour has changed"
assert logged == [whole, built], "the behaviour has changed"
PYTHON
