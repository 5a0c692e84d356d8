"""Downloads: over HTTP and HTTPS, tried again when that may help, bounded, and checked."""

from __future__ import annotations

import hashlib
import os
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, one_line

ATTEMPTS = 4
WAIT = 1.0  # seconds before the second attempt; twice that before the next, and so on
STALL = 60.0  # seconds without a byte, after which an attempt is given up
MAX_WAIT = 60.0  # seconds that a server may ask us to wait
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others the next time
_CHUNK = 1 << 20


class Transient(Exception):
    """A failure that may not come again; `wait`: seconds that the server asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def download(url: str, file: Path, sha256: str, max_size: int) -> None:
    """Put what `url` gives into `file`; TaskError unless it has the digest."""
    failures: list[str] = []
    for attempt in range(ATTEMPTS):
        try:
            found = _attempt(url, file, max_size)
            break
        except Transient as error:
            print(f"attempt {attempt + 1} of {ATTEMPTS}: {error}", flush=True)
            failures.append(str(error))
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(MAX_WAIT, max(error.wait, WAIT * 2**attempt)))
    else:
        times = f"{ATTEMPTS} times" if len(set(failures)) == 1 else f"{ATTEMPTS} times; the last"
        raise TaskError(f"{url} failed {times}: {failures[-1]}", key="source.fetch")
    if found != sha256:
        raise TaskError(
            f"{url} gave {file.stat().st_size:,} bytes with SHA-256 {found}, not {sha256}; when"
            " these are the ones you want, write that as source.sha256",
            key="source.sha256",
        )


def _attempt(url: str, file: Path, max_size: int) -> str:
    """One download; the SHA-256 of what came. Raises Transient, and TaskError for good."""
    digest, count = hashlib.sha256(), 0
    try:
        with _opener().open(url, timeout=STALL) as response, file.open("wb") as copy:
            length = response.headers.get("Content-Length", "")
            declared = int(length) if length.isascii() and length.isdigit() else None
            if declared is not None and declared > max_size:
                raise _too_large(url, declared, max_size)
            while chunk := response.read(_CHUNK):
                count += len(chunk)
                if count > max_size:
                    raise _too_large(url, count, max_size)
                digest.update(chunk)
                copy.write(chunk)
    except urllib.error.HTTPError as error:
        said = f"the server answers {error.code} {one_line(str(error.reason), 200)}".strip()
        if error.code in AGAIN:
            raise Transient(said, _asked(error)) from None
        raise TaskError(f"{url}: {said}", key="source.fetch") from error
    except urllib.error.URLError as error:
        reason: Any = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise TaskError(
                f"{url}: its certificate is not trusted ({reason.verify_message}); name a bundle"
                " that holds its authority in SSL_CERT_FILE",
                key="source.fetch",
            ) from error
        if not isinstance(reason, OSError):  # "unknown url type" of a redirect, and the like
            raise TaskError(f"{url}: {one_line(str(reason), 200)}", key="source.fetch") from error
        raise Transient(_said(reason)) from None
    except (OSError, HTTPException) as error:
        raise Transient(_said(error)) from None
    except ValueError as error:  # a redirect to what is no URL
        raise TaskError(f"{url}: {one_line(error, 200)}", key="source.fetch") from error
    if declared is not None and count != declared:
        raise Transient(f"the connection ended after {count:,} of {declared:,} bytes")
    return digest.hexdigest()


def _opener() -> urllib.request.OpenerDirector:
    """What speaks HTTP, through the user's proxies, and nothing else."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.create_default_context()  # reads SSL_CERT_FILE and SSL_CERT_DIR itself
    if bundle and not os.environ.get("SSL_CERT_FILE"):
        try:
            context.load_verify_locations(bundle)
        except OSError as error:
            raise TaskError(f"the certificate bundle {bundle} cannot be read: {error}") from error
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "tflbuild"), ("Accept", "*/*")]
    return opener


def _too_large(url: str, size: int, limit: int) -> TaskError:
    return TaskError(
        f"{url} gives {size:,} bytes or more, above the {limit:,} of source.max_size; raise it",
        key="source.fetch",
    )


def _asked(error: urllib.error.HTTPError) -> float:
    """Seconds that the server asks us to wait."""
    value = str(error.headers.get("Retry-After", "")) if error.headers else ""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {STALL:g} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return one_line(text, 200)
