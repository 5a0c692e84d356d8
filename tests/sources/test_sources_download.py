"""Downloads from a real server that misbehaves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_folder import Server, gives, status, trickles

from tflbuild import download
from tflbuild.errors import TaskError

CONTENT = b"a model" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.end()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT", 0.001)
    monkeypatch.setattr(download, "MAX_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def get(url: str, file: Path, max_size: int = 10**6, sha: str = SHA) -> bytes:
    download.download(url, file, sha, max_size)
    return file.read_bytes()


def refusal(url: str, tmp_path: Path, **more: object) -> str:
    with pytest.raises(TaskError) as caught:
        get(url, tmp_path / "f", **more)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)
    return str(caught.value)


def test_content(server: Server, tmp_path: Path) -> None:
    assert get(server.put("m.keras", CONTENT), tmp_path / "f") == CONTENT
    assert server.asked == ["/m.keras"]


@pytest.mark.parametrize(
    "first",
    [status(500), status(503, Retry_After="9999"), status(429), gives(CONTENT[:50], len(CONTENT)),
     lambda handler: handler.connection.close()],
    ids=["500", "503", "429", "truncated", "closed"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(first: object, server: Server, tmp_path: Path) -> None:
    assert get(server.put("m", first, first, CONTENT), tmp_path / "f") == CONTENT  # type: ignore[arg-type]
    assert len(server.asked) == 3


def test_gives_up(server: Server, tmp_path: Path) -> None:
    said = refusal(server.put("m", status(500)), tmp_path)
    assert "failed 4 times: the server answers 500" in said
    assert len(server.asked) == 4


def test_truncated_for_ever(server: Server, tmp_path: Path) -> None:
    said = refusal(server.put("m", gives(CONTENT[:50], len(CONTENT))), tmp_path)
    assert "the connection ended after 50 of 7,000 bytes" in said


def test_404_is_final(server: Server, tmp_path: Path) -> None:
    assert "the server answers 404" in refusal(server.url("none"), tmp_path)
    assert len(server.asked) == 1


def test_wrong_digest_names_the_found_one(server: Server, tmp_path: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    said = refusal(server.put("m", b"other"), tmp_path)
    assert f"gave 5 bytes with SHA-256 {other}, not {SHA}" in said
    assert len(server.asked) == 1


def test_redirect(server: Server, tmp_path: Path) -> None:
    server.put("far", CONTENT)
    assert get(server.put("m", status(302, Location="/far")), tmp_path / "f") == CONTENT


@pytest.mark.parametrize("to", ["/m", "ftp://127.0.0.1/m", "file:///etc/passwd", "http://["])
def test_redirect_that_leads_nowhere(to: str, server: Server, tmp_path: Path) -> None:
    refusal(server.put("m", status(302, Location=to)), tmp_path)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("length", [None, 10])
def test_too_large(length: int | None, server: Server, tmp_path: Path) -> None:
    def answer(handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        if length is None:
            handler.send_header("Content-Length", str(len(CONTENT)))  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        handler.wfile.write(CONTENT)  # type: ignore[attr-defined]

    said = refusal(server.put("m", answer), tmp_path, max_size=6999)
    assert "above the 6,999 of source.max_size" in said


def test_silence(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL", 0.05)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    said = refusal(server.put("m", trickles(CONTENT, 5)), tmp_path)
    assert "failed 2 times: nothing came for 0.05 s" in said


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    url = server.url("m")
    server.server_close()
    assert "Connection refused" in refusal(url, tmp_path)


def test_proxy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy is asked with the whole URL.
    server.answers["http://models.invalid/m"] = [gives(CONTENT)]
    monkeypatch.setenv("http_proxy", server.url("").rstrip("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert get("http://models.invalid/m", tmp_path / "f") == CONTENT


def test_bundle_that_is_not_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(TaskError, match=r"bundle .*none\.pem cannot be read"):
        get(server.put("m", CONTENT), tmp_path / "f")
