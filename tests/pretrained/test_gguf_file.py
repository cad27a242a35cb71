"""Reading GGUF: as its own library reads it, and no other file."""

import random
import struct
import tracemalloc

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_files import SMALL_FIELDS, by_hand, entry, text, write_gguf

from marketllm.pretrained import read_gguf

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_1"]
ROW = 32 * 4  # bytes of 32 numbers of float32


def values(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.fixture
def small(tmp_path):
    tensors = {"first": values(3, 32), "second": values(5), "third": values(2, 64)}
    return write_gguf(tmp_path / "small.gguf", SMALL_FIELDS, tensors, "Q8_0")


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_what_the_library_reads(tmp_path, kind):
    numbers = gguf.GGUFValueType
    writer = gguf.GGUFWriter(tmp_path / "file.gguf", "none")
    signs = {"INT8": -7, "INT16": -300, "INT32": -70_000, "INT64": -(2**40)}
    plain = {"UINT8": 200, "UINT16": 60_000, "UINT32": 2**31, "UINT64": 2**63}
    others = {"FLOAT32": 0.1, "FLOAT64": 0.1, "BOOL": True, "STRING": "blank é 茶"}
    for name, value in (signs | plain | others).items():
        writer.add_key_value(f"a.{name}", value, numbers[name])
    for name, value in {"b.texts": ["", "x y", "茶"], "b.floats": [0.5, -1.5]}.items():
        writer.add_array(name, value)
    writer.add_array("b.flags", [True, False])
    number = gguf.GGMLQuantizationType[kind]
    for i, shape in enumerate([(3, 64), (5, 2, 32), (96,)]):
        packed = gguf.quants.quantize(values(*shape), number)
        writer.add_tensor(f"tensor.{i}", packed, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    ours = read_gguf(tmp_path / "file.gguf")
    theirs = gguf.GGUFReader(tmp_path / "file.gguf")
    fields = {k: f.contents() for k, f in theirs.fields.items() if k[:4] != "GGUF"}
    assert ours.fields == fields
    assert len(fields) == 16
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        found = ours.tensor(tensor.name)
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert found.dtype == torch.float32
        assert ours.tensors[tensor.name].shape == expected.shape == found.shape
        assert np.array_equal(found.numpy(), expected)
        assert abs(found).max() > 1
    assert ours.kinds() == {kind: 3}


def test_another_alignment(tmp_path):
    fields = {"general.alignment": 128}
    writer = gguf.GGUFWriter(tmp_path / "file.gguf", "none")
    writer.add_custom_alignment(fields["general.alignment"])
    for name in ("first", "second"):
        writer.add_tensor(name, values(7))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = read_gguf(tmp_path / "file.gguf")
    assert file.tensors["second"].start - file.tensors["first"].start == 128
    assert np.array_equal(file.tensor("second").numpy(), values(7))


def test_a_field_is_there_and_of_its_kind(small):
    file = read_gguf(small)
    assert file.field("general.name", str) == "small"
    assert file.field("some.list", list) == [3, 1, 2]
    with pytest.raises(ValueError, match=r"small\.gguf has no field general\.licence"):
        file.field("general.licence", str)
    with pytest.raises(ValueError, match=r"general\.name of the kind str, expected in"):
        file.field("general.name", int)


# Other files, torn files -----------------------------------------------------------


def foreign(folder, kind):
    path = folder / f"{kind}.gguf"
    if kind == "safetensors":
        save_file({"a": torch.zeros(3)}, path)
    elif kind == "torch":
        torch.save({"a": torch.zeros(3)}, path)
    else:
        path.write_bytes({"empty": b"", "text": b"Dear Ana,\n", "letter": b"x"}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "empty.gguf is empty"),
        ("text", "no GGUF file; it begins with b'Dear' and not with b'GGUF'"),
        ("letter", "no GGUF file; it begins with b'x'"),
        ("safetensors", "no GGUF file, perhaps safetensors"),
        ("torch", "no GGUF file, perhaps a zip archive or weights of PyTorch"),
    ],
)
def test_a_foreign_file(tmp_path, kind, message):
    with pytest.raises(ValueError, match=message):
        read_gguf(foreign(tmp_path, kind))


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="none.gguf is no file"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(ValueError, match="is no file"):
        read_gguf(tmp_path)


def test_torn_at_every_length(tmp_path, small):
    whole = small.read_bytes()
    places = read_gguf(small).tensors
    last = places["third"].start + places["third"].n_bytes
    torn = tmp_path / "torn.gguf"
    for length in range(1, last):
        torn.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"torn\.gguf is torn") as error:
            read_gguf(torn)
        message = str(error.value)
        if length >= places["first"].start:
            ends = {name: p.start + p.n_bytes for name, p in places.items()}
            first = next(name for name, end in ends.items() if length < end)
            assert f"tensor {first} ends at {ends[first]:,}" in message
            assert f"has {length:,} bytes" in message
    torn.write_bytes(whole[:last])  # only the padding behind the last one is missing
    assert torch.equal(
        read_gguf(torn).tensor("third"), read_gguf(small).tensor("third")
    )
    torn.write_bytes(whole[:3])
    with pytest.raises(ValueError, match="the first word, GGUF would end at 4"):
        read_gguf(torn)


def test_torn_after_the_header_was_read(small):
    file = read_gguf(small)
    small.write_bytes(small.read_bytes()[: file.tensors["third"].start + 1])
    with pytest.raises(ValueError, match="is torn in the data of tensor third"):
        file.tensor("third")


