"""Closed registries of named things. A decorated function or class is an entry; its signature is its schema."""

from assembler.registry.catalog import add_plugin, find, has_body, lookup, names, plugins, settings, suggest
from assembler.registry.entry import REQUIRED, Entry, Param
from assembler.registry.live import check, dataset, loss, merge, op, optimizer, phase, proxy, pruner, rewrite, sampler
from assembler.registry.types import Body, Channels, Features, Shape, Shapes
from assembler.registry.wanted import wanted

__all__ = [
    "REQUIRED",
    "Body",
    "Channels",
    "Entry",
    "Features",
    "Param",
    "Shape",
    "Shapes",
    "add_plugin",
    "check",
    "dataset",
    "find",
    "has_body",
    "lookup",
    "loss",
    "merge",
    "names",
    "op",
    "optimizer",
    "phase",
    "plugins",
    "proxy",
    "pruner",
    "rewrite",
    "sampler",
    "settings",
    "suggest",
    "wanted",
]
