"""The local store: whole or absent, and checked at every read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tflbuild.store.digest import bytes_digest, file_digest
from tflbuild.store.local import DamagedBlob, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def put(store: Store, content: bytes) -> str:
    source = store.temporary / "source"
    source.write_bytes(content)
    digest = file_digest(source)
    assert digest == bytes_digest(content)
    store.adopt(source, digest)
    assert not source.exists()
    return digest


@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 1_000_000])
def test_round_trip(store: Store, tmp_path: Path, content: bytes) -> None:
    digest = put(store, content)
    put(store, content)  # twice is once
    assert store.has(digest)
    assert store.read(digest) == content
    target = tmp_path / "out/file"
    store.copy_out(digest, target)
    assert target.read_bytes() == content
    assert target.stat().st_nlink == store.path(digest).stat().st_nlink == 1
    assert target.stat().st_mode & 0o777 == 0o644
    target.write_bytes(b"edited")
    assert store.read(digest) == content


def test_damage_is_found_and_the_target_stays(store: Store, tmp_path: Path) -> None:
    digest, target = put(store, b"right"), tmp_path / "file"
    target.write_bytes(b"old")
    store.path(digest).chmod(0o644)
    for harm in (b"wrong", b"righ", b""):
        store.path(digest).write_bytes(harm)
        with pytest.raises(DamagedBlob):
            store.read(digest)
        with pytest.raises(DamagedBlob):
            store.copy_out(digest, target)
    store.discard(digest)
    store.discard(digest)
    assert not store.has(digest)
    with pytest.raises(DamagedBlob):
        store.copy_out(digest, target)
    assert target.read_bytes() == b"old"
    assert list(store.temporary.iterdir()) == []


def test_a_sound_copy_takes_the_place_of_a_damaged_one(store: Store) -> None:
    digest = put(store, b"right")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"wrong")
    put(store, b"right")
    assert store.read(digest) == b"right"


def test_write_only_what_differs(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a/b/c.json"
    assert store.write(path, b"1", durable=True)
    before = path.stat()
    assert not store.write(path, b"1")
    assert path.stat() == before
    assert store.write(path, b"2")
    assert list(store.temporary.iterdir()) == []


def test_prepare_clears_what_a_kill_left(store: Store) -> None:
    digest = put(store, b"kept")
    (store.temporary / "half").write_bytes(b"written")
    store.prepare()
    assert list(store.temporary.iterdir()) == []
    assert store.has(digest)
