"""Steps that only look at the sizes of their input, as `if` statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assembler.compile.literal import plain
from assembler.compile.source.lines import broken
from assembler.compile.source.names import Names
from assembler.modules.imported import Limit


def checked(limits: Sequence[Limit], axes: int, value: str, names: Names, indent: str) -> Iterator[str]:
    """The statements that raise ValueError where a `sized` step does, for the variable or expression `value`."""
    sizes = {limit.axis: names.again(f"size_{limit.axis}") for limit in limits}
    taken = [sizes.get(axis, "_") for axis in range(axes)]
    yield f"{indent}{', '.join(taken)}{',' * (axes == 1)} = {value}.shape"
    for axis, sign, limit, said in limits:
        words = f"{said} ".replace("{", "{{").replace("}", "}}")
        yield f"{indent}if {sizes[axis]} {sign} {limit}:"
        yield from broken(f"raise ValueError(f{plain(f'{words}{{{sizes[axis]}}}')})", f"{indent}    ")
