"""A graph as an SVG drawing: steps from top to bottom, containers as boxes, skips as arcs, slots highlighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from assembler.graph.core import Graph
from assembler.report import svg
from assembler.report.layout import Gaps, Layout, Point, layered
from assembler.report.numbers import TIMES
from assembler.report.outline import Step, kinds, outline

MERGES = {"add": "+", "mul": TIMES, "concat": "‖", "cat": "‖"}
PAD, HEAD, WIDEST, NARROWEST = 10.0, 24.0, 186.0, 92.0
ENTRY, EXIT = "\0entry", "\0exit"  # names that no path can have


@dataclass(frozen=True, slots=True)
class Picture:
    """Markup drawn in a frame of this size that starts at (0, 0)."""

    width: float
    height: float
    body: str


@dataclass(frozen=True)
class Style:
    """What the drawing says beside the graph: the chosen variant of each slot, and a note (a cost) for some paths."""

    slots: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def draw_graph(
    graph: Graph, *, width: float = 960, style: Style | None = None, most: int = 60, standalone: bool = False
) -> str:
    """The graph as one `<svg>`; a plain chain is broken into as many columns as `width` pixels hold.

    `most` bounds the number of boxes; `standalone` makes it a file of its own with its colours inside.
    """
    look = style or Style()
    picture = _whole(graph, look, most, width)
    title = f"graph of {graph.name}: {len(graph)} steps"
    body = picture.body
    edge = 2 * PAD if standalone else 1.0
    body = _moved(Picture(0, 0, body), edge, edge)
    wide, high = picture.width + 2 * edge, picture.height + 2 * edge
    return svg.document(wide, high, body, title=title, standalone=standalone, least=0.7 * wide)


def _whole(graph: Graph, style: Style, most: int, width: float) -> Picture:
    steps = outline(graph, style.slots, most=most)
    pictures = {step.path: _step(graph, step, style) for step in steps}
    owner = {i: step.path for step in steps for i in step.nodes}
    for name, kind in graph.inputs:
        pictures[f"\0{name}"] = _pill(name, f"{name}: {kind}")
        owner[name] = f"\0{name}"
    edges = [(owner[s], owner[i]) for i, node in graph for s in node.sources if owner[s] != owner[i]]
    for name, source in graph.outputs:
        if source in owner:
            pictures[f"\0\0{name}"] = _pill(name, f"output {name}")
            edges.append((owner[source], f"\0\0{name}"))
    layout = layered({k: (p.width, p.height) for k, p in pictures.items()}, edges, Gaps(beside=28, between=24))
    if _is_chain(layout):
        return _columns(sorted(pictures, key=lambda k: layout.boxes[k].y), pictures, width)
    return _flow(layout, pictures)


def _is_chain(layout: Layout) -> bool:
    tops = {box.y + box.height / 2 for box in layout.boxes.values()}
    return len(tops) == len(layout.boxes) and len(layout.routes) == len(layout.boxes) - 1


def _flow(layout: Layout, pictures: Mapping[str, Picture]) -> Picture:
    """Boxes and edges as laid out."""
    body = [_edge(points, head=edge[1] != EXIT) for edge, points in layout.routes.items()]
    body += [_moved(pictures[k], box.x, box.y) for k, box in layout.boxes.items()]
    return Picture(layout.width, layout.height, "".join(body))


def _columns(order: Sequence[str], pictures: Mapping[str, Picture], width: float) -> Picture:
    """A chain in as many columns as fit, of about equal height."""
    best = _split(order, pictures, 1)
    for columns in range(2, min(5, len(order)) + 1):
        tried = _split(order, pictures, columns)
        if _extent(tried, pictures)[0] <= width and _extent(tried, pictures)[1] < 0.92 * _extent(best, pictures)[1]:
            best = tried
    return _joined(best, pictures)


GAP, GUTTER, RISE = 24.0, 56.0, 18.0


def _split(order: Sequence[str], pictures: Mapping[str, Picture], columns: int) -> list[list[str]]:
    """The order cut into columns with the lowest tallest column (greedy under a falling limit)."""
    heights = [pictures[k].height + GAP for k in order]
    low, high = max(heights), sum(heights)
    found = [list(order)]
    for _ in range(20):
        limit = (low + high) / 2
        cut: list[list[str]] = [[]]
        taken = 0.0
        for key, height in zip(order, heights, strict=True):
            if cut[-1] and taken + height > limit:
                cut.append([])
                taken = 0.0
            cut[-1].append(key)
            taken += height
        if len(cut) <= columns:
            found, high = cut, limit
        else:
            low = limit
    return found


def _extent(columns: Sequence[Sequence[str]], pictures: Mapping[str, Picture]) -> tuple[float, float]:
    width = sum(max(pictures[k].width for k in column) for column in columns) + GUTTER * (len(columns) - 1)
    height = max(sum(pictures[k].height + GAP for k in column) - GAP for column in columns)
    return width, height + (2 * RISE if len(columns) > 1 else 0)


def _joined(columns: Sequence[Sequence[str]], pictures: Mapping[str, Picture]) -> Picture:
    width, height = _extent(columns, pictures)
    top = RISE if len(columns) > 1 else 0.0
    body, left, before = [], 0.0, None
    for column in columns:
        wide = max(pictures[k].width for k in column)
        middle, y = left + wide / 2, top
        if before:
            gutter = left - GUTTER / 2
            (x, low) = before
            body.append(_elbow([(x, low), (x, low + 12), (gutter, low + 12), (gutter, 4), (middle, 4), (middle, top)]))
        for at, key in enumerate(column):
            picture = pictures[key]
            if at:
                body.append(_edge([(middle, y - GAP), (middle, y)]))
            body.append(_moved(picture, middle - picture.width / 2, y))
            y += picture.height + GAP
        before = (middle, y - GAP)
        left += wide + GUTTER
    return Picture(width, height, "".join(body))


def _step(graph: Graph, step: Step, style: Style) -> Picture:
    if step.children:
        return _container(graph, step, style)
    if step.path in style.slots:
        inside = _leaf(graph, step, style, "")
        return _framed(step, replace(inside, height=inside.height + PAD), style)
    return _leaf(graph, step, style, step.label)


def _leaf(graph: Graph, step: Step, style: Style, name: str) -> Picture:
    """One node or one closed container."""
    node = graph.nodes[step.once[0]] if len(step.once) == 1 else None
    note = style.notes.get(step.path, "")
    if node and node.op in MERGES:
        return _merge_mark(step.path, node.op)
    if node:
        args = ", ".join(f"{k} {_value(v)}" for k, v in node.args)
        head, small, whole = node.op, args, f"{step.path}: {node.op}({args})"
    else:
        head, small = "" if step.more else f"{len(step.once)} steps", kinds(graph, step)
        whole = f"{step.path}: {len(step.nodes)} steps, {kinds(graph, step, 20)}"
    second = " · ".join(filter(None, (note, small)))
    shown = name if not head or name == head else f"{name}  {head}".strip()
    width = min(WIDEST, max(NARROWEST, svg.text_width(shown) + 24, svg.text_width(second, 10) + 20))
    height = 40.0 if second else 28.0
    dash = "4 3" if step.more else None
    body = [svg.tip(whole), svg.tag("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=6.0,
                                    fill="var(--card)", stroke="var(--line)", stroke_dasharray=dash)]  # fmt: skip
    body.append(_two_tone(width / 2, 18.0, name, head, width - 16))
    if second:
        body.append(svg.label(width / 2, 32, svg.clip(second, width - 14, 10), size=10, anchor="middle", cls="soft"))
    return _stacked(Picture(width, height, svg.tag("g", "".join(body))), step)


def _two_tone(x: float, y: float, name: str, op: str, room: float) -> str:
    """The step's name in bold and its op beside it, clipped to the room."""
    if not op or op == name or not name:
        return svg.label(x, y, svg.clip(name or op, room), anchor="middle", cls="strong")
    name = svg.clip(name, max(room * 0.6, room - svg.text_width(op) - 8))
    op = svg.clip(op, room - svg.text_width(name) - 4)
    spans = svg.tag("tspan", svg.esc(name), class_="strong") + svg.tag("tspan", svg.esc(op), dx=6.0, class_="soft")
    return svg.tag("text", spans, x=x, y=y, font_size=12.0, text_anchor="middle")


