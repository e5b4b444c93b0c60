"""Two teachers that always write the same lesson."""

import json


def terse(request: dict) -> str:
    return json.dumps([{"thing": "hats", "a": 2, "b": 3, "answer": "5"}])


def chatty(request: dict) -> str:
    return "Here you are:\n" + terse(request)
