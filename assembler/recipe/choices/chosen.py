"""The choice that was made in a recipe: `decide` backwards."""

from __future__ import annotations

from assembler.recipe.choices.decision import Choice, Pick
from assembler.recipe.choices.labels import labels
from assembler.recipe.choices.space import Space
from assembler.recipe.paths import join
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice


def chosen(tree: Map, space: Space, made: Map) -> Choice:
    """What the recipe `made` says where `tree` leaves the decisions of its `space` open.

    Only decisions whose place is written there as in one of their candidates are found, and nothing else is compared.
    """
    found = _Chosen(space)
    found.look(tree, made, "")
    return found.picks


class _Chosen:
    def __init__(self, space: Space) -> None:
        self._known = {d.name: d for d in space.decisions}
        self.picks: Choice = {}

    def look(self, value: Value, said: Value, path: str) -> None:
        """Note the picks under which a value became what is said, where they can be told."""
        if is_choice(value):
            self._fits(value, said, path)
        elif isinstance(value, Map) and isinstance(said, Map):
            for key, inside in value:
                if (there := said.get(key)) is not None:
                    self.look(inside, there, join(path, key))
        elif isinstance(value, Seq) and isinstance(said, Seq):
            for i, (inside, there) in enumerate(zip(value, said, strict=False)):
                self.look(inside, there, join(path, str(i)))

    def _fits(self, value: Value, said: Value | None, path: str) -> bool:
        """Whether a value may have become what is said."""
        if isinstance(value, Map) and is_choice(value):
            pick = self._pick(value, said, path)
            fits = pick is not None and path in self._known and self._known[path].accepts(pick)
            if pick is not None and fits:
                self.picks[path] = pick
            return fits
        if isinstance(value, Leaf):
            return isinstance(said, Leaf) and value.value == said.value and type(value.value) is type(said.value)
        if isinstance(value, Seq):
            alike = isinstance(said, Seq) and len(value) == len(said)
            pairs = enumerate(zip(value, said, strict=True)) if isinstance(said, Seq) and alike else ()
            return alike and all(self._fits(v, s, join(path, str(i))) for i, (v, s) in pairs)
        if not isinstance(said, Map) or set(value.keys()) != set(said.keys()):
            return False
        return all(self._fits(v, said.get(key), join(path, key)) for key, v in value)

    def _pick(self, value: Map, said: Value | None, path: str) -> Pick | None:
        key = next(k for k in value.keys() if k.startswith("$"))
        candidates = value.get(key)
        if key in ("$int", "$float"):
            number = said.value if isinstance(said, Leaf) else None
            return number if isinstance(number, int | float) and not isinstance(number, bool) else None
        if not isinstance(candidates, Seq) or said is None:
            return None
        if key == "$oneof":
            return self._candidate(candidates, said, path)
        if not isinstance(said, Seq):
            return None
        several = tuple(self._candidate(candidates, one, f"{path}.{p}") for p, one in enumerate(said))
        return None if None in several else several

    def _candidate(self, candidates: Seq, said: Value, path: str) -> int | None:
        """The candidate that was taken; what was noted inside the others is forgotten."""
        for i, (candidate, label) in enumerate(zip(candidates, labels(candidates), strict=True)):
            before = dict(self.picks)
            if self._fits(candidate, said, f"{path}[{label}]"):
                return i
            self.picks = before
        return None
