"""Simulated teachers: `write` makes requests from what it is shown, `write_many` so many that some replies are cut off,
`read` turns one into a command.

They stand in for language models. Each is wrong at its declared `error_rate`, by the request's seed.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

DEVICES = ["lamp", "heater", "fan", "radio", "kettle", "oven", "printer", "screen", "curtain", "pump", "mixer", "alarm"]
ROOMS = [
    "kitchen",
    "hall",
    "office",
    "cellar",
    "bath",
    "garage",
    "attic",
    "bedroom",
    "nursery",
    "studio",
    "garden",
    "library",
]
#: How people ask (seeds) and how the writer says the same in other words.
ASKED = {
    "on": ["switch the {d} in the {r} on", "turn on the {r} {d}", "start the {d} in the {r}"],
    "off": ["switch the {d} in the {r} off", "turn off the {r} {d}", "stop the {d} in the {r}"],
}
OTHERWISE = {
    "on": ["let the {d} in the {r} run", "put the {r} {d} to work", "I want the {r} {d} going"],
    "off": ["give the {d} in the {r} a rest", "shut down the {r} {d}", "nobody needs the {d} in the {r}"],
}
WISH = re.compile("|".join(p.format(d=r"\w+", r=r"\w+") for ps in (ASKED, OTHERWISE) for p in ps["on"] + ps["off"]))
Action = tuple[str, str, str]


def write(request: dict[str, Any]) -> str:
    rng = random.Random(request["seed"])
    item, rows = request["item"], []
    for _ in range(request["n"]):
        if item is None:
            text, command = new(rng, request["seeds"])
        elif "direction" in item:
            text, command = evolved(rng, item["row"]["request"], item["answer"], item["direction"])
        else:
            text, command = reworded(rng, item["row"]["request"]), item["answer"]
        if rng.random() < request["options"]["error_rate"]:
            text, command = spoilt(rng, text, command)
        rows.append({"request": text, "command": command})
    return json.dumps(rows)


def new(rng: random.Random, seeds: list[dict[str, str]]) -> tuple[str, str]:
    """The beginning of one seed, the wish of another about something else, the end of a third."""
    first, middle, last = (rng.choice(seeds)["request"].split(", ") for _ in range(3))
    action = (act(middle[1]), rng.choice(DEVICES), rng.choice(ROOMS))
    return ", ".join([first[0], ask(rng, ASKED, action), last[-1]]), " ".join(action)


def evolved(rng: random.Random, text: str, command: str, direction: str) -> tuple[str, str]:
    start, wish, *rest = text.split(", ")
    action = (rng.choice(["on", "off"]), rng.choice(DEVICES), rng.choice(ROOMS))
    if direction == "harder" and ";" not in command:
        return ", ".join([start, wish, f"then {ask(rng, ASKED, action)}", *rest]), f"{command}; {' '.join(action)}"
    if direction == "constrained" and not re.search(r" at ", wish):
        hour, head, sep, tail = rng.randint(1, 12), *command.partition(";")
        return ", ".join([start, f"{wish} at {hour}", *rest]), f"{head} at {hour}{sep}{tail}"
    when = re.search(r" at \d+$", wish)
    wish = ask(rng, ASKED, action) + (when[0] if when else "")
    head, sep, tail = command.partition(";")
    return ", ".join([start, wish, *rest]), " ".join(action) + (when[0] if when else "") + sep + tail


def reworded(rng: random.Random, text: str) -> str:
    return WISH.sub(lambda wish: ask(rng, OTHERWISE, understood(wish[0])), text)


def spoilt(rng: random.Random, text: str, command: str) -> tuple[str, str]:
    """Something that language models do: a wrong answer, no command, a request nobody can carry out, a ramble."""
    return rng.choice([
        (text, command.replace("on ", "off ", 1) if command.startswith("on") else command.replace("off ", "on ", 1)),
        (text, " ".join(rng.choice(ROOMS) if word in ROOMS else word for word in command.split(" "))),
        (text, f"Sure! {command}"),
        (f"{text}, see the picture", command),
        (", ".join([text] * 3), command),
        (command.split(" ")[1], command),
    ])  # fmt: skip


def write_many(request: dict[str, Any]) -> str:
    """What `write` says, with outputs that no instance filter lets through; some replies meet their longest length."""
    rng, options = random.Random(f"{request['seed']} many"), request["options"]
    rows = json.loads(write(request))
    for row in rows:
        if rng.random() < options["faulty_rate"]:
            row["command"] = rng.choice(["", row["request"], f"{row['command']}; then:"])
    text = json.dumps(rows)
    return text[: rng.randrange(len(text) // 2, len(text) - 2)] if rng.random() < options["cut_rate"] else text


def read(request: dict[str, Any]) -> str:
    """The command, from the words alone."""
    rng = random.Random(request["seed"])
    found = [(understood(wish[0]), wish.end()) for wish in WISH.finditer(request["row"]["request"])]
    if not found or rng.random() < request["options"]["error_rate"]:
        return "I am not sure."
    text = request["row"]["request"]
    hours = [re.match(r" at \d+", text[end:]) for _, end in found]
    return "; ".join(
        " ".join(action) + (hour[0] if hour else "") for (action, _), hour in zip(found, hours, strict=True)
    )


def understood(wish: str) -> Action:
    words = wish.split()
    return act(wish), next(w for w in words if w in DEVICES), next(w for w in words if w in ROOMS)


def act(wish: str) -> str:
    return "off" if re.search(r"\b(off|stop|rest|shut|nobody)\b", wish) else "on"


def ask(rng: random.Random, patterns: dict[str, list[str]], action: Action) -> str:
    return rng.choice(patterns[action[0]]).format(d=action[1], r=action[2])
