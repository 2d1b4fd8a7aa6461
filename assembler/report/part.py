"""What the card of a product says, in words: for lists of the parts store, for one part, and for where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assembler.report.numbers import count, result, seconds

Card = Mapping[str, Any]

_KINDS = {
    "part": "part", "nested": "parts", "train": "model", "load_model": "model", "merge_models": "model",
    "begin": "weights",
}  # fmt: skip
_SCORES = ("test", "validation", "score", "loss")


def kind(card: Card) -> str:
    """What a product is: a part, a model, weights, or the name of what made it (`search`, `test`)."""
    function = str(card["run"]).partition(":")[2]
    return _KINDS.get(function, function)


def label(card: Card) -> str:
    """What people call a product."""
    return str(card.get("label") or str(card["run"]).partition(":")[2])


def recipe(card: Card) -> str:
    """The name of the recipe that it was made for, "" where the card does not say it."""
    return str(_said(card, "about").get("recipe", ""))


def slot(card: Card) -> str:
    """The slot of a part, "" of anything else."""
    return str(_said(card, "inputs").get("slot", ""))


def scores(card: Card) -> dict[str, float]:
    """What it was measured to be worth, the first of them what it is listed with."""
    found = _said(card, "result")
    return {name: value for name in _SCORES if isinstance(value := found.get(name), float)}


def objective(card: Card) -> str:
    """What it was trained for: `0.5 cross_entropy(logits, label) + kl(logits, teacher.logits)`."""
    found = _said(card, "inputs")
    said = [turn.get("objective") for turn in found.get("turns", ())] or [found.get("objective")]
    return "; ".join(" + ".join(map(_term, _terms(one))) for one in said if one)


def origin(card: Card) -> dict[str, Any]:
    """Where a product comes from: what it is called, for what recipe, on which data and objective, from which seed."""
    inputs = _said(card, "inputs")
    named = {"label": label(card), "recipe": recipe(card), "data": str(_said(inputs, "data").get("name", ""))}
    return {**named, "seed": inputs.get("seed", ""), "objective": objective(card), "scores": scores(card)}


def facts(card: Card) -> Iterator[tuple[str, str]]:
    """(name, what is said) of everything that a card tells people, in order."""
    about, inputs, made = (_said(card, name) for name in ("about", "inputs", "result"))
    yield "kind", " ".join(filter(None, (kind(card), f"for slot {slot(card)}" if slot(card) else "")))
    yield "recipe", recipe(card)
    yield "picks", ", ".join(f"{path} = {pick}" for path, pick in _said(about, "picks").items())
    for name, types in _said(about, "interface").items():
        yield name, ", ".join(f"{value} {one}" for value, one in types.items())
    yield "host", _host(_said(about, "host"))
    yield "fingerprint", str(about.get("fingerprint", ""))
    yield "data", _data(inputs, str(about.get("licence", "")))
    yield "objective", objective(card)
    yield "seed", str(inputs.get("seed", ""))
    yield "start", ": ".join(filter(None, (str(inputs.get("start", "")), str(made.get("account", "")))))
    yield "scores", ", ".join(f"{name} {result(value)}" for name, value in scores(card).items())
    yield "cost", _cost(about, made)
    yield "made in", f"{seconds(card.get('seconds', 0.0))}, {card.get('created', '')}{_where(about)}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in _said(card, "versions").items())


def _said(card: Card, name: str) -> Card:
    """What a card says under a name; nothing where that is no mapping, for a card may come from anybody."""
    found = card.get(name)
    return found if isinstance(found, Mapping) else {}


def _terms(said: Any) -> list[Mapping[str, Any]]:
    if isinstance(said, Mapping):
        return list(said.get("terms", [said]))
    return list(said)


def _term(term: Mapping[str, Any]) -> str:
    reads = ", ".join(str(term[name]) for name in ("value", "target") if name in term)
    weight = f"{term['weight']} " if term.get("weight", 1) != 1 else ""
    return f"{weight}{term['loss']}({reads})" if term.get("loss") else f"{weight}{reads}"


def _host(host: Mapping[str, str]) -> str:
    return f"{host.get('phase')} of {host.get('recipe')}, fingerprint {host.get('fingerprint')}" if host else ""


def _data(inputs: Mapping[str, Any], licence: str) -> str:
    if not _said(inputs, "data"):
        return ""
    data = _said(inputs, "data")
    name, *args = (f"{k}={v}" if k != "name" else str(v) for k, v in sorted(data.items(), key=_first_name))
    known = f"fingerprint {inputs.get('data_id', '')}", f"licence {licence or 'not said'}"
    return ", ".join((name, *args, *known))


def _first_name(item: tuple[str, Any]) -> tuple[bool, str]:
    return item[0] != "name", item[0]


def _cost(about: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    known = {"parameters": about.get("params"), "FLOPs": about.get("flops"), "training FLOPs": made.get("train_flops")}
    return ", ".join(f"{count(value)} {name}" for name, value in known.items() if value is not None)


def _where(about: Mapping[str, Any]) -> str:
    """With how many processes, where there was more than one."""
    spread = about.get("processes")
    return f", on {spread['count']} processes ({spread['parallel']})" if spread else ""