# Damaged files ---------------------------------------------------------------------


def test_a_wrong_byte_is_an_error_or_nothing(tmp_path, small):
    """Never another exception."""
    whole = small.read_bytes()
    end = read_gguf(small).tensors["first"].start
    draw = random.Random(3)
    flips = [(i, 1 << draw.randrange(8)) for i in range(end)]
    flips += [(draw.randrange(end), draw.randrange(1, 256)) for _ in range(200)]
    path = tmp_path / "flipped.gguf"
    refused = []
    for place, change in flips:
        damaged = bytearray(whole)
        damaged[place] ^= change
        path.write_bytes(damaged)
        try:
            file = read_gguf(path)
            for name in file.tensors:
                file.tensor(name)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > len(flips) / 3
    assert all(str(path) in message for message in refused)


HUGE = struct.pack("<Q", 2**62)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"counts": (2**62, 0), "data": b""}, "the entry of tensor  would end at"),
        ({"counts": (0, 2**62), "data": b""}, "header field  would end at"),
        ({"fields": [HUGE]}, "the name of header field 0 would end at 4,611,686,018"),
        ({"fields": [text("a") + struct.pack("<I", 8) + HUGE]}, "header field a would"),
        (
            {"fields": [text("a") + struct.pack("<II", 9, 8) + HUGE]},
            "header field a would end",
        ),
        (
            {"fields": [text("a") + struct.pack("<II", 9, 0) + HUGE]},
            "header field a would end",
        ),
        ({"entries": [entry("a", [2**62])]}, "tensor a ends at 18,446,744,073,709,5"),
        ({"entries": [entry("a", [2**62] * 4)]}, "is torn: .* tensor a ends at"),
        ({"version": 1}, "version 1 of GGUF, and this package reads 2 and 3"),
        ({"version": 3 << 24}, "version 50331648 .* little-endian"),
        (
            {"fields": [text("a") + struct.pack("<I", 13)]},
            "value type 13 in header field a",
        ),
        (
            {"fields": [text("a") + struct.pack("<IIQ", 9, 9, 1)]},
            "a list of the value type 9 in header field a",
        ),
        ({"fields": [text("a") + struct.pack("<IB", 0, 1)] * 2}, "field a twice"),
        ({"fields": [text(b"\xff")]}, "name of header field 0 is no text in UTF-8"),
        (
            {"fields": [text("general.alignment") + struct.pack("<II", 4, 48)]},
            "general.alignment 48, which is no power of two",
        ),
        ({"entries": [entry("a", [])]}, "0 axes in the entry of tensor a"),
        ({"entries": [entry("a", [1] * 5)]}, "5 axes in the entry of tensor a"),
        (
            {"entries": [entry("a", [32, 0])]},
            r"shape \(0, 32\) in the entry of tensor a",
        ),
        (
            {"entries": [entry("a", [32]), entry("a", [32], start=ROW)]},
            "has the tensor a twice",
        ),
        (
            {"entries": [entry("a", [32]), entry("b", [32])]},
            "tensor b at byte 0 of the data, expected 128",
        ),
        (
            {"entries": [entry("a", [32]), entry("b", [32], start=2 * ROW)]},
            "tensor b at byte 256 of the data, expected 128",
        ),
        (
            {"entries": [entry("a", [32, 2], kind=99)]},
            "tensor a of the quantisation number 99, which the library gguf does not",
        ),
        (
            {"entries": [entry("a", [33], kind=8)]},
            r"tensor a of shape \(33,\), but Q8_0",
        ),
    ],
)
def test_a_damaged_file(tmp_path, parts, message):
    path = by_hand(tmp_path / "file.gguf", **({"data": bytes(4 * ROW)} | parts))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6  # though a count is 2**62
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)


def test_the_files_written_by_hand_are_sound(tmp_path):
    field = text("a") + struct.pack("<IIQII", 9, 4, 2, 5, 6)
    entries = [entry("a", [16, 2]), entry("b", [32], start=ROW)]
    data = values(64).tobytes()
    file = read_gguf(by_hand(tmp_path / "file.gguf", [field], entries, data))
    assert file.fields == {"a": [5, 6]}
    assert np.array_equal(file.tensor("b").numpy(), values(64)[32:])
    assert np.array_equal(file.tensor("a").numpy(), values(64)[:32].reshape(2, 16))


@pytest.mark.parametrize("kind", ["I32", "F64", "Q8_1"])
def test_a_kind_that_cannot_be_unpacked(tmp_path, kind):
    number = int(gguf.GGMLQuantizationType[kind])
    entries = [entry("odd", [32], kind=number)]
    path = by_hand(tmp_path / "file.gguf", (), entries, bytes(4 * ROW))
    file = read_gguf(path)  # the table can be shown
    with pytest.raises(
        ValueError, match=f"file.gguf has tensor odd of the kind {kind}"
    ):
        file.tensor("odd")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tmp_path, bad):
    tensors = {"fine": values(2, 32), "odd": values(2, 32)}
    tensors["odd"][1, 7] = bad
    file = read_gguf(write_gguf(tmp_path / "file.gguf", {}, tensors))
    assert file.tensor("fine").isfinite().all()
    with pytest.raises(ValueError, match=r"file\.gguf has numbers in tensor odd that"):
        file.tensor("odd")
