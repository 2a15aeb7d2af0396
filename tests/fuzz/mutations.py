"""Texts that are almost WDL, and values that are almost a run's inputs: what a seed makes of real ones.

Everything here is a function of a `random.Random`, so that a seed and a number name a case for ever.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

TESTS = Path(__file__).parent.parent
_TOKEN = re.compile(r"\w+|\s+|.", re.DOTALL)
_LISTED = """
version workflow task call scatter if then else input output command runtime requirements hints meta
parameter_meta struct import as alias after object env left right true false None null in
Int Float String Boolean File Directory Array Map Pair Object Any Array[Int]+ Map[String,File]?
( ) [ ] { } < > << >> <<< >>> ~{ ${ = == != <= >= && || ! + - * / % , . : ; ? # " '
0 1 -1 1e400 99999999999999999999999999 0x7fffffffffffffffffff 08 1.0 .5 1..2
range length select_first glob read_lines sub size write_json flatten cross zip stdout() defined
\\ \\n \\x \\u12 1.0 1.1 1.2 1.3 draft-2 development
"""
_WORDS = [*_LISTED.split(), "\t", "\r", "\0", "\x1b", "\u2028", "é", "\ufeff"]


def corpus() -> list[str]:
    """The WDL sources of this repository that compile without another file beside them."""
    places = (TESTS / "golden", TESTS / "e2e", TESTS.parent / "dags")
    texts = [path.read_text() for place in places for path in sorted(place.rglob("*.wdl"))]
    return [text for text in texts if "import " not in text]


def mutated(random: Random, texts: Sequence[str]) -> str:
    """A source with one to six mistakes in it."""
    text = random.choice(texts)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        text = random.choice(_TEXT_MUTATIONS)(random, text, texts)
    return text


def _tokens(random: Random, text: str, _: Sequence[str]) -> str:
    tokens = _TOKEN.findall(text)
    if not tokens:
        return random.choice(_WORDS)
    at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
    kind = random.randrange(6)
    if kind == 0:
        del tokens[at]
    elif kind == 1:
        tokens.insert(at, tokens[at])
    elif kind == 2:
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif kind == 3:
        tokens[at] = tokens[other]
    elif kind == 4:
        tokens[at] = random.choice(_WORDS)
    else:
        tokens.insert(at, random.choice(_WORDS))
    return "".join(tokens)


def _lines(random: Random, text: str, texts: Sequence[str]) -> str:
    lines = text.split("\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(other, lines[at])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        donor = random.choice(texts).split("\n")
        start = random.randrange(len(donor))
        lines[at:at] = donor[start : start + random.randrange(1, 12)]
    return "\n".join(lines)


def _cut(random: Random, text: str, _: Sequence[str]) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] if random.random() < 0.7 else text[at:]


def _characters(random: Random, text: str, _: Sequence[str]) -> str:
    at = random.randrange(len(text) + 1)
    wanted = chr(random.choice((random.randrange(128), random.randrange(0xD800), random.randrange(0xE000, 0x110000))))
    return text[:at] + wanted + text[at + random.randrange(2) :]


def _deep(random: Random, text: str, _: Sequence[str]) -> str:
    """A piece of the text inside, or beside, very many of the same."""
    tokens = _TOKEN.findall(text) or [""]
    at = random.randrange(len(tokens))
    times = random.choice((10, 60, 300, 2000))
    opening, closing = random.choice(
        (
            ("(", ")"),
            ("[", "]"),
            ("{", "}"),
            ("-", ""),
            ("!", ""),
            ("if true then ", " else 1"),
            ("Array[", "]"),
            ('"~{', '}"'),
            ("if (true) {\n", "\n}"),
            ("scatter (i in [1]) {\n", "\n}"),
            ("1 + ", ""),
            ("x.", ""),
            ("f(", ")"),
            ("object { a: ", "}"),
        )
    )
    tokens[at] = opening * times + tokens[at] + closing * times
    return "".join(tokens)


_TEXT_MUTATIONS: tuple[Callable[[Random, str, Sequence[str]], str], ...] = (
    *(_tokens,) * 8,
    *(_lines,) * 3,
    _cut,
    _characters,
    _deep,
)

# --- inputs

_ATOMS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        "null",
        "\0",
        "a\nb",
        "\x1b[31m",
        "~{x}",
        "$(id)",
        "`id`",
        "'\"",
        "é",
        "e\u0301",
        "\ud800",
        "../x",
        "/etc/passwd",
    ),
    *("s3://", "s3:///k", "s3://b", "s3://b/../c/k", "file:///etc/passwd", "http://169.254.169.254/", "x" * 100_000),
    *([], {}, [[]], {"": None}, {"left": 1, "right": 2}, {"left": 1, "LEFT": 2}, {"#": 1}),
)


def nested(depth: int, kind: str = "list") -> Any:
    """A value inside ``depth`` lists, or objects."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"left": value}
    return value


def mutated_inputs(random: Random, inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs with one to four mistakes in them; JSON, or almost."""
    found: Any = copy.deepcopy(inputs)
    for _ in range(random.randrange(1, 5)):
        found = _mutated_value(random, found, 0)
        if not isinstance(found, dict):
            found = {random.choice(sorted(inputs) or ["x"]): found}
    return {str(name): value for name, value in found.items()}


def _mutated_value(random: Random, value: Any, depth: int) -> Any:
    if isinstance(value, (dict, list)) and value and random.random() < 0.8:
        return _mutated_within(random, value, depth)
    kind = random.randrange(8)
    if kind == 0:
        return [value] * random.choice((1, 2, 1000))
    if kind == 1:
        return {"left": value, "right": value}
    if kind == 2:
        return nested(random.choice((5, 500, 5_000)), random.choice(("list", "object")))
    return copy.deepcopy(random.choice(_ATOMS))


def _mutated_within(random: Random, value: Any, depth: int) -> Any:
    if isinstance(value, list):
        at = random.randrange(len(value))
        value[at] = _mutated_value(random, value[at], depth + 1)
        return value
    name = random.choice(sorted(value))
    kind = random.randrange(6)
    if kind == 0:
        del value[name]
    elif kind == 1:
        value[random.choice((f"{name}.x", f"x.{name}", f"{name}\n", "", ".", "..", "a" * 5000, "é", "#"))] = value[name]
    else:
        value[name] = _mutated_value(random, value[name], depth + 1)
    return value
