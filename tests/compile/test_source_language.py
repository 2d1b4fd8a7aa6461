"""model.py of all that the language can say: the same bits as the module in both modes, and it reads as written."""

from __future__ import annotations

import ast
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from assembler.compile.exported import examples
from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.graph.core import Graph
from assembler.graph.modes import in_mode
from assembler.recipe.document import parse
from assembler.wiring.build import build


def graph_of(text: str) -> Graph:
    return build(parse(f"kind: model\nname: t\n{text}").model, name="t")


def drawn(graph: Graph) -> Compiled:
    module = lower(graph)
    for n, p in enumerate(module.parameters()):
        nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(n))
    return module


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Any]:
    """Runs a model.py with the weights of a module; the module that it makes."""
    name = "exported_model_under_test"

    def load(text: str, module: nn.Module) -> nn.Module:
        save_weights(module, tmp_path / "model.safetensors")
        made = types.ModuleType(name)
        made.__file__ = str(tmp_path / "model.py")
        sys.modules[name] = made
        exec(compile(text, made.__file__, "exec"), made.__dict__)
        return made.load()  # type: ignore[no-any-return]

    yield load
    sys.modules.pop(name, None)


def check(text: str, load: Any) -> str:
    """Compare the file of a recipe with its module; the text of the file, but for what loads weights."""
    graph = graph_of(text)
    module = drawn(graph)
    source = to_source(graph)
    ast.parse(source)
    alone = load(source, module)
    assert sorted(alone.state_dict()) == sorted(module.state_dict())
    ours, theirs = ({n: p.requires_grad for n, p in m.named_parameters()} for m in (module, alone))
    assert ours == theirs
    for mode in ("eval", "train"):
        inputs = examples(in_mode(graph, mode), 3, seed=7)  # type: ignore[arg-type]
        made = []
        for one in (module, alone):
            torch.manual_seed(1)
            made.append(pytree.tree_flatten(one.train(mode == "train")(**inputs)))
        assert made[0][1] == made[1][1]
        assert all(torch.equal(a, b) for a, b in zip(made[0][0], made[1][0], strict=True)), mode
    return source[: source.index("DTYPES")]


def test_copies_are_one_class_with_arguments_where_they_differ(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 6, 8]}
graph:
  block:
    repeat: 3
    body:
      mix: {op: residual, body: {norm: layer_norm, mlp: {op: mlp, ratio: =2 + j}}}
      drop: {op: dropout, p: =0.1 * j}
  head: {op: linear, out: 3}
""",
        loaded,
    )
    assert re.findall(r"^class (\w+)", text, re.MULTILINE) == ["Mlp", "Steps", "Block", "Model"]
    assert "    def __init__(self, ratio: float, drop_p: float) -> None:\n" in text
    assert 'self.mix = Steps({\n            "norm": nn.LayerNorm(normalized_shape=8),\n' in text
    assert "            Block(ratio=ratio, drop_p=drop_p)\n" in text
    assert "            for ratio, drop_p in [(2.0, 0.0), (3.0, 0.1), (4.0, 0.2)]\n" in text
    assert "        for block in self.block:\n            x = block(x)  # [B, 6, 8]\n" in text


def test_widths_that_grow_together_are_one_argument(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 4, 16, 16]}
graph:
  down:
    for: {w: [8, 16, 32]}
    body:
      conv: {op: conv2d, out: =w, kernel_size: 3, stride: 2, padding: 1}
      norm: {op: batch_norm2d}
      act: relu
""",
        loaded,
    )
    assert "self.conv = nn.Conv2d(in_channels=in_channels, out_channels=2 * in_channels," in text
    assert "self.norm = nn.BatchNorm2d(num_features=2 * in_channels)" in text
    assert "    def forward(self, x: Tensor) -> Tensor:\n        # x: [B, in_channels, H, H]\n" in text
    assert "self.down = nn.ModuleList(Down(in_channels=in_channels) for in_channels in [4, 8, 16])" in text


def test_copies_of_one_module_alone_are_called_in_a_loop(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 8]}
graph:
  fc: {op: linear, repeat: 3, out: 8}
  each: {repeat: 2, body: {fc: {op: linear, out: 8}}}
""",
        loaded,
    )
    assert "self.fc = nn.ModuleList(nn.Linear(in_features=8, out_features=8) for _ in range(3))" in text
    assert "        for fc in self.fc:\n            x = fc(x)  # [B, 8]\n" in text
    assert "        for each in self.each:\n            x = each.fc(x)  # [B, 8]\n" in text


def test_values_that_all_copies_read_or_later_steps_do(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 8], m: [B, 8]}
graph:
  bias: {op: linear, out: 8, from: m}
  block:
    repeat: 4
    from: x
    body: {fc: {op: linear, out: 8}, act: tanh, sum: {op: add, from: [act, bias]}}
  early: {op: mul, from: [block.1, block]}
""",
        loaded,
    )
    assert "        for block in self.block[:2]:\n            x = block(x, bias)  # [B, 8]\n" in text
    assert "        y = x\n        for block in self.block[2:]:\n            y = block(y, bias)  # [B, 8]\n" in text
    assert "        early = x * y  # [B, 8]\n" in text