def _stacked(picture: Picture, step: Step) -> Picture:
    """The picture with a second sheet behind it and a count, where it stands for several equal steps."""
    if step.times == 1:
        return picture
    behind = svg.tag("rect", x=5.5, y=5.5, width=picture.width - 1, height=picture.height - 1, rx=7.0,
                     fill="var(--faint)", stroke="var(--line)")  # fmt: skip
    words = f"{TIMES}{step.times}"
    wide = svg.text_width(words, 11) + 12
    badge = svg.tag("rect", x=picture.width - wide + 5, y=-7.0, width=wide, height=17.0, rx=8.5, fill="var(--c2)")
    badge += svg.label(picture.width - wide / 2 + 5, 5.5, words, size=11, anchor="middle", cls="badge")
    body = _moved(Picture(0, 0, behind + picture.body + badge), 0, 7)
    return Picture(picture.width + 6, picture.height + 13, body)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return TIMES.join(map(_value, value)) if all(isinstance(v, int) for v in value) else f"({len(value)} values)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _merge_mark(path: str, op: str) -> Picture:
    ring = svg.tag("circle", cx=11.0, cy=11.0, r=10.0, fill="var(--card)", stroke="var(--soft)")
    sign = svg.label(11, 15.5, MERGES[op], size=14, anchor="middle", cls="strong")
    return Picture(22, 22, svg.tag("g", svg.tip(f"{path}: {op}") + ring + sign))


def _pill(name: str, whole: str) -> Picture:
    shown = svg.clip(name, WIDEST - 28, 11)
    width = svg.text_width(shown, 11) + 28
    body = svg.tip(whole) + svg.tag("rect", x=0.5, y=0.5, width=width - 1, height=23.0, rx=11.5, fill="var(--faint)")
    return Picture(width, 24, svg.tag("g", body + svg.label(width / 2, 16, shown, size=11, anchor="middle")))


