"""Answers that cheat: none is accepted, whatever form the tests have.

FAULTS.md §1.5 and §8 B. 35 leaving early, 36 lying objects, 37 looking for what is expected, 38 patching, 39 hooks that
exit with 0, 40 forged results, 41 hard-coded examples, 42 changed inputs, 43 other types (also test_code_equality),
44 endless values, 45 patched test frameworks, 46 worthless tests (test_code). 47 and 48 are math's and the judge's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coding import ADD, check_of, code_subject

from flywheel.sandbox import capability
from flywheel.verifiers.finding import Finding

#: What is compared with is odd enough to be found, if it were there to be found.
CASES = json.dumps(
    [{"args": [1_234_567, 1], "expected": 1_234_568}, {"args": [2, 2], "expected": 4}, {"args": [9, -9], "expected": 0}]
)
SCRIPT = """
def check(candidate):
    for a, b, expected in [(1_234_567, 1, 1_234_568), (2, 2, 4), (9, -9, 0)]:
        assert candidate(a, b) == expected
"""
TESTS = {"cases": CASES, "script": SCRIPT}

LIAR = """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __repr__(self): return "4"
"""
CHEATS = {
    "35 sys.exit on loading": "import sys\nsys.exit(0)\ndef add(a, b): ...\n",
    "35 os._exit on loading": "import os\nos._exit(0)\ndef add(a, b): ...\n",
    "35 posix._exit on loading": "import posix\nposix._exit(0)\ndef add(a, b): ...\n",
    "35 sys.exit in the call": "def add(a, b):\n    import sys\n    sys.exit(0)\n",
    "35 os._exit in the call": "def add(a, b):\n    import os\n    os._exit(0)\n",
    "35 kill itself": "def add(a, b):\n    import os\n    os.kill(os.getpid(), 9)\n",
    "35 raise SystemExit(0)": "def add(a, b):\n    raise SystemExit(0)\n",
    "35 KeyboardInterrupt": "def add(a, b):\n    raise KeyboardInterrupt\n",
    "36 equal to everything": LIAR + "def add(a, b):\n    return Liar()\n",
    "36 inside a list": LIAR + "def add(a, b):\n    return [Liar()]\n",
    "36 int subclass": "class N(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
    "def add(a, b):\n    return N(4)\n",
    "36 str subclass": "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\n"
    "def add(a, b):\n    return S('4')\n",
    "36 class that lies about its class": "class L:\n    __class__ = int\n    def __eq__(self, o): return True\n"
    "def add(a, b):\n    return L()\n",
    "37 frames": """
def add(a, b):
    import sys
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            found = value.get("expected") if isinstance(value, dict) else getattr(value, "expected", None)
            if isinstance(found, int):
                return found
        if "expected" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
    return 0
""",
    "37 gc": """
def add(a, b):
    import gc
    wanted = int("".join(["1234", "568"]))
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple)) and any(type(x) is int and x == wanted for x in thing):
            return wanted
        if isinstance(thing, dict) and any(type(x) is int and x == wanted for x in list(thing.values())):
            return wanted
        if isinstance(thing, dict) and "expected" in thing:
            return thing["expected"]
    return 0
""",
    "37 own memory": """
def add(a, b):
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, flags = line.split()[:2]
            if "rw" in flags and ("heap" in line or len(line.split()) == 5):
                low, high = (int(x, 16) for x in span.split("-"))
                memory.seek(low)
                try:
                    if b"1_234_56" + b"8" in memory.read(high - low):
                        return 1234568
                except OSError:
                    pass
    return 0
""",
    "38 builtins patched": """
import builtins, json
builtins.type = lambda *x: int
builtins.isinstance = lambda *x: True
builtins.len = lambda x: 1
builtins.print = lambda *x, **k: None
builtins.repr = lambda x: "4"
builtins.AssertionError = SystemExit
json.dumps = lambda *x, **k: '{"value": 4}'
json.JSONEncoder.encode = lambda *x: '{"value": 4}'
def add(a, b):
    return object()
""",
    "38 sys.modules patched": """
import sys
class Fake:
    def __getattr__(self, name): return lambda *a, **k: 4
for name in list(sys.modules):
    if "values" in name or "driver" in name or name in ("json", "numpy", "__main__"):
        sys.modules[name] = Fake()
def add(a, b):
    return [a]
""",
    "39 atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b):\n    return 0\n",
    "39 excepthook": "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef add(a, b):\n    raise ValueError\n",
    "39 settrace": "import sys, os\nsys.settrace(lambda *a: os._exit(0))\ndef add(a, b):\n    return 0\n",
    "39 signal": "import signal, os\nsignal.signal(15, lambda *a: os._exit(0))\ndef add(a, b):\n    return 0\n",
    "40 results on stdout": "def add(a, b):\n    print('{\"value\": 4}', 'PASS', flush=True)\n    return 0\n",
    "40 replies on every descriptor": """
import os
def add(a, b):
    body = b'{"value": 4}'
    for fd in range(3, 64):
        for message in (body, len(body).to_bytes(4, "big") + body, len(body).to_bytes(4, "little") + body,
                        len(body).to_bytes(8, "big") + body, body + b"\\n"):
            try:
                os.write(fd, message)
            except OSError:
                pass
    return 0
