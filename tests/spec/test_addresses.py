"""Addresses of servers: what cannot be called, and what does not belong in a file, is found before anything runs."""

from __future__ import annotations

import pytest

from flywheel.spec.addresses import address_problem
from flywheel.spec.loader import missing_env

SELF = "self: {kind: student, temperature: 1}"
PROMPTED = ("parse: text", "parse: text, prompt: prompts/answer.md")


def at(base: str, **more: str) -> str:
    keys = "".join(f", {key}: '{value}'" for key, value in more.items())
    return f"self: {{kind: litellm, model: openai/x, api_base: '{base}'{keys}}}"


@pytest.mark.parametrize(
    "good",
    ["http://localhost:8000/v1", "https://api.example.com", "HTTP://[::1]:1/v1", "http://h:65535/v1?version=2"],
)
def test_an_address_that_can_be_called(good: str) -> None:
    assert address_problem(good) is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("localhost:8000/v1", "does not begin with http:// or https://"),
        ("127.0.0.1:8000", "does not begin with http"),
        ("//host/v1", "does not begin with http"),
        ("ftp://host", "does not begin with http"),
        ("htp://host", "does not begin with http"),
        ("http:/host/v1", "names no host"),
        ("http://", "names no host"),
        ("http://:8000/v1", "names no host"),
        ("http://host:99999/v1", "is no address"),
        ("http://host:http/v1", "is no address"),
        ("http://host:-1", "is no address"),
        ("http://host:0", "has the port 0"),
        ("http://[::1/v1", "is no address"),
        ("http://host /v1", "holds a blank"),
        ("http://host/v1 ", "holds a blank"),
        ("http://ho\nst/v1", "holds a blank or a control character"),
        ("http://host/#/v1", "has a fragment"),
        ("", "does not begin with http"),
    ],
)
def test_an_address_that_cannot_be_called_is_a_fault_of_the_spec(project, bad: str, message: str) -> None:
    problem = address_problem(bad)
    assert problem is not None
    assert message in problem[0]
    if "\n" not in bad:
        faults = project.edit((SELF, at(bad)), PROMPTED).faults()
        assert f"teachers.self.api_base: the address {message}" in faults


@pytest.mark.parametrize(
    "literal",
    [
        "http://user:canary1@host/v1",
        "http://canary1@host/v1",
        "http://${env:USER}:canary1@host/v1",
        "http://${env:USER}canary1@host/v1",
        "http://host/v1?api_key=canary1",
        "http://host/v1?version=1&access_token=canary1",
        "http://${env:HOST}/v1?sig=canary1",
    ],
)
def test_a_literal_password_in_an_address_is_refused_and_not_shown(project, literal: str) -> None:
    faults = project.edit((SELF, at(literal)), PROMPTED).faults()

    assert "holds a literal password or key, which does not belong in a file. Write ${env:NAME}" in faults
    assert "canary1" not in faults


@pytest.mark.parametrize(
    "referenced",
    [
        "http://${env:USER}:${env:PW}@host/v1",
        "http://user:${env:PW}@host/v1",
        "http://${env:HOST}:${env:PORT}/v1?key=${env:PW}",
        "http://host/v1?api-version=2024-02-01",
        "${env:BASE}",
        "${env:SCHEME}://host",
    ],
)
def test_references_and_plain_parameters_are_welcome(project, referenced: str) -> None:
    assert project.edit((SELF, at(referenced)), PROMPTED).load().spec.teachers["self"].api_base == referenced


def test_what_variables_make_of_an_address_is_checked_and_never_shown(project) -> None:
    loaded = project.edit((SELF, at("http://${env:HOST}:${env:PORT}/v1")), PROMPTED).load()

    assert missing_env(loaded, {"HOST": "h", "PORT": "8000"}) == []
    (fault,) = missing_env(loaded, {"HOST": "canary", "PORT": "80canary"})
    assert (fault.path, fault.line) == (("teachers", "self", "api_base"), 17)
    assert fault.message.startswith("the address that HOST, PORT gives is no address: its port is no number")
    assert "canary" not in f"{fault.message} {fault.hint} {fault.source}"


def test_a_user_and_a_key_cannot_both_be_sent(project) -> None:
    teacher = at("http://${env:USER}:${env:PW}@host/v1", api_key="${env:KEY}")
    loaded = project.edit((SELF, teacher), PROMPTED).load()

    (fault,) = missing_env(loaded, {"USER": "u", "PW": "p", "KEY": "k"})
    assert fault.message == "holds a user beside an api_key, and a request carries one of them."