def _container(graph: Graph, step: Step, style: Style) -> Picture:
    pictures = {}
    for child in step.children:  # the step that makes a container's value may bear the container's own path
        own = child.path == step.path
        pictures[child.path + own * "\0"] = _leaf(graph, child, Style(), "") if own else _step(graph, child, style)
    keys = dict(zip(pictures, step.children, strict=True))
    owner = {i: key for key, child in keys.items() for i in child.nodes}
    entering = [(ENTRY, owner[i]) for i in owner for s in graph.nodes[i].sources if s not in owner]
    inside = [(owner[s], owner[i]) for i in owner for s in graph.nodes[i].sources if s in owner]
    sizes = {key: (p.width, p.height) for key, p in pictures.items()}
    edges = [*dict.fromkeys(entering), *(e for e in dict.fromkeys(inside) if e[0] != e[1])]
    last = _leaving(edges, list(sizes))
    sizes[ENTRY], sizes[EXIT] = (8.0, 2.0), (8.0, 2.0)
    layout = layered(sizes, [*edges, *((key, EXIT) for key in last)], Gaps(beside=16, between=17))
    flow = _flow(layout, {**pictures, ENTRY: Picture(8, 2, ""), EXIT: Picture(8, 2, "")})
    return _framed(step, flow, style)


def _leaving(edges: Sequence[tuple[str, str]], keys: Sequence[str]) -> list[str]:
    """The boxes that nothing in the container reads: its value."""
    read = {a for a, _ in edges}
    return [key for key in keys if key not in read] or list(keys[-1:])


def _framed(step: Step, inner: Picture, style: Style) -> Picture:
    """A container's frame around what is drawn in it; a slot's says the chosen variant."""
    slot = step.path in style.slots
    chosen = style.slots.get(step.path, "")
    note = style.notes.get(step.path, "")
    chip = svg.clip(chosen, 120, 11)
    chip_width = svg.text_width(chip, 12.5) + 14 if chip else 0.0  # it is set in bold
    title = svg.clip(f"{step.label}  {note}".strip(), 150, 12)
    width = max(inner.width + 2 * PAD, svg.text_width(title) + chip_width + 3 * PAD)
    height = inner.height + HEAD + 5
    look: dict[str, object] = {"fill": "var(--ink)", "fill_opacity": 0.025, "stroke": "var(--line)"}
    if slot:
        look = {"fill": "var(--slot)", "stroke": "var(--c0)", "stroke_width": 1.5}
    words = f"{'slot ' if slot else ''}{step.path}{f' = {chosen}' if chosen else ''}: {len(step.nodes)} steps"
    rect = svg.tag("rect", svg.tip(words), x=0.5, y=0.5, width=width - 1, height=height - 1, rx=9.0, **look)
    rect += svg.label(PAD, 17, title, cls="strong")
    if chip:
        left = width - chip_width - 7
        rect += svg.tag("rect", x=left, y=5.0, width=chip_width, height=18.0, rx=9.0, fill="var(--c0)")
        rect += svg.label(left + chip_width / 2, 18, chip, size=11, anchor="middle", cls="badge")
    body = svg.tag("g", rect) + _moved(inner, (width - inner.width) / 2, HEAD + 4)
    return _stacked(Picture(width, height, body), step)


def _moved(picture: Picture, x: float, y: float) -> str:
    return svg.tag("g", picture.body, transform=f"translate({svg.num(x)} {svg.num(y)})") if picture.body else ""


def _edge(points: Sequence[Point], *, head: bool = True) -> str:
    """A curve through the points: straight where they lie above each other, an S where they do not."""
    x, y = points[0]
    path = f"M{svg.num(x)} {svg.num(y)}"
    for to_x, to_y in points[1:]:
        if abs(to_x - x) < 0.6:
            path += f"V{svg.num(to_y)}"
        else:
            mid = svg.num((y + to_y) / 2)
            path += f"C{svg.num(x)} {mid} {svg.num(to_x)} {mid} {svg.num(to_x)} {svg.num(to_y)}"
        x, y = to_x, to_y
    return _arrow(path, x, y, head=head)


def _elbow(points: Sequence[Point]) -> str:
    """Straight pieces from point to point; the last one runs downwards."""
    return _arrow("M" + "L".join(f"{svg.num(x)} {svg.num(y)}" for x, y in points), *points[-1])


def _arrow(path: str, x: float, y: float, *, head: bool = True) -> str:
    left, right, above, low = svg.num(x - 3.2), svg.num(x + 3.2), svg.num(y - 5.5), svg.num(y - 0.5)
    tip = f"M{left} {above}L{svg.num(x)} {low}L{right} {above}"
    return svg.tag(
        "path", d=path + tip * head, fill="none", stroke="var(--soft)", stroke_width=1.2, stroke_linejoin="round"
    )
