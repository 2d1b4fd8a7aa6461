from __future__ import annotations

import os
import pickle
import resource
import signal
from pathlib import Path

import pytest
import torch
from compile_graphs import chain
from safetensors import safe_open
from torch import nn

from assembler.compile.lower import lower
from assembler.compile.weights import load_weights, read_weights, save_weights
from assembler.errors import InputError


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/assembler_was_here",)


def problems(file: Path, module: nn.Module | None = None) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_weights(module or lower(chain(4)), file)
    return [p.message.replace(str(file), "FILE") for p in caught.value.problems]


def test_a_round_trip_gives_every_bit_back(tmp_path: Path) -> None:
    first, second = lower(chain(8)), lower(chain(8), seed=1)
    save_weights(first, tmp_path / "deep" / "model.safetensors", {"recipe": "abc"})
    load_weights(second, tmp_path / "deep" / "model.safetensors")
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())
    with safe_open(tmp_path / "deep" / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"recipe": "abc"}
    assert os.listdir(tmp_path / "deep") == ["model.safetensors"]


def test_a_module_on_meta_takes_the_tensors_as_they_are(tmp_path: Path) -> None:
    save_weights(lower(chain(4)), tmp_path / "m.safetensors")
    module = lower(chain(4), device="meta")
    load_weights(module, tmp_path / "m.safetensors")
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(module(x), lower(chain(4))(x))


@pytest.mark.parametrize("metadata", [None, {"recipe": "abc"}])
def test_a_model_without_weights_has_a_file_too(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_weights({}, tmp_path / "m.safetensors", metadata)
    assert read_weights(tmp_path / "m.safetensors") == {}
    with safe_open(tmp_path / "m.safetensors", "pt") as opened:
        assert (opened.metadata() or {}) == (metadata or {})


def test_tied_weights_and_views_are_written_as_they_look(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    save_weights({"a": weight, "b": weight, "c": weight.t()}, tmp_path / "m.safetensors")
    read = read_weights(tmp_path / "m.safetensors")
    assert torch.equal(read["a"], weight) and torch.equal(read["b"], weight) and torch.equal(read["c"], weight.t())


def test_everything_that_does_not_fit_is_told_at_once_and_nothing_is_loaded(tmp_path: Path) -> None:
    module = lower(chain(4))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    state["stage.0.conv.wieght"] = state.pop("stage.0.conv.weight")
    state["stage.0.norm.bias"] = torch.zeros(17)
    save_weights(state, tmp_path / "m.safetensors")
    assert problems(tmp_path / "m.safetensors", module) == [
        "FILE: no 'stage.0.conv.weight', which the model has",
        "FILE: 'stage.0.conv.wieght' is not in the model",
        "FILE: 'stage.0.norm.bias' is [17], the model needs [16]",
    ]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_misspelt_key_gets_a_suggestion(tmp_path: Path) -> None:
    state = lower(chain(4)).state_dict()
    state["stage.0.conv.wieght"] = state.pop("stage.0.conv.weight")
    save_weights(state, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"did you mean 'stage\.0\.conv\.weight'\?"):
        load_weights(lower(chain(4)), tmp_path / "m.safetensors")


def test_a_missing_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.safetensors") == ["no weights file FILE"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "m.safetensors"
    save_weights(lower(chain(4)), file)
    file.write_bytes(file.read_bytes()[:keep])
    assert problems(file) == ["FILE is not a whole safetensors file, it is truncated or damaged"]


def test_a_checkpoint_of_tensors_alone_is_read(tmp_path: Path) -> None:
    torch.save(lower(chain(4), seed=5).state_dict(), tmp_path / "m.pt")
    module = lower(chain(4))
    load_weights(module, tmp_path / "m.pt")
    assert torch.equal(
        module.get_parameter("stage.0.conv.bias"), lower(chain(4), seed=5).get_parameter("stage.0.conv.bias")
    )


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    file = tmp_path / "model.safetensors"  # the content counts, not the name
    if how == "torch":
        torch.save({"a": Evil()}, file)
    else:
        file.write_bytes(pickle.dumps({"a": Evil()}))
    refused = "FILE is a pickle that holds more than tensors; reading it could run code, so it is refused"
    assert problems(file) == [refused]
    assert not Path("/tmp/assembler_was_here").exists()


def test_a_checkpoint_of_something_else_and_a_broken_one(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    assert problems(tmp_path / "list.pt") == ["FILE does not hold a state_dict: a mapping of names to tensors"]
    torch.save(lower(chain(4)).state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:500])
    assert problems(tmp_path / "cut.pt")[0].startswith("FILE is not a whole torch checkpoint: ")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    save_weights({"a": torch.zeros(1)}, file)
    old = file.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    heed = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, unlimited[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*m\.safetensors: .*File too large"):
            save_weights({"a": torch.zeros(100_000)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        signal.signal(signal.SIGXFSZ, heed)
    assert file.read_bytes() == old and os.listdir(tmp_path) == ["m.safetensors"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot write .*: (File exists|Not a directory)"):
        save_weights({"a": torch.zeros(1)}, tmp_path / "file" / "m.safetensors")


def test_another_models_weights_are_counted(tmp_path: Path) -> None:
    theirs = {f"layer.{n}.weight": torch.zeros(2) for n in range(40)}
    save_weights(theirs, tmp_path / "m.safetensors")
    first, *rest = problems(tmp_path / "m.safetensors", module := lower(chain(4)))
    names = list(module.state_dict())
    assert first == (
        f"FILE: these are another model's weights: {len(names)} of the {len(names)} tensors that it needs are missing, "
        f"40 that it has are not needed; first no '{names[0]}', which the model has"
    )
    assert rest == []  # nothing fits: a line a name would say no more
