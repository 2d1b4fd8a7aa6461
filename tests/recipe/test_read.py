"""Reading recipe text: YAML 1.2 scalars, places, and messages for the mistakes that people make."""

from __future__ import annotations

import subprocess
import sys

import pytest

from assembler.errors import InputError, RecipeError
from assembler.recipe.read import read_file, read_text
from assembler.recipe.values import Leaf, Map, Seq, plain


def value_of(text):
    leaf = read_text(f"a: {text}", "r.yaml").get("a")
    assert isinstance(leaf, Leaf)
    return leaf.value


SCALARS = {
    "1": 1, "-7": -7, "+3": 3, "010": 10, "0o17": 15, "0x1F": 31, "1e-3": 0.001, "1.": 1.0, ".5": 0.5,
    "-2.5E+3": -2500.0,
    "true": True, "False": False, "TRUE": True, "null": None, "~": None, "": None, "on": "on", "off": "off",
    "yes": "yes",
    "no": "no", "n": "n", "12:30:45": "12:30:45", "1_000": "1_000", "0b11": "0b11", "2024-01-02": "2024-01-02",
    "1e": "1e", "'1'": "1", '"true"': "true", "1.2.3": "1.2.3", "=dim*2": "=dim*2", "stage.*": "stage.*",
    "9223372036854775807": 2**63 - 1,
}  # fmt: skip


@pytest.mark.parametrize("text", SCALARS)
def test_a_plain_word_means_what_yaml_1_2_says(text):
    assert value_of(text) == SCALARS[text]
    assert type(value_of(text)) is type(SCALARS[text])


def test_structure_order_and_integer_keys():
    found = read_text("b: [1, {c: x}]\na:\n  0: p\n  1: q\n", "r")
    assert plain(found) == {"b": [1, {"c": "x"}], "a": {"0": "p", "1": "q"}}
    assert found.keys() == ["b", "a"]


def test_spans_of_keys_and_values():
    text = "kind: model\ngraph:\n  stem: {op: conv2d, out: 64}\n  list:\n    - one\n"
    found = read_text(text, "r.yaml")
    stem = found.get("graph").get("stem")
    op, key = stem.get("op").span, stem.key_span("out")
    assert (op.file, op.line, op.column, op.width, op.text) == ("r.yaml", 3, 14, 6, "  stem: {op: conv2d, out: 64}")
    assert (key.line, key.column, key.width) == (3, 22, 3)
    assert (stem.span.line, stem.span.column, stem.span.width) == (3, 9, 21)
    assert (found.get("graph").span.line, found.get("graph").get("list").span.column) == (3, 5)
    assert op.caret() == "      stem: {op: conv2d, out: 64}\n                 ^^^^^^"


def test_anchors_share_values():
    found = read_text("a: &x {p: [1, 2]}\nb: *x\n", "r")
    assert found.get("a") == found.get("b") == Map((("p", Seq((Leaf(1), Leaf(2)))),))


