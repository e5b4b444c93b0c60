#!/usr/bin/env bash
# minijinja 3.1.0 beside transformers 5.23.0 (jinja2 3.1.6), seen in November 2026.
#
# Behaviour: one chat template, two prompts. transformers, with which models are trained, renders it by jinja2 and gives it a `tojson` of its own
# that writes text as it is; minijinja, with which servers written in Rust render it, escapes <, >, & and ' in `tojson` (<, as \u003c), with the
# same whitespace options and its Python methods switched on. And `is sequence` is true of a text and of a mapping in the one, false in the other, so
# that a template which tells parts of a message from plain text by it takes the other branch.
# Expected: the prompt that the model was trained on.
# Why it matters: tools with "a < b" or "customer's" in a description, and arguments of earlier calls, reach the model in another spelling than any
# it has seen. Nothing fails; scores measured with transformers are not those of the server.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "minijinja==3.1.0" "transformers==5.23.0" "jinja2==3.1.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import minijinja
from transformers.utils.chat_template_utils import render_jinja_template

MESSAGES = [{"role": "user", "content": "Is a < b?"}]
TOOLS = [{"name": "compare", "description": "Whether a < b in the customer's list"}]
served = minijinja.Environment(trim_blocks=True, lstrip_blocks=True, pycompat=True)


def both(template):
    (trained,), _ = render_jinja_template([MESSAGES], tools=TOOLS, chat_template=template)
    return trained, served.render_str(template, messages=MESSAGES, tools=TOOLS)


tools = both("{% for tool in tools %}{{ tool | tojson }}{% endfor %}")
parts = both("{% for m in messages %}{% if m.content is sequence %}parts{% else %}text{% endif %}{% endfor %}")
mapping = both("{{ tools[0] is sequence }}")
plain = both("{% for m in messages %}{{ m.role.upper() }}: {{ m.content }}{% endfor %}")
print(*tools, parts, mapping, plain, sep="\n")
assert tools[0] == '{"name": "compare", "description": "Whether a < b in the customer\'s list"}', "the behaviour has changed"
assert "a \\u003c b in the customer\\u0027s" in tools[1], "the behaviour has changed"
assert parts == ("parts", "text"), "the behaviour has changed"
assert [said.lower() for said in mapping] == ["true", "false"], "the behaviour has changed"
assert plain[0] == plain[1], "the behaviour has changed"
PYTHON
