"""Downloading public captures: resumable, checked, in one step."""

import errno
import hashlib
import http.client
import io
import lzma
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from invgraph.data.datasets import Dataset, RemoteFile
from invgraph.data.listing import inside
from invgraph.files.atomic import writing

_CHUNK = 1 << 20
_DENSEST, _ALWAYS = 100, 1 << 28  # unpacked bytes for one packed, and for any archive
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_TIMEOUT_S = 30
_OF_NAMES = (None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # of errors that an archive causes
Received = Callable[[str, int, int | None], None]


def download(
    dataset: Dataset,
    out: str | Path,
    *,
    mirror: str | None = None,
    progress: Received | None = None,
) -> dict[str, str]:
    """Fetch a data set into a folder that appears only when it is complete.

    Pieces of an earlier attempt lie beside ``out`` and are continued (HTTP ranges), unless the
    server's file has changed since. Known checksums are compared; archives are unpacked, never
    outside the folder, and to no more than a hundred times their size. Where a server sends the
    request elsewhere, only https is followed.

    Args:
        dataset: what to fetch.
        out: folder to create.
        mirror: address of a folder with the same file names, instead of the publisher's.
        progress: called with (file name, bytes so far, bytes in all or None).

    Returns:
        The sha256 of each file.

    Raises:
        ValueError: ``out`` exists, the connection fails, a checksum or an archive is wrong.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists already; delete it to download it again.")
    work = out.with_name(f".{out.name}.download")
    work.mkdir(parents=True, exist_ok=True)
    sums = {}
    for file in dataset.files:
        url = file.url if mirror is None else f"{mirror.rstrip('/')}/{file.name}"
        sums[file.name] = _fetch(url, file, work / file.name, progress)
    fresh = work / "unpacked"
    shutil.rmtree(fresh, ignore_errors=True)
    for file in dataset.files:
        _unpack(work / file.name, fresh / file.into)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh.rename(out)
    shutil.rmtree(work)
    return sums


def _fetch(url: str, file: RemoteFile, target: Path, progress: Received | None) -> str:
    """Bring one file to ``target`` and return its sha256."""
    if target.exists():
        found = _sha256(target)
        if file.sha256 in (None, found):
            return found
        target.unlink()
    part = target.with_name(f"{target.name}.part")
    _receive(url, part, progress)
    found = _sha256(part)
    if file.sha256 is not None and found != file.sha256:
        part.unlink()
        raise ValueError(
            f"{url} has sha256 {found}, expected {file.sha256}; the file was altered or damaged "
            "on the way and has been deleted: try again, or another --mirror."
        )
    _stamp(part).unlink(missing_ok=True)
    part.replace(target)
    return found


def _receive(url: str, part: Path, progress: Received | None) -> None:
    """Append to ``part`` what is missing of it."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url} is no http or https address; give another --mirror.")
    have = part.stat().st_size if part.exists() else 0
    stamp = _stamp(part).read_text() if have and _stamp(part).exists() else ""
    headers = {"User-Agent": "invgraph", "Accept-Encoding": "identity"}
    if have and stamp:
        # With If-Range the server sends the whole file if it is no longer the one begun.
        headers |= {"Range": f"bytes={have}-", "If-Range": stamp}
    try:
        request = urllib.request.Request(url, headers=headers)
        with _opener().open(request, timeout=_TIMEOUT_S) as answer:
            start = _continues(answer.headers.get("Content-Range")) if answer.status == 206 else 0
            if start not in (0, have):
                raise ValueError(f"{url} answers from byte {start}, expected {have}; try again.")
            new = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            # A weak validator does not promise equal bytes.
            with writing(_stamp(part)):
                _stamp(part).write_text("" if new.startswith("W/") else new)
            length = answer.headers.get("Content-Length")
            total = None if length is None else start + int(length)
            received = start
            with part.open("ab" if start else "wb") as sink:
                for piece in _pieces(answer):
                    with writing(part):
                        sink.write(piece)
                        sink.flush()
                    received += len(piece)
                    if progress is not None:
                        progress(part.name.removesuffix(".part"), received, total)
                with writing(part):
                    os.fsync(sink.fileno())
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the piece is as long as the file, or longer
            return
        raise ValueError(
            f"{url}: the server says {error.code} {error.reason}; see the data set's page, or give "
            "a --mirror."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None) is not None:
            raise  # a file of ours, not the connection
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{url}: the connection failed ({reason}); run the command again to go on, or give a "
            "--mirror."
        ) from error
    if total is not None and received < total:
        raise ValueError(
            f"{url} ended after {received} of {total} bytes; run the command again to go on."
        )


class _OnlySecure(urllib.request.HTTPRedirectHandler):
    """Follows to no address but https: whoever listens could send us anywhere."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str):
        if urlsplit(newurl).scheme != "https":
            raise ValueError(
                f"{req.full_url} sends us to {newurl}, which is no https address; give a --mirror."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_OnlySecure)


def _pieces(answer: io.BufferedIOBase) -> Iterator[bytes]:
    while piece := answer.read(_CHUNK):
        yield piece


def _continues(header: str | None) -> int:
    """First byte of an answer's ``Content-Range: bytes 5-9/10``."""
    try:
        return int((header or "").split()[1].partition("-")[0])
    except (IndexError, ValueError):
        return -1


def _stamp(part: Path) -> Path:
    """Where the server's name for the version of a partial file is kept."""
    return part.with_name(f"{part.name}.version")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(source: Path, folder: Path) -> None:
    """Unpack a ZIP or tar into a folder, or move any other file there.

    An archive that cannot be unpacked is deleted, so that the next try fetches it anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = source.name.lower()
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(source) as archive:
                _write_all(_zipped(archive), folder, source)
        elif name.endswith((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")):
            with tarfile.open(source) as archive:
                _write_all(_tarred(archive), folder, source)
        else:
            source.replace(folder / source.name)
    except (*_DAMAGE, ValueError, OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _OF_NAMES:
            raise  # the disk's fault
        source.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{source.name} is no whole archive ({reason}) and has been deleted; download it again."
        ) from error


def _zipped(archive: zipfile.ZipFile) -> Iterator[tuple[str, Any]]:
    """Names and contents of the files in a ZIP."""
    for entry in archive.infolist():
        if entry.flag_bits & 1:
            raise ValueError(f"{entry.filename!r:.80} in it is encrypted")
        if not entry.filename.endswith("/"):  # is_dir() fails where there is no name
            yield entry.filename, archive.open(entry)


def _tarred(archive: tarfile.TarFile) -> Iterator[tuple[str, Any]]:
    """The same of a tar; links and devices have no place in a capture."""
    for member in archive:
        if member.isfile() and (content := archive.extractfile(member)) is not None:
            yield member.name, content


def _write_all(contents: Iterator[tuple[str, Any]], folder: Path, source: Path) -> None:
    left = _DENSEST * source.stat().st_size + _ALWAYS
    for name, content in contents:
        path = inside(folder, name, source)
        if path.resolve() == folder.resolve():
            raise ValueError(f"{name!r:.80} in it is no file name")
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("wb") as sink:
            while piece := content.read(_CHUNK):
                left -= len(piece)
                if left < 0:
                    raise ValueError(f"it holds more than {_DENSEST} times its size")
                with writing(path):
                    sink.write(piece)
                    sink.flush()
