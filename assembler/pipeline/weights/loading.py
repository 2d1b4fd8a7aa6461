"""Weights that a model begins with: those of a file that the user names, or of the ones that its recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from assembler.assemble.product import Product, read
from assembler.assemble.weights import whole_keys
from assembler.compile.checkpoints import HUB, read_checkpoint
from assembler.compile.lower import lower
from assembler.compile.mapping import mapped, tie, unread
from assembler.compile.model import Compiled
from assembler.compile.weights import few, misfits, put
from assembler.errors import AssemblerError, InputError, Problem, RecipeError
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.recipe.edits import EDITS, graph_text
from assembler.recipe.overrides import FILE
from assembler.recipe.values import Map
from assembler.recipe.weighted import all_weights
from assembler.recipe.weights import Weights
from assembler.report.part import facts, label

Tensors = Mapping[str, Tensor]
_MOST = 5  # names that are told
_PARTIAL = "partial: true reads only what fits"


@dataclass(frozen=True)
class Begin:
    """What a model begins with: tensors under its own names, the names that begin otherwise, those not read.

    `mapped` says whether they were somebody else's.
    """

    tensors: dict[str, Tensor]
    fresh: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    mapped: bool = False


@dataclass(frozen=True)
class Place:
    """The weights for the part of a model at `path` ("" is all of it) and where they lie; `file` if the user says."""

    path: str
    weights: Weights
    file: str | Path

    @property
    def owner(self) -> str:
        """What the weights are for, in words."""
        return f"'{self.path}'" if self.path else "the model"

    def holds(self, key: str) -> bool:
        """Whether a name of the model belongs to this part."""
        return not self.path or key.startswith(f"{self.path}.")


def load_into(module: Compiled, model: Map, folder: Path, given: str | Path | None = None) -> None:
    """Fill `module` with the weights `given` (a file, a folder, `hf:org/name`), else with those that its recipe names.

    Names are mapped by the recipe's weights map, unless they are the module's own. `module.meta["unread"]` are the
    names in the weights that a map does not read, `module.meta["unused"]` those of partial ones that the model has no
    use for, `module.meta["initialised"]` what was not among partial ones.
    Raises InputError for what is missing or of a wrong shape.
    """
    found = begin_of(places(model, folder, given), module.state_dict())
    if found is None:
        return
    put(module, found.tensors)
    if found.mapped:
        module.meta["unread"] = found.unread
    elif found.unread:
        module.meta["unused"] = found.unread
    if found.fresh:
        module.meta["initialised"] = found.fresh


def places(model: Map, folder: Path, given: str | Path | None = None) -> tuple[Place, ...]:
    """Where the weights of a model recipe lie, outer ones first; those `given` are for all of it.

    Raises RecipeError for a place outside of the recipe's folder.
    """
    said = all_weights(model)
    if given is not None:
        return (Place("", said.get("", Weights()), given),)
    return tuple(Place(path, one, beside(one, folder)) for path, one in said.items() if one.file)


def check_there(model: Map, folder: Path) -> None:
    """Raises InputError for weights that a model recipe names and that do not lie there; the hub is not asked."""
    files = [p for p in places(model, folder) if not str(p.file).startswith(HUB) and not Path(p.file).exists()]
    if files:
        raise InputError([Problem(f"no weights file {p.file}", p.weights.span) for p in files])


def beside(weights: Weights, folder: Path) -> str | Path:
    """The place that a recipe names, at or below the folder that it is written in; `-o` may name any."""
    said, span = weights.file, weights.span
    if said.startswith(HUB) or (span is not None and span.file == FILE):
        return said
    home = Path(span.file).parent if span is not None and Path(span.file).is_file() else folder
    if Path(said).is_absolute() or not (home / said).resolve().is_relative_to(home.resolve()):
        hint = "use a file at or below the recipe's own folder, or --weights"
        raise RecipeError(Problem(f"a recipe may not reach '{said}'", span, hint=hint))
    return home / said


def begin_of(found: tuple[Place, ...], ours: Tensors, *, fitting: bool = False) -> Begin | None:
    """The tensors of `ours` (a `state_dict`, on any device) that lie at these places; None if there are no places.

    What lies at an inner place goes before. With `fitting` all are taken as partial, and may have nothing.
    Raises InputError, at the place in the recipe, for weights that are missing or of another shape.
    """
    if not found:
        return None
    tensors: dict[str, Tensor] = {}
    problems: list[Problem] = []
    left: dict[str, tuple[str, ...]] = {}
    mapped_any = False
    for place in found:
        inner = [other for other in found if other is not place and place.holds(other.path)]
        keys = [k for k in ours if place.holds(k) and not any(other.holds(k) for other in inner)]
        try:
            made, missed, is_mapped = _read(place, {_short(k, place): ours[k] for k in keys}, fitting)
        except AssemblerError as error:
            problems += _placed(error.problems, place)
            continue
        tensors |= {_full(k, place): tensor for k, tensor in made.items()}
        left[place.path] = missed
        mapped_any = mapped_any or is_mapped
    if not problems:
        tie(tensors, ours, problems)
    if problems:
        raise InputError(problems)
    fresh = tuple(k for k in ours if k not in tensors)
    return Begin(tensors, fresh, tuple(name for names in left.values() for name in names), mapped_any)


def _placed(problems: Sequence[Problem], place: Place) -> list[Problem]:
    """The problems, the first of them where the recipe names the weights."""
    first, *rest = problems
    if place.weights.file and first.span is None:
        first = replace(first, span=place.weights.span)
    helps = bool(first.path) and not place.weights.partial
    hint = first.hint or (_PARTIAL if helps else "")
    return [replace(first, hint="; ".join(filter(None, (_of_part(place), hint)))), *rest]


def _theirs(place: Place) -> Tensors:
    """The tensors at a place; those of a part are named from its slot on, also where that is one step."""
    found = read_checkpoint(place.file)
    product = _product(place)
    if product is None or "part" not in product.card.get("inputs", {}):
        return found
    named = whole_keys(found, "slot", from_text(product.card["inputs"]["part"]))
    return {name.removeprefix("slot."): tensor for name, tensor in named.items()}


def _product(place: Place) -> Product | None:
    """The product of a parts store whose folder a place is."""
    folder = Path(place.file)
    return read(folder, folder.name)


def _of_part(place: Place) -> str:
    """What the card says where a place is the folder of a part: what it takes and gives, and where it was trained."""
    product = _product(place)
    if product is None:
        return ""
    told = {name: said for name, said in facts(product.card) if name in ("enters", "reads", "leaves", "host") and said}
    said = ", ".join(f"{name} {what}" for name, what in told.items())
    return f"'{label(product.card)}' was made for: {said}" if said else ""


def _read(place: Place, ours: Tensors, fitting: bool) -> tuple[Tensors, tuple[str, ...], bool]:
    """The tensors at a place under names relative to it, the names there that nothing reads, and whether a map did."""
    weights = place.weights
    if not ours and not fitting:
        raise InputError(f"{place.owner} has no weights of its own", hint="remove its weights:, or share: them")
    theirs = _theirs(place)
    partial = weights.partial or fitting
    is_mapped = weights.map is not None and theirs.keys() != ours.keys()
    left: tuple[str, ...] = ()
    made: Tensors
    if weights.map is not None and is_mapped:
        try:
            made = mapped(weights.map, theirs, ours, partial=partial)
        except InputError as error:
            raise InputError([replace(p, path=_full(p.path, place)) for p in error.problems]) from None
        left = tuple(unread(weights.map, theirs, ours))
    elif partial:
        made = {k: t for k, t in theirs.items() if k in ours and t.shape == ours[k].shape}
        left = tuple(k for k in theirs if k not in made)
    else:
        problems = list(misfits(ours, theirs, str(place.file), place.owner))
        if problems:
            raise InputError([replace(p, path=_full(p.path, place)) for p in few(problems, ours, theirs)])
        made = theirs
    if not made and not fitting:
        some = ", ".join(list(theirs)[:4])
        raise InputError(f"nothing in {place.file} fits {place.owner}", hint=f"it has {some}, ...; map: maps names")
    return made, left, is_mapped


def words(loaded: int, fresh: Sequence[str], unused: Sequence[str] = ()) -> str:
    """What partial weights gave: `12 loaded, 2 initialised: head.weight, head.bias; 1 not used: classifier.weight`."""
    said = f"{loaded} loaded, {len(fresh)} initialised" + (f": {_some(fresh)}" if fresh else "")
    return said + (f"; {len(unused)} not used: {_some(unused)}" if unused else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (", ..." if len(names) > _MOST else "")


def told(model: Map, folder: Path, graph: Graph) -> str:
    """What the weights that a model recipe names give its graph, in words; "" where they are an imported model's own.

    The hub is not asked. Raises InputError for what is missing or of another shape.
    """
    where = places(model, folder)
    whole = graph_text(model) and not {EDITS, "outputs"} & set(model.keys())
    if whole or any(str(place.file).startswith(HUB) for place in where):
        return ""
    found = begin_of(where, lower(graph, device="meta").state_dict()) if where else None
    return words(len(found.tensors), found.fresh, found.unread) if found else ""


def _short(key: str, place: Place) -> str:
    return key.removeprefix(f"{place.path}.") if place.path else key


def _full(key: str, place: Place) -> str:
    return f"{place.path}.{key}" if place.path and key else key