# One mistake each: the text, and the whole message.
MISTAKES = {
    "duplicate key": (
        "graph:\n  a: {op: relu}\n  b: {op: gelu}\n  a: {op: tanh}\n",
        """r.yaml:4:3: error: the key 'a' stands twice: on line 2 and on line 4
      a: {op: tanh}
      ^
    hint: remove or rename one of them""",
    ),
    "integer and string key": (
        "0: a\n'0': b\n",
        """r.yaml:2:1: error: the key '0' stands twice: on line 1 and on line 2
    '0': b
    ^^^
    hint: remove or rename one of them""",
    ),
    "key that is not a name": (
        "true: 1\n",
        """r.yaml:1:1: error: a key must be a name, not the value true
    true: 1
    ^^^^
    hint: put it in quotes""",
    ),
    "template braces": (
        "a: {{ dim }}\n",
        """r.yaml:1:5: error: a key must be a name, not a list or a mapping
    a: {{ dim }}
        ^^^^^^^
    hint: an expression starts with '=': write =name instead of {{ name }}""",
    ),
    "shell braces": (
        "a: {out: ${dim}}\n",
        """r.yaml:1:11: error: '${' opens a mapping here
    a: {out: ${dim}}
              ^
    hint: an expression starts with '=': write =name instead of ${name}""",
    ),
    "python tag": (
        "a: !!python/object/apply:os.system ['true']\n",
        """r.yaml:1:4: error: the YAML tag !!python/object/apply:os.system is not allowed
    a: !!python/object/apply:os.system ['true']
       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: a recipe never makes Python objects or runs code; ops come from the registry""",
    ),
    "choice written as a tag": (
        "a: !oneof [1, 2]\n",
        """r.yaml:1:4: error: the YAML tag !oneof is not allowed
    a: !oneof [1, 2]
       ^^^^^^
    hint: a choice is written {$oneof: ...}""",
    ),
    "merge key": (
        "a: &a {x: 1}\nb: {<<: *a}\n",
        """r.yaml:2:5: error: the YAML merge key '<<' is not supported
    b: {<<: *a}
        ^^
    hint: `extends:` merges recipes by name, `vars:` shares values""",
    ),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        """r.yaml:2:1: error: a second document starts here
    ---
    ^^^
    hint: one recipe a file: remove the '---'""",
    ),
    "empty": ("", "r.yaml:1:1: error: the recipe is empty\n    hint: start with `kind: model`"),
    "a list at the top": (
        "- op: relu\n",
        """r.yaml:1:1: error: a recipe is a mapping of `key: value`, this is a list
    - op: relu
    ^""",
    ),
    "no space after the colon": (
        "kind:model\n",
        """r.yaml:1:1: error: a recipe is a mapping of `key: value`, this is the text 'kind:model'
    kind:model
    ^^^^^^^^^^
    hint: put a space after the ':' that ends a key""",
    ),
    "no space after a colon further down": (
        "kind: model\nname:tiny\nvars: {}\n",
        """r.yaml:2:1: error: a key without ':'
    name:tiny
    ^
    hint: put a space after the ':' that ends a key""",
    ),
    "no space after a colon inside braces": (
        "a: {op:conv2d, out: 3}\n",
        """r.yaml:1:5: error: the key 'op:conv2d' has no value
    a: {op:conv2d, out: 3}
        ^^^^^^^^^
    hint: put a space after its ':'""",
    ),
    "tab": (
        "a:\n\tb: 1\n",
        "r.yaml:2:1: error: a tab in the indentation\n    \tb: 1\n    ^\n    hint: YAML indents with spaces only",
    ),
    "wrong indentation": (
        "a: 1\n  b: 2\n",
        """r.yaml:2:4: error: a ':' where no key can stand
      b: 2
       ^
    hint: quote a value that holds ': ', and indent the keys of one mapping alike""",
    ),
    "unclosed brace": (
        "a: {b: 1\nc: 2\n",
        """r.yaml:1:4: error: the '{' is not closed
    a: {b: 1
       ^
    hint: a '}' is missing""",
    ),
    "unclosed quote": (
        "a: 'b\nc: 2\n",
        """r.yaml:1:4: error: the quote ' is never closed
    a: 'b
       ^
    hint: close the quote on the line where it opens""",
    ),
    "star": (
        "a: *\n",
        """r.yaml:1:4: error: '*' and '&' start YAML aliases and anchors
    a: *
       ^
    hint: put a value that starts with '*' or '&' in quotes""",
    ),
    "unknown alias": (
        "a: &width 64\nb: *widht\n",
        """r.yaml:2:4: error: there is no anchor &widht above this alias
    b: *widht
       ^^^^^^
    hint: did you mean 'width'?""",
    ),
    "reserved character": (
        "a: @here\n",
        """r.yaml:1:4: error: a value cannot start with '@'
    a: @here
       ^
    hint: put the value in quotes""",
    ),
    "missing entry": (
        "a: [1,,2]\n",
        """r.yaml:1:7: error: a value is missing here
    a: [1,,2]
          ^
    hint: remove the extra ',' or bracket, or write null""",
    ),
    "backslash in double quotes": (
        'a: "\\d"\n',
        """r.yaml:1:5: error: unknown escape in double quotes
    a: "\\d"
        ^
    hint: use single quotes, or write two backslashes""",
    ),
    "list on the line of its key": (
        "a: - 1\n",
        """r.yaml:1:4: error: a list cannot start on the line of its key
    a: - 1
       ^
    hint: start it on the next line, or write [a, b]""",
    ),
    "comma in an expression, read as two keys": (
        "a: {out: =max(a, b), k: 3}\n",
        """r.yaml:1:10: error: inside { } and [ ] an expression that holds a comma or brackets needs quotes
    a: {out: =max(a, b), k: 3}
             ^^^^^^^^^^
    hint: write "=max(a, b)\"""",
    ),
    "comma in an expression, in a list": (
        "a: [=max(a, b), 3]\n",
        """r.yaml:1:5: error: inside { } and [ ] an expression that holds a comma or brackets needs quotes
    a: [=max(a, b), 3]
        ^^^^^^^^^^
    hint: write "=max(a, b)\"""",
    ),
    "brackets in an expression, a syntax error": (
        "a: {out: =widths[0], k: 3}\n",
        """r.yaml:1:10: error: inside { } and [ ] an expression that holds a comma or brackets needs quotes
    a: {out: =widths[0], k: 3}
             ^^^^^^^^^^
    hint: write "=widths[0]\"""",
    ),
    "both": (
        "a: {out: =(8, 16)[i], k: '3'}\n",
        """r.yaml:1:10: error: inside { } and [ ] an expression that holds a comma or brackets needs quotes
    a: {out: =(8, 16)[i], k: '3'}
             ^^^^^^^^^^^
    hint: write "=(8, 16)[i]\"""",
    ),
    "integer too large": (
        "a: 9223372036854775808\n",
        """r.yaml:1:4: error: the integer 9223372036854775808 does not fit in 64 bits
    a: 9223372036854775808
       ^^^^^^^^^^^^^^^^^^^
    hint: quote it if it is text; a recipe's numbers are finite 64-bit ones""",
    ),
    "infinite": (
        "a: -.inf\n",
        """r.yaml:1:4: error: -.inf is not a finite number
    a: -.inf
       ^^^^^
    hint: quote it if it is text; a recipe's numbers are finite 64-bit ones""",
    ),
    "directive": (
        "%TAG ! tag:x\n---\na: 1\n",
        """r.yaml:1:1: error: YAML directives are not supported
    %TAG ! tag:x
    ^
    hint: remove this line""",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained_where_it_stands(name):
    text, message = MISTAKES[name]
    with pytest.raises(RecipeError) as caught:
        read_text(text, "r.yaml")
    assert str(caught.value) == message


def test_every_problem_of_a_file_comes_at_once_in_order():
    text = "a: !x 1\nb: {k: =max(a, b), s: =min(a, b)}\na: 2\nc: .nan\nd: [1\n"
    with pytest.raises(RecipeError) as caught:
        read_text(text, "r.yaml")
    assert [(p.span.line, p.span.column) for p in caught.value.problems] == [
        (1, 4),
        (2, 8),
        (2, 23),
        (3, 1),
        (4, 4),
        (5, 4),
    ]


def test_a_quoted_expression_may_hold_commas_in_braces():
    assert plain(read_text('a: {out: "=max(a, b)", k: =f(1)}\nb: =max(a, b)\n', "r")) == {
        "a": {"out": "=max(a, b)", "k": "=f(1)"},
        "b": "=max(a, b)",
    }


def test_a_file_bears_its_path_and_a_missing_one_its_neighbour(tmp_path):
    (tmp_path / "tiny.yaml").write_text("kind: model\n")
    assert read_file(tmp_path / "tiny.yaml").span.file == str(tmp_path / "tiny.yaml")
    with pytest.raises(InputError, match=r"there is no file '.*tniy.yaml'\n    hint: did you mean 'tiny.yaml'\?"):
        read_file(tmp_path / "tniy.yaml")
    with pytest.raises(InputError, match="is not a file"):
        read_file(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        read_file(tmp_path / "none" / "a.yaml")
    with pytest.raises(InputError, match="there is no file"):
        read_file("a\0b.yaml")
    with pytest.raises(InputError, match=r"cannot read '.*xx': File name too long"):
        read_file(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: x\xe9y\n", "FILE:2:5: error: the byte 0xe9 is not UTF-8\n    hint: save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), "FILE:1:1: error: the file is UTF-16\n    hint: save it as UTF-8"),
        (
            b"a: \x00\n",
            "FILE:1:4: error: the character NUL cannot stand in a recipe\n    a: \ufffd\n       ^\n"
            '    hint: a recipe is plain text; inside "..." write an escape such as \\t',
        ),
    ],
)
def test_bytes_that_are_not_plain_text(tmp_path, data, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        read_file(path)
    assert str(caught.value) == message.replace("FILE", str(path))


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    found = read_file(path)
    assert plain(found) == {"a": 1, "b": 2}
    assert (found.key_span("b").line, found.key_span("b").text) == (2, "b: 2")


def test_reading_needs_neither_torch_nor_networkx():
    code = (
        "import sys, assembler.recipe.read, assembler.recipe.expressions, assembler.recipe.write\n"
        "print({'torch', 'networkx', 'pydantic', 'pyglove'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