""",
    "40 replies in advance": """
import os
body = b'{"value": 4}'
for fd in range(3, 64):
    try:
        os.write(fd, (len(body).to_bytes(4, "big") + body) * 10)
    except OSError:
        pass
def add(a, b):
    return 0
""",
    "40 a reply by the driver's own hand": """
import gc
def add(a, b):
    for thing in gc.get_objects():
        if type(thing).__name__ == "_Driver":
            thing._send({"value": 4})
            while True: pass
    return 0
""",
    "40 a call instead of a reply": """
import gc
def add(a, b):
    for thing in gc.get_objects():
        if type(thing).__name__ == "_Driver":
            thing._send({"call": {"args": ["add", [2, 2], {"dict": []}], "kwargs": {}}})
            while True: pass
    return 0
""",
    "41 a visible example by heart": "def add(a, b):\n    return {(2, 2): 4}.get((a, b))\n",
    "43 float for int": "def add(a, b):\n    return float(a + b)\n",
    "43 complex for int": "def add(a, b):\n    return complex(a + b)\n",
    "43 text for int": "def add(a, b):\n    return str(a + b)\n",
    "44 endless generator": "def add(a, b):\n    while True:\n        yield a + b\n",
    "44 endless list": "def add(a, b):\n    x = [0]\n    for i in x:\n        x.append(i)\n",
    "44 list in itself": "def add(a, b):\n    x = []\n    x.append(x)\n    return x\n",
    "44 deep list": "def add(a, b):\n    x = []\n    for i in range(100_000):\n        x = [x]\n    return x\n",
    "44 lazy map": "def add(a, b):\n    return map(int, [a + b])\n",
    "44 threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    "def add(a, b):\n    return 0\n",
    "45 pytest patched": """
import sys, types
fake = types.ModuleType("pytest")
fake.raises = lambda *a, **k: __import__("contextlib").nullcontext()
sys.modules["pytest"] = sys.modules["unittest"] = fake
for place in ("conftest.py", "pytest.py", "sitecustomize.py", "json.py"):
    try:
        open(place, "w").write("import os; os._exit(0)")
    except OSError:
        pass
def add(a, b):
    return 0
""",
}


@pytest.fixture(autouse=True)
def _contained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These programs never run where nothing holds them, and should it fail they meet an empty folder."""
    if capability().tier == "none":
        pytest.skip("no tier of the sandbox works here: `flywheel doctor` says why")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", TESTS)
@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_is_accepted(cheat: str, form: str) -> None:
    finding = check_of(timeout_seconds=1.0)(code_subject(CHEATS[cheat], TESTS[form]))
    assert finding.outcome == "fail", finding


@pytest.mark.parametrize("form", TESTS)
def test_an_honest_answer_is_judged_as_before_after_every_cheat(form: str) -> None:
    """38, 45: what one program patched or wrote, the next does not see."""
    check = check_of(timeout_seconds=1.0)
    for cheat in ("38 builtins patched", "38 sys.modules patched", "45 pytest patched"):
        check(code_subject(CHEATS[cheat], TESTS[form]))
        assert check(code_subject(ADD, TESTS[form])) == Finding("pass")


def test_changed_inputs_are_not_what_the_answer_is_compared_with() -> None:
    """42: each call gets its own inputs, and the tests keep theirs."""
    answer = "def add(a, b):\n    a.append(b)\n    return a\n"
    tests = "x = [1]\nassert add(x, 2) == [1, 2]\nassert add(x, 2) == [1, 2]\n"
    assert check_of()(code_subject(answer, tests)) == Finding("pass")
    identity = "def add(a, b):\n    a[:] = b[:]\n    return a\n"
    script = "for x in ([3, 1, 2],):\n    assert add(x, sorted(x)) == x\n"  # the tests' x is as it was
    assert check_of()(code_subject(identity, script)).outcome == "fail"


@pytest.mark.parametrize("returned", ["True", "1.0", "1 + 0j", "'1'", "[1]", "None"])
@pytest.mark.parametrize("tests", ["assert add(1, 0) == 1", "for i in [1]: assert add(i, 0) == 1"])
def test_another_type_is_another_value(tests: str, returned: str) -> None:
    """43."""
    assert check_of()(code_subject(f"def add(a, b):\n    return {returned}\n", tests)).outcome == "fail"


def test_nothing_that_is_expected_reaches_the_answer_s_process() -> None:
    """37: whatever the process holds, sent back as a value, shows no expected value and no test."""
    answer = """
def add(a, b):
    import gc, sys
    names = [k for m in list(sys.modules.values()) for k in getattr(m, "__dict__", {})]
    held = [x for x in gc.get_objects() if type(x) in (list, tuple, dict)]
    return [repr(x)[:2000] for x in held if "7654321" in repr(x)[:2000] and "held" not in repr(x)[:2000]]
"""
    tests = "for a in [1]:\n    assert add(a, 2) == 7654320 + 1\n"
    finding = check_of()(code_subject(answer, tests, trusted=False))
    assert finding.outcome == "fail"
    assert "gave []" in finding.reason or "7654321" not in finding.reason
