"""Rewrites that keep the function keep it, on drawn nets with drawn weights, at drawn sites, in double precision."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rewrite_models import applied, conv_nets, error, mlps, module_of, parameters

from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.infer.cost import total
from assembler.infer.shape import shapes
from assembler.rewrites.core import NoSiteError
from assembler.rewrites.drive import sites
from assembler.rewrites.spec import order

NETS = st.one_of(conv_nets(), mlps())
EXACT: list[str | dict[str, object]] = [
    "fold_batch_norm",
    "fuse_branches",
    "drop_identities",
    {"rewrite": "drop_identities", "mode": "eval"},
    "merge_common",
    "widen",
    {"rewrite": "widen", "factor": 1.4},
    "deepen",
    {"rewrite": "deepen", "kernel_size": 1},
    "wrap_residual",
]
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _name(written: str | Mapping[str, object]) -> str:
    return written if isinstance(written, str) else "-".join(map(str, written.values()))


@pytest.mark.parametrize("written", EXACT, ids=_name)
@few
@given(graph=NETS, data=st.data())
def test_the_function_stays(written: str | dict[str, object], graph: Graph, data: st.DataObject) -> None:
    wanted = order(written).rewrite
    assert wanted.keeps_function
    places = wanted.sites(graph, shapes(graph))
    at = data.draw(st.sampled_from(["*", *places]))
    module = module_of(graph)
    if not places and not wanted.settles:
        with pytest.raises(NoSiteError, match="there is no site for"):
            applied(module, written, at)
        return
    before = {k: v.clone() for k, v in module.state_dict().items()}
    new, made = applied(module, written, at)
    assert error(module, made, graph) < 1e-5
    verify(new)
    assert from_text(to_text(new)) == new
    assert parameters(made) == total(new).params
    assert all(v.equal(before[k]) for k, v in module.state_dict().items()), "the given weights were changed"
    if not places:
        assert new == graph


@few
@given(graph=conv_nets())
def test_no_foldable_norm_is_left(graph: Graph) -> None:
    module = module_of(graph)
    new, made = applied(module, "fold_batch_norm")
    assert not order("fold_batch_norm").rewrite.sites(new, shapes(new))
    assert parameters(made) <= parameters(module) + sum(
        int(node.arg("out")) for _, node in new if node.op in ("conv2d", "linear")
    )


@few
@given(graph=st.one_of(conv_nets(), mlps()), data=st.data())
def test_full_rank_is_the_layer_itself(graph: Graph, data: st.DataObject) -> None:
    module = module_of(graph)
    at = data.draw(st.sampled_from(order({"rewrite": "low_rank", "rank": 1}).rewrite.sites(graph, shapes(graph))))
    full = min(module.get_parameter(f"{at}.weight").flatten(1).shape)
    gaps = [error(module, applied(module, {"rewrite": "low_rank", "rank": r}, at)[1], graph) for r in (1, full)]
    assert gaps[1] < 1e-5
    assert error(module, applied(module, {"rewrite": "low_rank", "energy": 1.0}, at)[1], graph) < 1e-5


@few
@given(graph=NETS)
def test_several_after_each_other(graph: Graph) -> None:
    module = made = module_of(graph)
    for written in ("fold_batch_norm", "deepen", "widen", "fuse_branches", "wrap_residual", "drop_identities"):
        now = made.meta["graph"]  # type: ignore[index]
        if sites(order(written).rewrite, now):
            made = applied(made, written)[1]
    assert error(module, made, graph) < 1e-5
