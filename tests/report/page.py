"""A page as a tree that tests can ask: tags, attributes, text. Tags that do not match fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br"}


@dataclass
class Tag:
    name: str
    attributes: dict[str, str]
    children: list[Tag | str] = field(default_factory=list)

    def walk(self) -> Iterator[Tag]:
        yield self
        for child in self.children:
            if isinstance(child, Tag):
                yield from child.walk()

    def all(self, name: str) -> list[Tag]:
        return [t for t in self.walk() if t.name == name]

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Tag("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Tag(tag, {k: v or "" for k, v in attrs})
        self.stack[-1].children.append(made)
        if tag not in VOID:
            self.stack.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Tag(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().name == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def parse(source: str) -> Tag:
    """The page's root. Raises AssertionError where tags do not nest."""
    parser = _Parser()
    parser.feed(source)
    parser.close()
    assert len(parser.stack) == 1, f"<{parser.stack[-1].name}> is never closed"
    return parser.stack[0]


def figures(source: str) -> dict[str, Tag]:
    """The page's figures by id."""
    return {t.attributes["id"]: t for t in parse(source).all("figure")}
