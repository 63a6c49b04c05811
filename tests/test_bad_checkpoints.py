"""Checkpoints that were damaged, or made to fill the memory: one clear error, and soon."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

import rushlight as torch


def archive(
    entries: dict[str, bytes], packed: int = zipfile.ZIP_STORED, changed: dict[str, bytes] | None = None
) -> io.BytesIO:
    """A checkpoint of these entries; others take the places of some."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as target:
        for name, content in {**entries, **(changed or {})}.items():
            target.writestr(name, content)
    file.seek(0)
    return file


@pytest.fixture
def entries() -> dict[str, bytes]:
    """A sound checkpoint."""
    file = io.BytesIO()
    torch.save({"step": 3, "weight": torch.arange(1000)}, file)
    with zipfile.ZipFile(file) as source:
        return {name: source.read(name) for name in source.namelist()}


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_checkpoint_is_read(entries, packed):
    assert torch.load(archive(entries, packed))["weight"].sum() == 499500


@pytest.mark.parametrize("put", [b"r" + struct.pack("<I", 0x32000000), b"p838860800\n"])
def test_a_place_far_off_in_the_memo(entries, put):
    assert torch.load(archive(entries, changed={"archive/data.pkl": b"\x80\x02}q\x00r\x01\0\0\0."})) == {}
    bad = archive(entries, changed={"archive/data.pkl": b"\x80\x02}" + put + b"."})
    with pytest.raises(RuntimeError, match=r"not a sound checkpoint.*place 838860800"):
        torch.load(bad)


@pytest.mark.parametrize("name", ["data.pkl", "byteorder", "data/0"])
def test_an_entry_that_is_huge_when_unpacked(entries, name):
    bad = archive(entries, zipfile.ZIP_DEFLATED, {f"archive/{name}": bytes(65 << 20)})
    with pytest.raises(RuntimeError, match=r"not a sound checkpoint.*68,?157,?440 bytes"):
        torch.load(bad)


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["data.pkl", "data/0"])
def test_a_flipped_byte_of_a_compressed_entry(entries, packed, name):
    whole = archive(entries, packed).getvalue()
    with zipfile.ZipFile(io.BytesIO(whole)) as source:
        entry = source.getinfo(f"archive/{name}")
    start = entry.header_offset + 30 + len(entry.filename)
    refused = 0
    for place in range(start, start + entry.compress_size, max(1, entry.compress_size // 40)):
        broken = bytearray(whole)
        broken[place] ^= 255
        try:
            found = torch.load(io.BytesIO(broken))
        except RuntimeError as error:
            assert "not a sound checkpoint" in str(error)
            refused += 1
        else:  # LZMA has bytes that do not matter
            assert torch.equal(found["weight"], torch.arange(1000))
    assert refused > 30


@pytest.mark.parametrize("order", [b"\xff\xfe", b"", b"middle"])
def test_an_order_of_bytes_that_is_none(entries, order):
    with pytest.raises(RuntimeError, match="not a sound checkpoint: entry byteorder"):
        torch.load(archive(entries, changed={"archive/byteorder": order}))
