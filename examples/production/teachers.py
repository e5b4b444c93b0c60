"""Two simulated teachers: `write` says again what failed, about other goods; `read` says what a message wants.

They stand in for language models. Each is wrong at its declared `error_rate`, by the request's seed.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any


def words(text: str) -> list[str]:
    return text.split()


#: How the team thought that people write.
IMAGINED = {
    "track_order": ["where is my order of {goods}", "please track my order of {goods}"],
    "change_address": ["please change the address for my {goods}", "deliver my {goods} to another address"],
    "refund": ["I would like a refund for my {goods}", "please refund the {goods}"],
    "invoice": ["please send an invoice for my {goods}", "I need an invoice for the {goods}"],
    "cancel": ["please cancel my order of {goods}", "I would like to cancel the {goods}"],
    "exchange": ["I would like to exchange my {goods}", "please exchange the {goods}"],
}
#: How they do.
LIVE = {
    "track_order": ["still no {goods} here", "any news on them {goods}"],
    "change_address": ["we moved, bring the {goods} there", "the {goods} must go to my mum now"],
    "refund": ["cash back for those {goods}", "the {goods} broke, pay me"],
    "invoice": ["got a paper for the tax, {goods} it was", "my boss wants a bill, {goods}"],
    "cancel": ["forget the {goods}", "changed my mind, no {goods}"],
    "exchange": ["{goods} too small, swap them", "wrong colour {goods}, send others"],
}
GOODS = words(
    "lamps chairs rugs mugs pens boots hats drums kites plates forks spoons bags belts coats socks shirts "
    "scarves gloves tents ropes bikes bells tyres pumps clocks vases bowls pots pans jars trays shelves "
    "desks beds sheets towels mirrors frames brushes paints books maps globes cards dice dolls trains "
    "balls nets skis sledges helmets rackets"
)
STARTS = ["hi, ", "hello, ", "good day, ", "one thing, ", ""]
ENDS = ["", " please", ", thanks", ", what now", ", it is urgent"]
_GOODS = re.compile(rf"\b({'|'.join(GOODS)})\b")


def write(request: dict[str, Any]) -> str:
    """Messages of what it is shown, about other goods; of a failure whose answer nobody knows it reads the intent."""
    rng = random.Random(request["seed"])
    shown = [(one["row"]["message"], one["gold"]) for one in request["failures"]]
    shown = shown or [(seed["message"], seed["intent"]) for seed in request["seeds"]]
    rows = []
    for _ in range(request["n"]):
        message, intent = rng.choice(shown)
        intent = intent or intent_of(message)
        if rng.random() < request["options"]["error_rate"]:
            intent = rng.choice([other for other in LIVE if other != intent])
        rows.append({"message": said(rng, _GOODS.sub("{goods}", core(message))), "intent": intent})
    return json.dumps(rows)


def read(request: dict[str, Any]) -> str:
    rng = random.Random(request["seed"])
    if rng.random() < request["options"]["error_rate"]:
        return rng.choice(list(LIVE))
    return intent_of(request["row"]["message"])


def said(rng: random.Random, phrase: str) -> str:
    """A whole message."""
    return rng.choice(STARTS) + phrase.format(goods=rng.choice(GOODS)) + rng.choice(ENDS)


def core(message: str) -> str:
    """A message without what stands around it."""
    start = next(start for start in STARTS if message.startswith(start))
    end = next(end for end in sorted(ENDS, key=len, reverse=True) if message.endswith(end))
    return message[len(start) : len(message) - len(end)]


def intent_of(message: str) -> str:
    phrase = _GOODS.sub("{goods}", core(message))
    return next(intent for intent in LIVE if phrase in IMAGINED[intent] + LIVE[intent])
