"""What drawing recipes has found: models that were compiled to something else, and mistakes that nobody named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from built import graph_of
from test_compiled import check
from test_forms import same_costs, same_source, same_under_other_names

from assembler.compile.lower import lower
from assembler.errors import AssemblerError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.verify import verify
from assembler.infer.shape import shapes

SOUND = {
    "copies that share may hold a loop with a matrix that is another's, transposed": """
        inputs: {x: [B, 3]}
        graph:
          c:
            repeat: 2
            share: true
            body:
              l:
                op: loop
                times: 2
                carry: [h]
                from: {h: input}
                body:
                  a: {op: linear, out: 5, bias: false, from: h}
                  b: {op: linear, out: 3, bias: false, share: {weight: a.weight.T}}
                outputs: {h: b}
    """,
    "a body holds both ways of its switch, though training alone runs it": """
        inputs: {x: [B, 3], y: {shape: [B], dtype: int64, when: train}}
        graph:
          flat: {op: relu, from: x}
          rounds:
            op: loop
            times: 1
            carry: [h]
            from: {h: x}
            body:
              a: {op: batch_norm1d, from: h}
              b: {op: linear, out_features: 3, bias: false, from: h}
              way: {op: switch, from: {train: a, eval: b}}
            outputs: {h: way}
          loss: {op: cross_entropy, from: {value: rounds, target: y}}
        outputs: {out: flat, loss: {from: loss, when: train}}
    """,
    "a frozen switch goes the way of evaluation": """
        inputs: {x: [B, 3]}
        graph:
          f: {frozen: true, body: {a: relu, b: tanh, s: {op: switch, from: {train: a, eval: b}}}}
    """,
    "a frozen step that only training has stays frozen beside one that only evaluation has": """
        inputs: {x: [B, 2, 3, 1]}
        graph:
          s:
            body:
              norm: {op: batch_norm2d, from: input, frozen: true}
              other: {op: batch_norm2d, from: input}
              way: {op: switch, from: {train: norm, eval: other}}
    """,
    "a loop that ends keeps the statistics of the rounds that there were": """
        inputs: {x: [B, 1, 3, 3]}
        graph:
          rounds:
            op: loop
            times: 3
            carry: [h]
            until: over
            from: {h: x}
            body:
              norm: {op: batch_norm2d, from: h}
              flat: flatten
              mean: {op: mean, dim: 1}
              over: {op: aten.lt.Scalar, other: 100.0}
            outputs: {h: norm, over: over}
    """,
    "copies that share may hold loops that read the copy's own steps": """
        inputs: {x: [B, 3]}
        graph:
          c:
            repeat: 2
            share: true
            body:
              a: relu
              b:
                op: loop
                times: 2
                carry: [h]
                from: {h: input}
                body: {m: {op: mul, from: [a, h]}, w: {op: linear, out: 3}}
                outputs: {h: w}
    """,
    "a step of evaluation that lends its weights does not run in training": """
        inputs: {x: [B, 3, 2, 2]}
        graph:
          r: relu
          a: {op: batch_norm2d, from: r}
          c: {op: batch_norm2d, share: a, from: x}
          s: {op: switch, from: {train: c, eval: a}}
    """,
    "a list of inputs of which one is there in training alone": """
        inputs: {xs: [{shape: [B, 3], when: train}, {shape: [B, 3]}]}
        graph:
          a: {op: relu, from: xs.1}
          b: {op: add, from: [xs.0, a]}
          s: {op: switch, from: {train: b, eval: a}}
    """,
    "a switch between values of different shapes": """
        inputs: {x: [B, 4, 3]}
        graph:
          a: {op: reshape, shape: [2, 2, 3]}
          s: {op: switch, from: {train: a, eval: x}}
          l: global_avg_pool
          m: {op: mean, dim: -1}
    """,
    "a frozen container that shares all its weights": """
        inputs: {x: [B, 3]}
        graph:
          a: {frozen: true, body: {a: {op: linear, out: 3}, b: relu}}
          b: {frozen: true, body: {a: {op: linear, out: 3}, b: relu}, share: a}
    """,
    "copies of a step whose only weight is another's, transposed": """
        inputs: {x: [B, 5]}
        graph:
          c:
            repeat: 2
            share: true
            body:
              a: {op: linear, out: 3, bias: false}
              b: {op: linear, out: 5, bias: false, share: {weight: a.weight.T}}
    """,
    "a parameter tied to that of a frozen step": """
        inputs: {x: {shape: [B, 2], dtype: int64}}
        graph:
          embed: {op: embedding, num_embeddings: 7, out: 3, frozen: true}
          act: abs
          head: {op: linear, out: 7, bias: false, share: {weight: embed.weight}}
    """,
}


@pytest.mark.parametrize("name", SOUND)
def test_a_model_that_was_compiled_to_something_else(name: str) -> None:
    text = SOUND[name]
    check(text)
    same_costs(text)
    if "different shapes" not in name:
        same_source(text)


def test_a_frozen_step_that_nothing_calls_is_no_part_of_a_mode() -> None:
    graph = graph_of("""
        inputs: {x: [B, 3], y: [B, 3]}
        graph:
          mean: {op: softmax, dim: -1, frozen: true, from: x}
          one: {op: linear, out: 3, from: mean}
          other: {op: linear, out: 3, share: one, from: y}
        outputs: {out: other, aux: one}
    """)
    module = lower(replace(graph, only=(("x", "train"),), outputs=graph.outputs[:1]))
    ones = torch.ones(2, 3)
    assert module.train()(x=ones, y=ones).shape == module.eval()(x=ones, y=ones).shape == (2, 3)


def test_the_name_of_a_step_that_a_body_reads_is_no_part_of_a_model() -> None:
    text = """
        inputs: {x: [B, 3]}
        graph:
          s1: relu
          s2: {op: loop, times: 1, carry: [h], from: {h: x}, body: {s3: {op: mul, from: [s1, h]}}, outputs: {h: s3}}
    """
    same_under_other_names(text, 5)
    assert graph_of(text.replace("[s1, h]", "[h, h]").replace("s1: relu", "")).fingerprint != graph_of(text).fingerprint


def loop(more: str, entering: str = "x: x, h: h") -> str:
    head = "inputs: {x: [B, 4, 3], z: [B, 5, 3], h: [B, 3]}\ngraph:\n"
    body = "body: {w: {op: linear, out: 3, from: h}}, outputs: {h: w}"
    return f"{head}  b: {{op: loop, carry: [h], from: {{{entering}}}, {body}, {more}}}\n"


REFUSED = {
    "times of none": (loop("times: 0"), "b (loop) does not accept", "'times' must be at least 1, not 0"),
    "times below none": (loop("times: -1"), "b (loop) does not accept", "'times' must be at least 1, not -1"),
    "times beyond the end": (loop("times: 5, scan: [x]"), "b (loop)", "'times' is 5, and 'x' has 4 elements"),
    "lengths that differ": (loop("scan: [x, z]", "x: x, z: z, h: h"), "b (loop)", "'x' has 4 and 'z' has 5 elements"),
    "one name for two outputs": (loop("times: 2, collect: [h]"), "b (loop)", "two outputs called 'h'"),
    "weights from outside of a body": (
        "inputs: {h: [B, 3]}\ngraph:\n  a: {op: linear, out: 3}\n  r: {op: linear, out: 2}\n"
        "  b: {op: experts, count: 2, from: {x: a, logits: r}, body: {w: {op: linear, out: 3, share: a, from: x}}}\n",
        "drawn.yaml:5:",
        "'b.w' cannot use the weights of 'a', which is outside of the body of 'b'",
    ),
    "frozen weights of a step that is trained": (
        "inputs: {x: [B, 3]}\ngraph:\n  a: {op: linear, out: 3}\n  b: {op: linear, out: 3, share: a, frozen: true}\n",
        "drawn.yaml:4:37",
        "'b' is frozen, and 'a', whose weights it uses, is not",
    ),
    "weights for two widths": (
        "inputs: {x: [B, 3]}\ngraph:\n  a: {op: linear, out: 4}\n  s: {op: switch, from: {train: a, eval: x}}\n"
        "  l: {op: linear, out: 2}\n",
        "drawn.yaml:5:6",
        "l (linear) has weights for [2, 3] in evaluation, and [2, 4] reaches it in training",
    ),
    "a dot in an output's name": (
        "inputs: {x: [B, 3]}\ngraph: {a: relu, b: relu}\noutputs: {y: a, y.0: b}\n",
        "drawn.yaml:3:17",
        "'y.0' cannot name an output",
    ),
    "an op that is itself": (
        "inputs: {x: [B, 3]}\nvars: {m: {op: =n}, n: {op: =m}}\ngraph: {c: {op: =m}}\n",
        "drawn.yaml:2:11",
        "'op' is a step whose op is a step, without end",
    ),
    "a kernel of nothing": (
        "inputs: {x: [B, 3, 4, 4]}\ngraph: {a: {op: conv2d, out: 2, kernel_size: 0}}\n",
        "drawn.yaml:2:12",
        "its 'weight' would be empty, [2, 3, 0, 0]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_named(name: str) -> None:
    text, place, said = REFUSED[name]
    with pytest.raises(AssemblerError) as error:
        shapes(graph_of(text))
    assert place in str(error.value)
    assert said in str(error.value)
    assert "Error:" not in str(error.value)


KIND = TensorType((2, 3))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (
            Graph((("x", KIND), ("x.0", KIND)), {}, (("y", "x"),)),
            "x.0: error: 'x.0' is a part of 'x', which is one value",
        ),
        (
            Graph((("x", KIND),), {}, (("y", "x"), ("y.a", "x"))),
            "y.a: error: 'y.a' is a part of 'y', which is one value",
        ),
        (Graph((("x", TensorType((2, 3), "integer")),), {}, (("y", "x"),)), "x: error: there is no dtype 'integer'"),
        (
            Graph((("x", KIND),), {"a": Node("loop", (("collect", 3),), (("x", "x"),), body=None)}, (("y", "a"),)),
            "a: error: step 'a': 'collect' of op 'loop' must be a list, each a string, not 3",
        ),
    ],
)
def test_a_broken_graph_is_named(graph: Graph, said: str) -> None:
    with pytest.raises(AssemblerError) as error:
        verify(graph)
        shapes(graph)
    assert said in str(error.value)
