#!/usr/bin/env python3
"""Writes golden.json: what jinja2 makes of each template here for each case of cases.json.

    python3 -m venv VENV && VENV/bin/pip install jinja2
    VENV/bin/python golden.py [DIR]

DIR (default: this folder) holds *.jinja and may hold a cases.json of its own, and snippets.txt: small templates with lines
of ---- between them, rendered with the variables below. The environment is set up as transformers sets
it up for apply_chat_template (5.24); the clock stands still. An output is a string, an error an object.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

here = pathlib.Path(__file__).parent
clock = datetime.datetime(2026, 7, 4, 9, 5, 3)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("body"), [], [], body).set_lineno(line)

    def body(self, caller):
        return caller()


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        attrs = dict(*args[1:], **kwargs)
        for name in attrs:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(args[0], attrs)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads  # not transformers': llama.cpp's, for templates that were written for it
    env.globals.update(raise_exception=raise_exception, strftime_now=clock.strftime, dict=Dict(), namespace=Namespace)
    return env


variables = {
    "s": "Hello, Wörld",
    "n": 7,
    "f": 2.5,
    "yes": True,
    "nil": None,
    "l": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, 2.0, None, True, "x'y"], "items": 5, "c d": {"k": "v"}},
    "people": [
        {"name": "Ann", "age": 31, "city": "Bern"},
        {"name": "bob", "age": 25, "city": "bern"},
        {"name": "Cid", "age": 31, "tags": ["x", "y"], "city": "Uri"},
        {"name": "dan", "age": None},
    ],
    "big": 123456789012345678901234567890,
    "html": "<a href='x'>\"T&J\"</a>",
    "lines": "one\n\ntwo\r\nthree\n",
}


def snippet(source):
    try:
        return environment().from_string(source).render(**variables)
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    own = folder / "cases.json"
    cases = json.loads((own if own.exists() else here / "cases.json").read_text())
    golden = {}
    for path in sorted(folder.glob("*.jinja")):
        env = environment()
        golden[path.name] = {}
        for name, variables in cases.items():
            try:
                out = env.from_string(path.read_text()).render(**variables)
            except Exception as e:  # what a template does wrong takes many types
                out = {"error": f"{type(e).__name__}: {e}"}
            golden[path.name][name] = out
    if (folder / "snippets.txt").exists():
        golden["snippets.txt"] = [snippet(s) for s in (folder / "snippets.txt").read_text().split("\n----\n")]
    text = json.dumps(golden, ensure_ascii=False, indent=1)
    (folder / "golden.json").write_text(text + "\n")
    outs = [o for g in golden.values() for o in (g.values() if isinstance(g, dict) else g)]
    print(f"{len(golden)} templates, {len(cases)} cases: {sum(isinstance(o, str) for o in outs)} outputs, "
          f"{sum(not isinstance(o, str) for o in outs)} errors")


main()
