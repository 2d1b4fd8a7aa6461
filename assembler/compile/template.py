"""The fixed parts of a stand-alone `model.py`."""

from __future__ import annotations

HEADER = '''"""{name}: {params} parameters. Written by assembler; it needs {needs} alone.

    {inputs} -> {made}

    from model import load
    model = load("model.safetensors")  # in eval mode

Sub-modules, and so the keys of the `state_dict`, bear the names of the recipe's steps.
"""
'''

STEPS = '''class Steps(nn.Module):
    """Named steps: `steps.name`, or `steps[0]` for copies."""

    def __init__(self, steps: dict[str, nn.Module | Tensor]) -> None:
        super().__init__()
        for name, step in steps.items():
            setattr(self, name, step)

    def __getitem__(self, name: int | str) -> nn.Module:
        return self.get_submodule(str(name))

    @staticmethod
    def of(join: nn.Module, arms: dict[str, nn.Module]) -> nn.Module:
        """The step that joins some arms, with the arms as its sub-modules."""
        for name, step in arms.items():
            join.add_module(name, step)
        return join
'''

LOADER = '''DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
DTYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
DTYPES |= {"BOOL": torch.bool, "C64": torch.complex64}


def load(file: str | Path = Path(__file__).with_name("model.safetensors")) -> Model:
    """The model with the weights of a safetensors file: a JSON header of 8-byte length, then the tensors' bytes."""
    data = bytearray(Path(file).read_bytes())
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    names = header.pop("__metadata__", {})
    state = {}
    for name, entry in header.items():
        start, stop = (8 + size + offset for offset in entry["data_offsets"])
        flat = torch.frombuffer(bytearray(data[start:stop]), dtype=DTYPES[entry["dtype"]])
        state[name] = flat.reshape(entry["shape"])
    state |= {name: state[same] for name, same in names.items() if same in state}  # one tensor of several names
    model = Model()
    model.load_state_dict(state)
    return model.eval()


if __name__ == "__main__":
    print(load(*sys.argv[1:]))
'''

BODY = '''class TensorType(NamedTuple):
    """Shape and dtype of a value."""

    shape: tuple[int, ...]
    dtype: str = "float32"


class Body:
    """The sub-graph of an op: the types of what it reads, the names of what it makes, and what makes its module."""

    def __init__(self, types: dict[str, TensorType], outputs: tuple[str, ...], make: Callable[[], nn.Module]) -> None:
        self.types = types
        self.outputs = outputs
        self.make = make

    def made(self, types: dict[str, TensorType]) -> dict[str, Tensor]:
        with torch.device("meta"):
            return self.make()(**{n: torch.empty(t.shape, dtype=getattr(torch, t.dtype)) for n, t in types.items()})

    def build(self, types: dict[str, TensorType], name: str = "") -> nn.Module:
        return self.make()
'''
