"""A checkpoint is whole and unchanged, or it is refused and left alone."""

import errno
import math
import os
import re
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from marketllm import checkpoints
from marketllm.checkpoints import load_checkpoint, save_checkpoint

TENSORS = {
    "weights": torch.tensor([[1.5, -2.0], [math.pi, 1e-30]], dtype=torch.float64),
    "steps": torch.tensor([3, 2**62 + 1]),
}
FACTS = {"epoch": 3, "loss": 0.1 + 0.2, "names": ["tea", "茶", '"checksum":"x"']}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, TENSORS, FACTS)
    return path


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


def raw(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).tolist()


def refusal(path, data=None):
    """Try to load a file; give the message, and hold that the file is as it was."""
    if data is not None:
        path.write_bytes(data)
    before = path.read_bytes()
    with pytest.raises(ValueError) as caught:
        load_checkpoint(path)
    assert path.read_bytes() == before
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "left as it was: move it away, or give another path" in message
    return message


# What it holds --------------------------------------------------------------


def test_every_kind_of_tensor_comes_back_bit_for_bit(tmp_path):
    wide = torch.randn(3, 4)
    quiet_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_00A5))[0]
    tensors = {
        "float64": torch.tensor([0.1, -0.0, math.inf, quiet_nan], dtype=torch.float64),
        "float32": torch.tensor([1e-45, 3.4e38]),
        "bfloat16": torch.tensor([1.0, 2.5]).bfloat16(),
        "int64": torch.tensor([[-(2**63), 2**63 - 1]]),
        "uint8": torch.get_rng_state(),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(7.25),
        "empty": torch.zeros(0, 3),
        "transposed": wide.T,
        "every second": wide[:, ::2],
        "the same again": wide,
        "trained": torch.nn.Parameter(torch.randn(2)),
    }
    save_checkpoint(tmp_path / "a", tensors, {})
    found, facts = load_checkpoint(tmp_path / "a")
    assert facts == {}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert raw(found[name]) == raw(tensor), name
        assert not found[name].requires_grad


def test_what_is_kept_is_apart_from_what_goes_on(path):
    """The file and what is read from it share no memory with the model."""
    weights = torch.ones(2)
    save_checkpoint(path, {"weights": weights}, {})
    weights += 1
    found, _ = load_checkpoint(path)
    assert found["weights"].tolist() == [1.0, 1.0]


def test_facts_come_back(path):
    _, facts = load_checkpoint(path)
    assert facts == FACTS
    assert load_checkpoint(str(path))[1] == FACTS


def test_it_is_a_plain_safetensors_file(path):
    """A program that knows nothing of ours reads it."""
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(TENSORS)
        assert torch.equal(file.get_tensor("weights"), TENSORS["weights"])
        assert file.metadata()["format"] == "marketllm checkpoint"


@pytest.mark.parametrize("facts", [{"loss": math.nan}, {"thing": object()}])
def test_facts_that_json_does_not_know_are_refused(path, facts):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} are no plain JSON"):
        save_checkpoint(path, TENSORS, facts)
    assert path.read_bytes() == before


# What is refused ------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def test_cut_off_anywhere_it_is_refused(path):
    whole = path.read_bytes()
    assert len(whole) > 400
    for length in range(len(whole)):
        refusal(path, whole[:length])
    path.write_bytes(whole)
    assert load_checkpoint(path)[1] == FACTS


