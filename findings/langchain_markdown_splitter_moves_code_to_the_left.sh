#!/usr/bin/env bash
# langchain-text-splitters 1.1.3, seen in November 2026.
#
# Behaviour: `MarkdownHeaderTextSplitter` takes the white space from both ends of every line, in blocks of code as well, and leaves out characters that
# are not printable, tabs among them:
#     def f(x):                      def f(x):
#         if x:                      if x:
#             return 1        ->     return 1
#         return 2                   return 2
#     - one                          - one
#         - nested            ->     - nested
#     name<tab>42             ->     name42
# Expected: a document is split, and its text is as it was; its neighbour in the same package, `ExperimentalMarkdownSyntaxTextSplitter`, does so.
# Why it matters: documentation in Markdown is split by headings before questions are written about its parts, or before it is trained on. All Python in
# it is then without indentation, all YAML flat, and a table by tabs is one word. The student learns that from the teacher, who was shown nothing else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "langchain-text-splitters==1.1.3"
"$folder/venv/bin/python" - <<'PYTHON'
from langchain_text_splitters import ExperimentalMarkdownSyntaxTextSplitter, MarkdownHeaderTextSplitter

CODE = "```python\ndef f(x):\n    if x:\n        return 1\n    return 2\n```"
YAML = "```yaml\ntrain:\n  rank: 8\nrank: 16\n```"
LIST = "- one\n    - nested"
TABLE = "name\t42"


def parts(splitter, body):
    found = "".join(part.page_content for part in splitter.split_text(f"# Heading\n\n{body}\n"))
    print(type(splitter).__name__, found, sep="\n")
    return found


for body, expected in (
    (CODE, "```python\ndef f(x):\nif x:\nreturn 1\nreturn 2\n```"),
    (YAML, "```yaml\ntrain:\nrank: 8\nrank: 16\n```"),
    (LIST, "- one\n- nested"),
    (TABLE, "name42"),
):
    assert parts(MarkdownHeaderTextSplitter([("#", "heading")]), body) == expected, "the behaviour has changed"
    assert body in parts(ExperimentalMarkdownSyntaxTextSplitter(), body), "the behaviour has changed"
PYTHON
