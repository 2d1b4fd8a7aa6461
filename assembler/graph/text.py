"""Graphs as text that reads back equal: one line per step, in order. Provenance (spans) is the only thing left out.

Grammar, one statement per line; blank lines and lines that start with `#` are skipped:

    graph    = 'graph' STRING '(' [ input { ',' input } ] ')' '{' { step | name } return '}'
    input    = '%' PATH ':' DTYPE '[' [ INT { ',' INT } ] ']' [ MODE ]
    step     = '%' PATH '=' OP '(' [ edge { ',' edge } ] ')' [ '{' arg { ',' arg } '}' ] { mark } [ graph ]
    mark     = 'share' '(' shared { ',' shared } ')' | 'frozen'
             | 'init' '{' arg { ',' arg } '}'    a parameter and ["name", ..., ["argument", value], ...]
    shared   = [ NAME '=' ] '%' { '^' } PATH { '/' PATH }     see `assembler.graph.shares`
    edge     = [ PORT '=' ] '%' PATH              no port: the edge's position, counted from 0
    arg      = NAME '=' JSON                      scalars and lists; lists become tuples; NaN and Infinity are allowed
    name     = 'name' PATH '=' '%' PATH           a container and the step that holds its value
    return   = 'return' [ out { ',' out } ]
    out      = NAME '=' '%' PATH [ MODE ]         MODE is 'train' or 'eval': there in that mode alone

The graph behind a step is its body; its lines are part of the step.
PATH, OP, PORT, NAME and DTYPE are letters, digits, `_` and `.`; STRING is a JSON string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from assembler.errors import GraphError, Problem, Span, near
from assembler.graph.core import Arg, Graph, Node, TensorType

T = TypeVar("T")
_WORD = re.compile(r"[A-Za-z0-9_.]+")
_SHARED = re.compile(r"\^*[A-Za-z0-9_.]+(/[A-Za-z0-9_.]+)*")
_SPACE = re.compile(r"[ \t]*")
_JSON = json.JSONDecoder()


def to_text(graph: Graph) -> str:
    """The graph in the grammar above, with a newline at the end.

    >>> print(to_text(Graph((("x", TensorType((1, 8))),), {"a": Node("relu", (), (("input", "x"),))}, (("y", "a"),))))
    graph "model" (%x: float32[1, 8]) {
      %a = relu(input=%x)
      return y = %a
    }
    <BLANKLINE>
    """
    only = {name: f" {mode}" for name, mode in graph.only}
    inputs = ", ".join(f"%{name}: {kind}{only.get(name, '')}" for name, kind in graph.inputs)
    lines = [f"graph {json.dumps(graph.name, ensure_ascii=False)} ({inputs}) {{"]
    for i, node in graph:
        first, *rest = step_text(node).split("\n")
        lines += [f"  %{i} = {first}", *(f"  {line}" for line in rest)]
    lines += [f"  name {path} = %{i}" for path, i in graph.names.items()]
    outputs = ", ".join(f"{name} = %{i}{only.get(name, '')}" for name, i in graph.outputs)
    return "\n".join([*lines, f"  return {outputs}".rstrip(), "}", ""])


def step_text(node: Node) -> str:
    """A step without its id: `conv2d(input=%x) {kernel_size = 3, out = 64}`; a body follows on lines of its own."""
    edges = ", ".join(f"%{s}" if port == str(n) else f"{port}=%{s}" for n, (port, s) in enumerate(node.inputs))
    args = ", ".join(f"{name} = {value_text(value)}" for name, value in node.args)
    shares = ", ".join(f"{name}=%{path}" if name else f"%{path}" for name, path in node.share)
    inits = ", ".join(f"{name} = {value_text([r[0][1], *r[1:]])}" for name, r in node.init)  # type: ignore[arg-type]
    marks = (f" {{{args}}}" if args else "") + (f" share({shares})" if shares else "") + " frozen" * node.frozen
    marks += f" init {{{inits}}}" if inits else ""
    body = f" {to_text(node.body).rstrip()}" if node.body is not None else ""
    return f"{node.op}({edges}){marks}{body}"


def value_text(value: Arg) -> str:
    """An argument as a JSON literal."""
    return json.dumps(value, ensure_ascii=False)


def from_text(text: str, file: str = "<graph>") -> Graph:
    """The graph that `to_text` wrote; ops and arguments are not checked (`verify` does that).

    Raises GraphError with `file:line:column` for every line that cannot be read, every id that is defined twice and
    every id that is read but not defined above.
    """
    stack = [_Reader(file)]
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            reader = stack[-1]
            try:
                reader.statement(_Line(line.rstrip("\r"), number, file))
            except GraphError as error:
                reader.problems += error.problems
                if reader.state == "head":
                    break  # without the inputs every line would be wrong
            if reader.inner is not None:
                stack.append(reader.inner)
            elif reader.state == "end" and len(stack) > 1:
                stack.pop()
                stack[-1].close()
    for reader in reversed(stack[1:]):
        stack[0].problems += reader.problems
    return stack[0].finish(len(text.split("\n")))


@dataclass
class _Line:
    """One line and how far it is read."""

    text: str
    number: int
    file: str
    at: int = 0

    def __post_init__(self) -> None:
        self.skip()

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def take(self, token: str) -> bool:
        """Read `token` if it comes next."""
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        self.skip()
        return True

    def need(self, token: str) -> None:
        if not self.take(token):
            raise self.error(f"expected '{token}'")

    def word(self, what: str, form: re.Pattern[str] = _WORD) -> str:
        found = form.match(self.text, self.at)
        if not found:
            raise self.error(f"expected {what}")
        self.at = found.end()
        self.skip()
        return found[0]

    def keyword(self) -> str:
        found = _WORD.match(self.text, self.at)
        return found[0] if found else ""

    def value(self) -> Arg:
        try:
            value, end = _JSON.raw_decode(self.text, self.at)
            frozen = self._frozen(value)
        except (ValueError, RecursionError) as error:
            raise self.error("expected a JSON value") from error
        self.at = end
        self.skip()
        return frozen

    def _frozen(self, value: Any) -> Arg:
        if isinstance(value, dict):
            raise self.error("a mapping cannot be an argument", hint="scalars and lists can")
        return tuple(self._frozen(v) for v in value) if isinstance(value, list) else value

    def items(self, read: Callable[[], T], end: str) -> Iterator[T]:
        """What `read` reads, separated by commas, until `end`."""
        if self.take(end):
            return
        yield read()
        while self.take(","):
            yield read()
        if not self.take(end):
            raise self.error(f"expected ',' or '{end}'")

    def finish(self) -> None:
        if self.at < len(self.text):
            raise self.error("expected the end of the line")

    def error(self, message: str, *, at: int | None = None, width: int = 1, hint: str = "") -> GraphError:
        at = self.at if at is None else at
        found = self.text[at:].strip()
        if message.startswith("expected"):
            message += f", found {found[:20]!r}" if found else ", found the end of the line"
        return GraphError(Problem(message, Span(self.file, self.number, at + 1, self.text, width), hint=hint))


@dataclass
class _Reader:
    """What is read so far. Statements come one line at a time, so that each can fail alone."""

    file: str
    state: str = "head"
    name: str = ""
    inputs: list[tuple[str, TensorType]] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    only: list[tuple[str, str]] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    inner: _Reader | None = None
    open: str = ""

    def statement(self, line: _Line) -> None:
        if self.state == "head":
            self.head(line)
            self.state = "body"
        elif self.state == "end":
            raise line.error("there is text after the graph")
        elif line.take("}"):
            self.state = "end"
        elif self.state == "tail":
            raise line.error("expected '}'")
        elif line.text.startswith("%", line.at):
            self.step(line)
        elif line.keyword() in ("name", "return"):
            self.alias(line) if line.word("") == "name" else self.result(line)
        else:
            raise line.error("expected '%', 'name', 'return' or '}'")
        line.finish()

    def head(self, line: _Line) -> None:
        line.need("graph")
        name = line.value()
        if not isinstance(name, str):
            raise line.error(f"the name of a graph is a string, not {name!r}")
        self.name = name
        line.need("(")
        for _ in line.items(lambda: self.input(line), ")"):
            pass
        line.need("{")

    def input(self, line: _Line) -> None:
        name = self.define(line)
        line.need(":")
        dtype = line.word("a dtype")
        line.need("[")
        shape = tuple(line.items(lambda: self.size(line), "]"))
        self.inputs.append((name, TensorType(shape, dtype)))
        self.mode(line, name)

    def mode(self, line: _Line, name: str) -> None:
        if line.keyword() in ("train", "eval"):
            self.only.append((name, line.word("a mode")))

    def size(self, line: _Line) -> int:
        at = line.at
        word = line.word("a size")
        if not word.isdecimal() or len(word) > 18:
            raise line.error(f"'{word}' is not a size", at=at, width=len(word))
        return int(word)

    def step(self, line: _Line) -> None:
        i = self.define(line)
        line.need("=")
        op = line.word("an op")
        line.need("(")
        count = iter(range(len(line.text)))
        inputs = tuple(line.items(lambda: self.edge(line, next(count)), ")"))
        args = tuple(line.items(lambda: self.argument(line), "}")) if line.take("{") else ()
        share: tuple[tuple[str, str], ...] = ()
        if line.keyword() == "share":
            line.word("a mark")
            line.need("(")
            share = tuple(line.items(lambda: self.shared(line), ")"))
        frozen = line.keyword() == "frozen" and bool(line.word("a mark"))
        init: tuple[Any, ...] = ()
        if line.keyword() == "init":
            line.word("a mark")
            line.need("{")
            said = line.items(lambda: self.argument(line), "}")
            init = tuple((name, (("name", rule[0]), *rule[1:])) for name, rule in said if isinstance(rule, tuple))
        self.nodes[i] = Node(op, args, inputs, share=share, frozen=frozen, init=init)
        if line.keyword() == "graph":
            self.inner, self.open = _Reader(self.file), i
            self.inner.statement(line)

    def close(self) -> None:
        """Put the body that has just ended where it belongs."""
        assert self.inner is not None
        self.problems += self.inner.problems
        self.inner.problems = []
        self.nodes[self.open] = replace(self.nodes[self.open], body=self.inner.finish(0))
        self.inner = None

    def shared(self, line: _Line) -> tuple[str, str]:
        name = "" if line.text.startswith("%", line.at) else line.word("a parameter or '%'")
        if name:
            line.need("=")
        line.need("%")
        return name, line.word("a path", _SHARED)

    def edge(self, line: _Line, position: int) -> tuple[str, str]:
        if line.text.startswith("%", line.at):
            return str(position), self.source(line)
        port = line.word("an input name or '%'")
        line.need("=")
        return port, self.source(line)

    def argument(self, line: _Line) -> tuple[str, Arg]:
        name = line.word("an argument")
        line.need("=")
        return name, line.value()

    def alias(self, line: _Line) -> None:
        at = line.at
        path = line.word("a path")
        if path in self.names:
            raise line.error(f"'{path}' is named twice", at=at, width=len(path))
        line.need("=")
        self.names[path] = self.source(line)

    def result(self, line: _Line) -> None:
        self.state = "tail"
        while line.at < len(line.text):
            name = line.word("the name of an output")
            line.need("=")
            self.outputs.append((name, self.source(line)))
            self.mode(line, name)
            if not line.take(","):
                break

    def define(self, line: _Line) -> str:
        at = line.at
        line.need("%")
        i = line.word("a path")
        if i in self.defined:
            raise line.error(f"'%{i}' is defined twice", at=at, width=len(i) + 1)
        self.defined.add(i)
        return i

    def source(self, line: _Line) -> str:
        at = line.at
        line.need("%")
        i = line.word("a path")
        if i not in self.defined:
            hint = near(i, self.defined)
            raise line.error(f"'%{i}' is not defined above", at=at, width=len(i) + 1, hint=hint)
        return i

    def finish(self, lines: int) -> Graph:
        if self.state != "end" and not self.problems:
            missing = "'graph'" if self.state == "head" else "'}'"
            self.problems.append(Problem(f"the text ends without {missing}", Span(self.file, lines, 1)))
        if self.problems:
            raise GraphError(self.problems)
        return Graph(tuple(self.inputs), self.nodes, tuple(self.outputs), self.names, self.name, tuple(self.only))