def test_shared_copies_are_one_module(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 8]}
graph:
  block: {repeat: 4, share: true, body: {norm: layer_norm, fc: {op: linear, out: 8}, drop: {op: dropout, p: 0.5}}}
  a: {op: linear, out: 8}
  b: {op: linear, out: 8, share: a}
  c: {op: linear, out: 8, share: {weight: a.weight}}
""",
        loaded,
    )
    assert "        for _ in range(4):\n            x = self.block[0](x)  # [B, 8]\n" in text
    assert "        b = self.a(a)  # [B, 8]\n" in text
    assert "        self.c.weight = self.a.weight\n" in text


def test_shared_copies_have_numbers_of_their_own(loaded: Any) -> None:
    check(
        """
inputs: {x: [B, 6]}
graph:
  block:
    repeat: 3
    share: true
    body:
      at: {op: literal, values: "=[1, j / 3]", shape: [2]}
      sum: {op: blend, from: {x: input, by: at}, body: {fc: {op: linear, out: 6, from: x}, act: relu}}
""",
        loaded,
    )


def test_frozen_steps_stay_in_evaluation(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 8]}
graph:
  block: {repeat: 2, frozen: true, body: {fc: {op: linear, out: 8}, drop: {op: dropout, p: 0.5}}}
  off: {op: dropout, p: 0.5, frozen: true}
  on: {op: dropout, p: 0.5}
""",
        loaded,
    )
    assert (
        '        for path in ("block", "off"):\n            self.get_submodule(path).requires_grad_(False).eval()'
        in text
    )
    assert (
        '        for path in ("block", "off"):\n            self.get_submodule(path).eval()\n        return self'
        in text
    )


def test_modes_are_ifs(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 8], label: {shape: [B], dtype: int64, when: train}}
graph:
  a: {op: linear, out: 8, from: x}
  noisy: {op: dropout, p: 0.5}
  x2: {op: switch, from: {train: noisy, eval: a}}
  head: {op: linear, out: 5}
  aux: {op: linear, out: 5, from: a}
  loss: {op: cross_entropy, from: {value: aux, target: label}}
outputs: {logits: head, loss: {from: loss, when: train}}
""",
        loaded,
    )
    assert "    def forward(self, x: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:\n" in text
    assert "        if self.training:\n            noisy = self.noisy(a)  # [B, 8]\n" in text
    assert "        x2 = noisy if self.training else a  # [B, 8]\n" in text
    assert '            return {"logits": head, "loss": loss}\n        return {"logits": head}\n' in text
    assert text.count("if self.training:") == 2


def test_a_loop_is_a_for(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 5, 8], state: {h: [B, 8], c: [B, 8]}}
graph:
  outer:
    op: loop
    scan: [x]
    carry: [h, c]
    collect: [y]
    index: n
    from: {x: x, h: state.h, c: state.c}
    body:
      inner:
        op: loop
        times: 3
        carry: [z]
        from: {z: h}
        body: {block: {repeat: 2, from: z, body: {fc: {op: linear, out: 8}, act: relu}}}
        outputs: {z: block}
      mixed: {op: add, from: [inner, x, c]}
      late: {op: mul, from: [mixed, n]}
    outputs: {h: mixed, c: h, y: late}
outputs: {y: outer.y, state: {h: outer.h, c: outer.c}}
""",
        loaded,
    )
    assert "    def forward(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Any]:\n" in text
    assert '        h, c = state["h"], state["c"]\n        ys = []\n' in text
    assert "        for n in range(x.shape[1]):\n            x_n = x[:, n]  # [B, 8]\n" in text
    assert "            z = h\n            for _ in range(3):\n" in text
    assert "                for block in self.outer.inner.block:\n" in text
    assert "            ys.append(late)\n            h, c = mixed, h\n        outer_y = torch.stack(ys, 1)\n" in text
    assert '        return {"y": outer_y, "state": {"h": h, "c": c}}\n' in text


def test_a_loop_in_copies_may_go_on_longer_in_each(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 5, 8]}
graph:
  block:
    repeat: 2
    body:
      refine:
        op: loop
        times: =2 + j
        carry: [h]
        from: {h: input}
        body:
          a: {op: linear, out: 8, from: h}
          noisy: {op: dropout, p: 0.5}
          s: {op: switch, from: {train: noisy, eval: a}}
        outputs: {h: s}
""",
        loaded,
    )
    assert "        for _ in range(self.times):\n" in text
    assert "self.block = nn.ModuleList(Block(times=times) for times in [2, 3])" in text


def test_a_frozen_loop_has_no_training(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 5, 8]}
graph:
  refine:
    op: loop
    times: 2
    frozen: true
    carry: [h]
    from: {h: x}
    body:
      a: {op: linear, out: 8, from: h}
      b: {op: linear, out: 8, from: h}
      s: {op: switch, from: {train: a, eval: b}}
    outputs: {h: s}
""",
        loaded,
    )
    assert "self.training" not in text


