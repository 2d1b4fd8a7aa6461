"""Modules of people who do not use a library: containers, functional calls, loops, buffers, shared parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.edit import extract
from assembler.importing import from_module
from assembler.infer.shape import shapes


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.down(F.gelu(self.up(self.norm(x))))


class Handmade(nn.Module):
    positions: Tensor
    waves: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))
        self.head = nn.Linear(8, 5, bias=False)
        self.register_buffer("positions", torch.arange(5))
        self.register_buffer("waves", torch.linspace(0, 1, 8).sin(), persistent=False)

    def forward(self, image: Tensor) -> dict[str, object]:
        x = self.embed(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + torch.outer(self.positions.float(), self.waves)
        seen = []
        for block in self.blocks:
            for _ in range(2):
                x = block(x)
            seen.append(x)
        first, rest = x.split([1, x.shape[1] - 1], 1)
        scores, places = rest.max(1)
        return {"logits": self.head(first.squeeze(1)), "hidden": seen, "pair": {"scores": scores, "places": places}}


def agree(module: nn.Module, *example: Tensor) -> None:
    found = from_module(module, example)
    assert found.difference <= 1e-5
    for batch in (1, 5):
        inputs = [torch.cat([x, x, x])[:batch] for x in example]
        with torch.no_grad():
            torch.testing.assert_close(found.build().eval()(*inputs), module.eval()(*inputs))


class Correlation(nn.Module):
    """Autocorrelation by the Fourier transform, as Autoformer's attention does it."""

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.fft.rfft(x)
        return torch.fft.irfft(seen * torch.conj(seen), n=x.shape[1]) + torch.conj(seen).imag.sum(1, keepdim=True)


def test_conjugates_of_complex_numbers() -> None:
    agree(Correlation(), torch.randn(3, 8))


def test_a_sequential_cnn() -> None:
    cnn = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), padding=(1, 2), bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(8 * 16, 4),
    )
    agree(cnn, torch.randn(2, 3, 8, 8))
    found = from_module(cnn, torch.randn(1, 3, 8, 8))
    assert [node.op for _, node in found.graph] == [
        *("conv2d", "batch_norm2d", "relu", "max_pool2d", "dropout", "flatten", "linear")
    ]
    assert found.graph.nodes["0"].args == (("bias", False), ("kernel_size", (3, 5)), ("out", 8), ("padding", (1, 2)))
    assert found.weights.keys() == cnn.state_dict().keys()


def test_a_transformer_encoder_of_torch() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    agree(encoder, torch.randn(2, 5, 16))
    graph = from_module(encoder, torch.randn(2, 5, 16)).graph
    assert graph.names["layers.0"] == "layers.0.norm2"
    part = extract(graph, "layers.1", shapes(graph))
    assert lower(part)(torch.randn(3, 5, 16)).shape == (3, 5, 16)


def test_a_recurrent_layer_keeps_its_outputs() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            out, (hidden, cell) = self.rnn(x)
            return out[:, -1] + hidden[0] * cell[0]

    found = from_module(Reader(), torch.randn(2, 6, 4))
    assert (found.graph.nodes["rnn"].op, found.graph.nodes["rnn.cell"].op) == ("lstm", "item")
    agree(Reader(), torch.randn(2, 6, 4))


def test_functional_calls_loops_and_nested_outputs() -> None:
    module = Handmade().eval()
    found = from_module(module, torch.randn(3, 3, 8, 8))
    names = ["logits", "hidden.0", "hidden.1", "pair.scores", "pair.places"]
    assert [name for name, _ in found.graph.outputs] == names
    image = torch.randn(5, 3, 8, 8)
    ours, theirs = found.build().eval()(image), module(image)
    torch.testing.assert_close(ours["hidden"], theirs["hidden"])
    torch.testing.assert_close(ours["pair"]["places"], theirs["pair"]["places"])
    assert found.graph.nodes["blocks.0.up_1"].share == (("", "blocks.0.up"),)
    assert found.graph.nodes["token"].op == "stored"


def test_dropout_that_is_a_function_call_drops_in_training() -> None:
    class Dropping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5, self.training)

    module = from_module(Dropping(), torch.ones(2, 100)).build()
    assert torch.equal(module.eval()(torch.ones(2, 100)), torch.ones(2, 100))
    assert (module.train()(torch.ones(2, 100)) == 0).any()


def test_in_place_arithmetic_is_undone() -> None:
    class Writing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            y[:, 0] = 1.0
            return y.mul_(2).add_(x)

    agree(Writing(), torch.randn(2, 4))


def test_sizes_that_depend_on_the_batch() -> None:
    class Folding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows = torch.arange(x.shape[0], device=x.device)
            windows = x.reshape(x.shape[0] * 2, 3, -1) + torch.zeros(2 * x.shape[0], 1, 1)
            return windows.view(x.shape[0], 2, 3, -1).sum(1)[rows, 0]

    agree(Folding(), torch.randn(3, 24))


def test_the_modes_of_the_module_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    module[1].eval()
    from_module(module, torch.randn(2, 4))
    assert (module.training, module[0].training, module[1].training) == (True, True, False)
    assert "forward" not in module[0].__dict__


def test_frozen_weights_stay_frozen() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[0].requires_grad_(False)
    graph = from_module(module, torch.randn(2, 4)).graph
    assert (graph.nodes["0"].frozen, graph.nodes["1"].frozen) == (True, False)


def test_example_inputs_that_do_not_fit_are_named() -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Handmade(), {"picture": torch.randn(2, 3, 8, 8)})
    wanted = "error: the example inputs do not fit Handmade.forward: missing a required argument: 'image'"
    assert str(caught.value) == wanted
    with pytest.raises(GraphError, match="from_module needs example inputs to trace a module with"):
        from_module(Handmade())