def test_a_changed_byte_anywhere_is_refused(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in {1 << place % 8, 0x20}:  # 0x20 turns small letters into capitals
            changed = bytearray(whole)
            changed[place] ^= bit
            refusal(path, changed)


def test_safetensors_alone_takes_a_changed_number(path):
    """That is why there is a checksum."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0x01]))
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = [name for name in TENSORS if not torch.equal(found[name], TENSORS[name])]
    assert len(changed) == 1
    assert "a byte in it has changed" in refusal(path)


def test_more_bytes_than_written_are_refused(path):
    whole = path.read_bytes()
    for more in (b"\0", b"\n", whole):
        assert "damaged" in refusal(path, whole + more)


def test_two_halves_of_two_checkpoints_are_refused(path, tmp_path):
    other = tmp_path / "other"
    save_checkpoint(other, {k: v + 1 for k, v in TENSORS.items()}, FACTS)
    first, second = path.read_bytes(), other.read_bytes()
    assert len(first) == len(second)
    data = 8 + int.from_bytes(first[:8], "little")
    for cut in (data, data + 8, len(first) - 8):
        assert "damaged" in refusal(path, first[:cut] + second[cut:])


def test_foreign_files_are_refused(tmp_path):
    kinds = {
        "empty": b"",
        "text": b"Ana's tea\n" * 100,
        "huge length": b"\xff" * 200,
        "brackets": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "list": struct.pack("<Q", 2) + b"[]",
    }
    for name, data in kinds.items():
        message = refusal(tmp_path / name, data)
        assert "no checkpoint of marketllm" in message, name
    torch.save(TENSORS, tmp_path / "pickle.pt")
    assert "no checkpoint of marketllm" in refusal(tmp_path / "pickle.pt")
    for metadata in (None, {"format": "pt"}):
        save_file(TENSORS, tmp_path / "weights", metadata)
        assert "no checkpoint of marketllm" in refusal(tmp_path / "weights")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder is a folder, not a checkpoint"):
        load_checkpoint(tmp_path / "folder")


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_is_refused(path, monkeypatch, version):
    monkeypatch.setattr(checkpoints, "VERSION", version)
    save_checkpoint(path, TENSORS, FACTS)
    monkeypatch.undo()
    message = refusal(path)
    assert f"version {version} of the format" in message
    assert "reads version 1: finish the run with the package that began it" in message


@pytest.mark.parametrize(
    "checksum",
    [None, "", "0" * 63, "茶" * 64, '"'],
    ids=["none", "empty", "short", "茶", "quote"],
)
def test_a_checksum_of_another_kind_is_refused(tmp_path, checksum):
    metadata = {"format": "marketllm checkpoint", "version": "1", "facts": "{}"}
    if checksum is not None:
        metadata["checksum"] = checksum
    save_file(TENSORS, tmp_path / "a", metadata)
    assert "damaged" in refusal(tmp_path / "a")


# How it is written ----------------------------------------------------------


def test_an_old_file_is_replaced_and_nothing_else_is_left(path):
    save_checkpoint(path, {}, {"epoch": 4})
    assert load_checkpoint(path) == ({}, {"epoch": 4})
    assert names_in(path.parent) == [path.name]


def test_it_is_on_the_disk_before_it_takes_the_place(path, monkeypatch):
    """Data first, then the name, then the folder that holds the name."""
    done, fsync, replace = [], os.fsync, os.replace

    def note_fsync(number):
        synced = os.fstat(number)
        [name] = [
            str(file)
            for file in (path.parent, *path.parent.iterdir())
            if os.path.samestat(file.stat(), synced)
        ]
        done.append(("fsync", name))
        fsync(number)

    def note_replace(old, new):
        done.append(("replace", str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save_checkpoint(path, TENSORS, {"epoch": 5})
    new = done[0][1]
    assert os.path.dirname(new) == str(path.parent)  # one disk: a rename is one step
    assert done == [
        ("fsync", new),
        ("replace", str(path)),
        ("fsync", str(path.parent)),
    ]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {}, {})
    assert load_checkpoint(path)[1] == FACTS
    assert names_in(path.parent) == [path.name]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save_checkpoint(tmp_path / "nowhere" / "a", {}, {})


def test_what_killed_writers_left_is_removed_and_nothing_else(path):
    folder, name = path.parent, path.name
    left = [f".{name}.17.tmp", f".{name}.{os.getpid()}.tmp"]
    others = [f".{name}.b.17.tmp", f"{name}.17.tmp", f".{name}.tmp", ".x.17.tmp"]
    for file in left + others:
        (folder / file).write_bytes(b"half")
    assert load_checkpoint(path)[1] == FACTS  # they do not confuse
    assert len(names_in(folder)) == 7  # and reading changes nothing
    save_checkpoint(path, {}, {})
    assert names_in(folder) == sorted([*others, name])


def test_a_name_with_signs_is_only_a_name(tmp_path):
    path = tmp_path / "a[1] (b)*.safetensors"
    (tmp_path / ".a1 (b).safetensors.3.tmp").touch()
    (tmp_path / f".{path.name}.3.tmp").touch()
    save_checkpoint(path, TENSORS, FACTS)
    assert load_checkpoint(path)[1] == FACTS
    assert names_in(tmp_path) == [".a1 (b).safetensors.3.tmp", path.name]