def test_several_outputs_are_taken_apart(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 6, 8], mask: [B, 6, 8]}
blocks:
  enc:
    inputs: [x, mask]
    body:
      a: {op: mul, from: [x, mask]}
      rnn: {op: lstm, out: 8, batch_first: true}
      n: layer_norm
    outputs: {y: n, aux: rnn.cell}
graph:
  e0: {op: enc, from: [x, mask]}
  e1: {op: enc, from: [e0, mask]}
  best: {op: topk, k: 2}
outputs: {hidden: [e0, e1], pair: {a: best, b: best.indices}, aux: [e0.aux, e1.aux]}
""",
        loaded,
    )
    assert "        rnn, (_, rnn_cell) = self.rnn(a)  # [B, 6, 8]\n" in text
    assert "        e0_rnn_cell, e0_n = self.e0(x, mask)\n" in text
    assert "best, best_indices = " in text


def test_experts_get_their_body_as_a_class(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 5, 8]}
graph:
  block:
    repeat: 2
    body:
      norm: layer_norm
      router: {op: linear, out: 3}
      experts:
        op: experts
        count: 3
        k: 2
        from: {x: norm, logits: router}
        body:
          up: {op: linear, out: =8 * (j + 1), from: x}
          drop: {op: dropout, p: 0.2}
          down: {op: linear, out: 8}
""",
        loaded,
    )
    assert "lambda: ExpertsBody(out_features=width)" in text or "lambda: ExpertsBody(width=width)" in text
    assert "        experts, _ = self.experts(x=norm, logits=router)  # [B, 5, 8]\n" in text


def test_experts_with_keys_and_a_bias_stand_alone(loaded: Any) -> None:
    body = "{up: {op: linear, out: 8, from: x}, act: relu, down: {op: linear, out: 6, bias: false}}"
    step = f"{{op: experts, count: 3, k: 2, keys: up, weighted: false, bias: true, from: {{x: x}}, body: {body}}}"
    check(f"inputs: {{x: [B, 5, 8]}}\ngraph:\n  ffn: {step}\n", loaded)


def test_a_long_forward_is_split_by_its_containers(loaded: Any) -> None:
    steps = "".join(f"fc{n}: {{op: linear, out: {8 + n}}}, act{n}: relu, " for n in range(15))
    text = check(
        f"inputs: {{x: [B, 8]}}\ngraph:\n  a: {{body: {{{steps[:-2]}}}}}\n  b: {{op: linear, out: 2}}\n", loaded
    )
    assert "        a = self.a(x)  # [B, 22]\n" in text
    assert "        fc3 = self.fc3(act2)  # [B, 11]\n" in text


def test_no_line_is_long(loaded: Any) -> None:
    text = check(
        """
inputs: {image: [B, 3, 16, 16]}
graph:
  a_rather_long_name_for_a_container:
    body:
      windows: {op: rearrange, pattern: b c (i p) (j q) -> b (i j) (p q c), sizes: {p: 4, q: 4}}
      q: {op: linear, out: 48, from: windows}
      k: {op: linear, out: 48, from: windows}
      v: {op: linear, out: 48, from: windows}
      mixed_with_dot_products: {op: dot_product_attention, from: {q: q, k: k, v: v}, num_heads: 4}
""",
        loaded,
    )
    own = text[text.index("class Steps") :]  # what stands before is the ops' own source
    assert max(map(len, own.splitlines())) <= 120
    assert "        mixed_with_dot_products = self.a_rather_long_name_for_a_container.mixed_with_dot" in text


def test_a_frozen_class_of_one_mode_does_not_ask_for_it_again(loaded: Any) -> None:
    text = check(
        """
inputs: {x: [B, 4], y: {shape: [B], dtype: int64, when: train}}
graph:
  head: {op: linear, out: 3, from: x}
  side: {repeat: 2, frozen: true, from: x, body: {fc: {op: linear, out: 3}, act: tanh}}
  loss: {op: cross_entropy, from: {value: side, target: y}}
outputs: {logits: head, loss: {from: loss, when: train}}
""",
        loaded,
    )
    assert text.count("if self.training:") == 1


def test_a_switch_of_one_mode_reads_what_that_mode_computes(loaded: Any) -> None:
    check(
        """
inputs: {x: [B, 4], y: {shape: [B], dtype: int64, when: train}}
graph:
  head: {op: linear, out: 3, from: x}
  a: {op: linear, out: 3, from: x}
  b: {op: layer_norm, from: a}
  either: {op: switch, from: {train: a, eval: b}}
  loss: {op: cross_entropy, from: {value: either, target: y}}
outputs: {logits: head, loss: {from: loss, when: train}}
""",
        loaded,
    )
