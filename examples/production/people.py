"""Simulated people: they ask the server by OpenAI's client, and a share of them says what the answer is worth.

`python people.py 500`, and while the wheel turns `python people.py 2000 --pause 0.5`. Seven in ten write as nobody
imagined. A request is sent once: no client tries again, so whatever is lost is counted.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from openai import OpenAI, OpenAIError

from teachers import IMAGINED, LIVE, said

LIVE_SHARE = 0.7


@dataclass
class Crowd:
    """`clients` at a time, each with a client of its own; `feedback`: the share that says something; `pause`: seconds
    that each waits before it asks again."""

    address: str
    clients: int = 5
    feedback: float = 0.2
    pause: float = 0.0
    seed: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    """Receipt → the model that answered."""
    words: dict[str, str] = field(default_factory=dict)
    """Id of a feedback → the receipt that it is about."""
    right: Counter[str] = field(default_factory=Counter)
    """By model."""
    faults: list[str] = field(default_factory=list)
    """Requests and words that were not taken, and why."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set by whoever has seen enough."""

    def ask(self, requests: int) -> None:
        """So many requests, or until `over`."""
        shares = [len(range(client, requests, self.clients)) for client in range(self.clients)]
        with ThreadPoolExecutor(self.clients) as pool:
            list(pool.map(self._ask, range(self.clients), shares))

    def told(self) -> dict[str, Any]:
        asked = Counter(self.answers.values())
        return {
            "requests": len(self.answers) + len(self.faults), "answered": len(self.answers), "words": len(self.words),
            "faults": self.faults, "right": {model: f"{self.right[model]} of {asked[model]}" for model in asked},
        }  # fmt: skip

    def _ask(self, number: int, requests: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        with OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=300) as client:
            for _ in range(requests):
                if self.over.is_set():
                    return
                intent = rng.choice(list(LIVE))
                phrases = LIVE if rng.random() < LIVE_SHARE else IMAGINED
                try:
                    self._one(client, said(rng, rng.choice(phrases[intent])), intent, rng.random() < self.feedback)
                except (OpenAIError, httpx.HTTPError) as error:
                    self.faults.append(f"{type(error).__name__}: {error}")
                self.over.wait(self.pause)

    def _one(self, client: OpenAI, message: str, intent: str, says: bool) -> None:
        row = {"task": "intent", "row": {"message": message}}
        answer = client.chat.completions.create(model="deployed", messages=[], extra_body={"flywheel": row})
        self.answers[answer.id] = answer.model
        is_right = (answer.choices[0].message.content or "").strip() == intent
        self.right[answer.model] += is_right
        if says:
            word = {"rating": 1} if is_right else {"rating": -1, "correction": intent}
            told = httpx.post(f"{self.address}/feedback", json={"receipt": answer.id, **word}, timeout=60)
            self.words[told.raise_for_status().json()["id"]] = answer.id


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requests", type=int)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests of a client")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    crowd = Crowd(asked.address, asked.clients, pause=asked.pause, seed=asked.seed)
    crowd.ask(asked.requests)
    print(json.dumps(crowd.told(), indent=1))


if __name__ == "__main__":
    main()
