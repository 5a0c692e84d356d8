"""fetch: download a source and check that it is the one that the manifest means.

Output: `source.tar`, in canonical form: what the archive holds, or the one file. The key is the
SHA-256 of the content, whatever the URL.
"""

from __future__ import annotations

from tflbuild import archive
from tflbuild.errors import TaskError
from tflbuild.manifest.made import url_name
from tflbuild.sources import FORMATS
from tflbuild.sources.made import OUTPUT, check_form
from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ()  # the result is what its digest says, whoever made it
ZYGOTE = "lite"

# What the user's environment says of the way to the network, for this stage alone.
VARIABLES = (
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip


def run(request: Request) -> None:
    from tflbuild.download import download  # SSL and all that, for the child alone

    params, scratch = request.params, request.out.parent
    file = scratch / "download"
    download(params["url"], file, params["sha256"], params["max_size"])
    folder, name = scratch / "unpacked", params["name"]
    try:
        if params["unpack"]:
            if not archive.is_archive(file):
                raise TaskError(
                    f"{params['url']} gave no archive (tar or zip) with members, but a file;"
                    " remove source.path when it is the source itself",
                    key="source.fetch",
                )
            archive.extract(file, folder, params["max_size"])
            name = "."
        else:
            folder.mkdir()
            file.rename(folder / name)
            shown = url_name(params["url"])
            check_form(FORMATS[params["format"]], folder / name, shown, "source.fetch")
        archive.pack(folder, [name], request.out / OUTPUT)
    except archive.ArchiveError as error:
        raise TaskError(f"the archive from {params['url']}: {error}", key="source.fetch") from error
