"""Where a module comes from on the command line: a function in a Python file, or a model of transformers.

A Python file is run because the user names it. Of a model of transformers no code but the library's own is run.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assembler.errors import InputError, near
from assembler.graph.structure import pack
from assembler.infer.shape import dtype_of
from assembler.registry.entry import digest

HUB = "hf:"
BATCH = 2


def module_of(source: str) -> tuple[nn.Module, Any]:
    """The module that `FILE.py:FUNCTION` returns or `hf:FOLDER_OR_NAME` is, and example inputs where it brings some.

    A function returns a module, or a module and its example inputs. Raises InputError for what is not there or is no
    module.
    """
    if source.startswith(HUB):
        return _transformers(source.removeprefix(HUB))
    file, _, name = source.rpartition(":")
    if not file.endswith(".py") or not name:
        hint = "for instance models.py:make, or hf:org/name"
        raise InputError(f"'{source}' is no FILE.py:FUNCTION and no hf:MODEL", hint=hint)
    made = _called(Path(file), name)
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise InputError(f"{source} gives a {type(module).__name__}, not a torch.nn.Module")
    return module, example


def _called(file: Path, name: str) -> Any:
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    place = file.resolve()
    spec = importlib.util.spec_from_file_location(f"imported_{file.stem}_{digest(str(place))}", place)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # where Python looks for the source of a class
    if str(place.parent) not in sys.path:
        sys.path.insert(0, str(place.parent))  # as `python FILE.py` has it, also for what is imported late
    try:
        spec.loader.exec_module(loaded)
        function = getattr(loaded, name, None)
        if callable(function):
            return function()
    except Exception as error:  # it is the user's file, whatever it raises
        raise InputError(f"{file} failed: {type(error).__name__}: {error}") from error
    known = [n for n, v in vars(loaded).items() if callable(v) and not n.startswith("_")]
    raise InputError(f"{file} has no function '{name}'", hint=near(name, known) or f"it has {', '.join(known[:8])}")


def _transformers(name: str) -> tuple[nn.Module, Any]:
    try:
        import transformers
    except ImportError:
        raise InputError("hf: needs transformers", hint="pip install 'assembler[hf]'") from None
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"there is no model '{name}': {str(error).splitlines()[0]}") from error
    config.use_cache = False
    kind: Any = getattr(
        transformers, (getattr(config, "architectures", None) or ["AutoModel"])[0], transformers.AutoModel
    )
    place = Path(name)
    if place.is_dir() and not [*place.glob("*.safetensors"), *place.glob("*.bin")]:
        module: Any = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    else:
        module = kind.from_pretrained(name, config=config)
    return module, _example(module)


def _example(module: Any) -> dict[str, torch.Tensor] | None:
    """Inputs of a usual size for a model of transformers, None where they cannot be told."""
    config, name = module.config, getattr(module, "main_input_name", "")
    if name == "pixel_values" and isinstance(getattr(config, "image_size", None), int):
        size = config.image_size
        return {name: torch.randn(BATCH, getattr(config, "num_channels", 3), size, size)}
    if name != "input_ids":
        return None
    ids = torch.randint(0, min(config.vocab_size, 1000), (BATCH, 8))
    return {name: ids, "decoder_input_ids": ids} if config.is_encoder_decoder else {name: ids}


def example_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Random inputs by name for shapes as recipes write them: `[B, 3, 32, 32]`, `{shape: [B, 8], dtype: int64}`.

    Names with dots are nested, as a graph's are. Whole numbers lie below `below`, by default 2. Raises InputError for
    what is no shape.
    """
    made = {}
    for name, said in inputs.items():
        spec = said if isinstance(said, Mapping) else {"shape": said}
        shape = spec.get("shape")
        if not isinstance(shape, list | tuple) or not shape or not all(n == "B" or isinstance(n, int) for n in shape):
            raise InputError(f"input '{name}' needs a shape", hint="for instance image=[B, 3, 32, 32]")
        if unknown := [k for k in spec if k not in ("shape", "dtype", "below")]:
            raise InputError(f"input '{name}' takes no '{unknown[0]}'", hint="it takes shape, dtype, below")
        sizes, dtype = [BATCH if n == "B" else n for n in shape], dtype_of(str(spec.get("dtype", "float32")))
        whole = not dtype.is_floating_point
        made[name] = (torch.randint(0, int(spec.get("below", 2)), sizes) if whole else torch.randn(sizes)).to(dtype)
    return pack(made.items())
