"""What a model or recipe may be given as to a call, and what each call makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.recipe import document as documents
from assembler.recipe.document import Document
from assembler.recipe.values import Map
from assembler.symbolic.recipe import Recipe, tree
from assembler.wiring.build import build

Source = str | Path | Document | Recipe | Graph
"""What a model may be given as: a recipe's name or file, a loaded recipe, or a graph."""


def graph(source: Source, *overrides: str) -> Graph:
    """The frozen graph of a model recipe. Raises RecipeError where a choice is still open."""
    if isinstance(source, Graph):
        return source
    name, model = model_of(source, overrides)
    return build(model, name=name)


def document(source: str | Path | Document, overrides: Sequence[str] = ()) -> Document:
    """A recipe as it was read."""
    return source if isinstance(source, Document) else documents.load(source, overrides)


def searched(source: Source) -> Document:
    """What is searched: a document, or the model of a symbolic recipe as one."""
    if not isinstance(source, Recipe | Graph):
        return document(source)
    name, model = model_of(source)
    section = source.searching if isinstance(source, Recipe) else None
    said = model if section is None else model.set("search", section)
    return Document("model", name, said, model, model, folder(source) / name)


def folder(source: Source) -> Path:
    """What files are relative to that a recipe names, where it does not say itself where it is written."""
    if isinstance(source, Recipe):
        return source.home
    return source.folder if isinstance(source, Document) else Path()


def model_of(source: Source, overrides: Sequence[str] = ()) -> tuple[str, Map]:
    """The name and the model of a recipe. Raises InputError for a graph, which has none."""
    if isinstance(source, Recipe):
        name = source.sym_getattr("name") if source.sym_hasattr("name") else "model"
        return str(name), tree(source)
    if isinstance(source, Graph):
        raise InputError("a graph has no recipe", hint="give the recipe that it was made from")
    found = document(source, overrides)
    return found.name, found.model
