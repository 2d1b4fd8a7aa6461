"""Makes models of recipes written in tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
import torch
from torch import nn

from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.recipe.document import parse
from assembler.wiring.build import build


@pytest.fixture
def graph() -> Callable[[str], Graph]:
    """The graph of a recipe's text, which also reads back from its own text."""

    def made(text: str) -> Graph:
        found = build(parse("kind: model\n" + textwrap.dedent(text), "test.yaml").model, name="test")
        assert from_text(to_text(found)) == found
        return found

    return made


@pytest.fixture
def model(graph: Callable[[str], Graph]) -> Callable[[str], nn.Module]:
    """The module of a recipe's text."""

    def made(text: str) -> nn.Module:
        torch.manual_seed(0)
        return lower(graph(text))

    return made
