"""The keys of recipes, what they mean, and a recipe of one kind as an object that holds them."""

from __future__ import annotations

from assembler.recipe.document import VERSION
from assembler.recipe.paths import KEYS, PAPER
from assembler.schema.arguments import Schema

WORDS = {
    "kind": "What the file describes: a model, a space of models, or a run.",
    "version": "The version of the recipe language.",
    "name": "A short name; the file's own if left out.",
    "doc": "What this is, for people.",
    "paper": "The paper that this is after: {title: ..., source: arXiv 2101.08809, family: token mixer, seed: 47}.",
    "extends": "A recipe that this one is laid over; null deletes.",
    "set": "Changes by path, as with -o: {vars.dim: 96}.",
    "vars": "Values that expressions can use: =dim * 2.",
    "scales": "Named changes; poolformer@s24 is the recipe with those of s24.",
    "inputs": "Tensors that enter, by name: [B, 3, 32, 32], or {shape: [B, 16], dtype: int64, when: train}; they nest.",
    "blocks": "Ops of this recipe's own, made of steps.",
    "graph": "The steps, in order; of an imported model the text of its graph.",
    "edits": "Changes to a graph that is text, by path: {encoder.layer.1: identity}.",
    "outputs": "Names of what leaves, and the steps that give it, or {from: step, when: train}; they nest.",
    "initializers": "How parameters begin, by op: {linear.weight: {name: normal, std: 0.02}, linear.bias: zeros}.",
    "weights": "Weights to begin with, and how their names map to these: {file: m.safetensors, map: {a.*: b.*}}.",
    "base": "The model that the space is about.",
    "choose": "Choices by path: {stage.*.block.mixer: {$oneof: [pool, attention]}}.",
    "where": "What choices have to meet, checked before training: [params <= 1e6, vars.depth >= 2].",
    "moves": "Rewrites of the graph that a search may make: [{rewrite: widen, at: stage.*, factor: 2}].",
    "model": "The model that the run is about.",
    "space": "Choices by path, or the name of a space.",
    "split": "The slots that parts are trained for: steps or runs ([stage.*], [stem..stage.0]), how many, or auto.",
    "data": "The data set, by name or as {name: ..., arguments}.",
    "train": "Settings that every training of the run starts from.",
    "task": "The loss on the labels: {loss: cross_entropy, value: logits, target: label}.",
    "metric": "What people read: accuracy, or the name of a loss.",
    "seeds": "The run is made once for every seed.",
    "phases": "What is done, in order.",
    "claims": "What must hold, which `assembler verify` measures: {size: {doc: ..., check: params, expect: < 1e6}}.",
    "lock": "What a finished run was made with, as its recipe.lock.yaml says: {weights: {file: sha256}}.",
    "search": "How `assembler search` searches the space.",
}


def section(kind: str, properties: Schema, required: list[str]) -> Schema:
    told = {key: {"type": "integer" if key == "seed" else "string"} for key in PAPER}
    paper = {"type": "object", "properties": told, "required": ["title", "family"], "additionalProperties": False}
    common: Schema = {
        "kind": {"const": kind} if kind != "model" else {"enum": ["model"]},
        "version": {"const": VERSION},
        "name": {"type": "string"},
        "doc": {"type": "string"},
        "paper": paper,
        "extends": {"type": ["string", "null"]},
        "set": {"type": "object"},
    }
    found = {key: {**{**common, **properties}[key], "description": WORDS[key]} for key in KEYS[kind]}
    made: Schema = {"type": "object", "properties": found, "additionalProperties": False}
    # what a recipe does not say itself may come from the one that it extends
    return made | {"anyOf": [{"required": ["extends"]}, {"required": required}]}
