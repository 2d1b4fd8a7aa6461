"""Hostile recipes: refused with a clear error, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.read import read_file, read_text
from assembler.recipe.values import Map, plain
from assembler.recipe.write import format_source

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))

HOSTILE = {
    "alias bomb": (BOMB, "with its aliases expanded the recipe holds more than 100,000 values"),
    "alias chain": (
        "k0: &a0 [1]\n" + "".join(f"k{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 1000)),
        "with its aliases expanded, values are nested more than 64 deep",
    ),
    "alias of itself": ("a: &x [*x]\n", "the alias *x stands inside its own anchor"),
    "alias of itself as key": ("a: &x {*x : 1}\n", "the alias *x stands inside its own anchor"),
    "open lists": ("[" * 1_000_000, "nested more than 64 deep"),
    "open mappings": ("{a: " * 500_000, "nested more than 64 deep"),
    "indented lists": ("- " * 1_000_000, "nested more than 64 deep"),
    "explicit keys": ("? " * 1_000_000, "nested more than 64 deep"),
    "indented mappings": ("\n".join(" " * i + "a:" for i in range(1000)), "nested more than 64 deep"),
    "many values": ("a: [" + "1," * 150_000 + "]", "more than 100,000 values"),
    "many problems": ("a: 1\n" * 100_000, "too many problems"),
    "tag directives": ("%TAG !a! b\n" * 100_000 + "---\na: 1", "YAML directives are not supported"),
    "tag directives further down": ("a: 1\n---\n" + "%TAG !a! b\n" * 100_000 + "---\n", "directives are not supported"),
    "too big": ("a" * 4_000_001, "more than 4,000,000 bytes"),
    "long number": ("a: " + "9" * 1_000_000, "does not fit in 64 bits"),
    "long float": ("a: 0." + "9" * 1_000_000, "too large or too long"),
    "long quote": ('a: "' + "x" * 1_000_000, "never closed"),
    "long anchor": ("a: &" + "x" * 1_000_000 + " {b: [", "a value is missing here"),
    "long key": ("? " + "k" * 100_000 + "\n: 1", "a key has at most 200 characters"),
    "tag": ("a: " + "!" * 1_000_000, "is not allowed"),
    "cut expressions": ("a: {" + "=f(1,\n" * 100_000, "needs quotes"),
    "NULs": ("\0\n" * 1_000_000, "the character NUL cannot stand in a recipe"),
    "terminal escapes": ("a: \x1b[2J", "U+001B cannot stand in a recipe"),
    "escaped control characters": ('a: "\\e[2J"', "control character U+001B"),
    "escaped surrogates": ('a: "\\ud800"', "error"),
    "python": ("!!python/object/apply:os.system ['touch /tmp/never']", "is not allowed"),
    "documents": ("---\n" * 500_000, "a second document starts here"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", [read_text, format_source])
def test_hostile_text_is_refused_in_bounded_time_with_a_short_message(name, read):
    text, message = HOSTILE[name]
    start = time.process_time()
    with pytest.raises(RecipeError) as caught:
        read(text, "r.yaml")
    assert time.process_time() - start < 2
    assert message in str(caught.value)
    assert len(str(caught.value)) < 30_000
    assert "\x1b" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_an_alias_bomb_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(RecipeError):
            read_text(BOMB, "r.yaml")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_process_stays_small_under_a_bomb(tmp_path):
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMB)
    code = (
        "import re, sys\nfrom assembler.recipe.read import read_file\n"
        "try: read_file(sys.argv[1])\nexcept Exception as e: print(type(e).__name__)\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) < 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=20)
    assert done.stdout.split() == ["RecipeError", "True"]


def test_a_device_or_a_big_file_is_not_read(tmp_path):
    big = tmp_path / "big.yaml"
    with big.open("wb") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(RecipeError, match="holds more than 4,000,000 bytes"):
        read_file(big)


def test_values_within_the_bounds_can_be_walked_by_ordinary_recursion():
    found = read_text("a: " + "[" * 63 + "]" * 63, "r")
    assert found == read_text("a: " + "[" * 63 + "]" * 63, "s")
    assert hash(found) == hash(found)
    assert plain(found) and repr(found)


PIECES = st.sampled_from(
    ["a", "b", ": ", ":", "- ", "\n", "\n  ", "\n\t", " ", "[", "]", "{", "}", ", ", ",", "'", '"', "#", " # c",
    "&x ", "*x", "!t ",
     "!!python/name:os ", "|", ">", "|-\n", "%", "---", "\n---\n", "...", "? ", "<<", "~", "=a", "=max(a, b)",
     "=w[0]", "${", "{{",
     "1", "-1.5", ".inf", "1e999", "9" * 20, "0x", "\\", "\\x00", "é", "\x00", "\x85", "\u2028", "\ufeff", "\r",
     "@", "`", "null"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
@example("a: {b: =max(a, b)")
@example("*x : &x 1")
@example("? &a [*a]\n: 1")
@example("a: |\n\n  # x\n # y\n")
def test_any_text_is_read_or_refused(text):
    start = time.process_time()
    try:
        assert isinstance(read_text(text, "r.yaml"), Map)
        assert read_text(format_source(text, "r.yaml"), "r.yaml") == read_text(text, "r.yaml")
    except RecipeError as error:
        assert error.problems
        assert "error: " in str(error)
    assert time.process_time() - start < 2
