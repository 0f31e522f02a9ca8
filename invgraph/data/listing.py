"""Which files a capture has: images by their names, nothing outside its folder."""

import os
import re
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG", ".webp", ".tif", ".tiff", ".bmp")
_KNOWN = frozenset(suffix.lower() for suffix in SUFFIXES)
# Endings of pictures that we do not open.
_ENDINGS = """
    .heic .heif .hif .avif .jxl .jp2 .j2k .jpx .jpf .jpe .jfif .jps .mpo .gif .apng .svg .eps .psd
    .xcf .exr .hdr .dds .tga .ico .pcx .ppm .pgm .pbm .pnm .sgi .ras .xpm .xbm .dib .insp .dng .cr2
    .cr3 .crw .nef .nrw .arw .sr2 .srf .orf .rw2 .raf .pef .srw .x3f .3fr .iiq .raw .rwl .gpr .erf
    .dcr .kdc .mrw .mef .mos .heics .avifs .jxr .wdp .hdp .qoi .dpx .cin .fits .wmf .emf .svgz
"""
_OTHERS = frozenset(_ENDINGS.split())


def inside(folder: Path, name: object, source: Path) -> Path:
    """Resolve a file name found in a capture, refusing every way out of the capture's folder.

    Args:
        folder: the capture's folder.
        name: what the capture says; never trusted.
        source: the file that says it, for the message.

    Raises:
        ValueError: not text, absolute, or (after links are followed) outside ``folder``.
    """
    if not isinstance(name, str) or not _is_name(name):
        raise ValueError(f"{source}: {name!r:.80} is no file name; expected a relative path.")
    path = Path(name.replace("\\", "/"))
    remedy = f"put the file inside {folder} and name it relative to that folder."
    if path.is_absolute() or re.match(r"^[A-Za-z]:", name):
        raise ValueError(f"{source}: {name!r:.200} is an absolute path; {remedy}")
    try:
        within = (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{folder / path} is a link that leads nowhere; remove it.") from error
    if not within:
        raise ValueError(f"{source}: {name!r:.200} leaves the capture's folder; {remedy}")
    return folder / path


def _is_name(name: str) -> bool:
    """Whether the system may have a file of such a name."""
    try:
        data = os.fsencode(name)
    except UnicodeError:
        return False
    parts = data.replace(b"\\", b"/").split(b"/")
    return 0 < len(data) <= 1024 and b"\0" not in data and max(map(len, parts)) <= 255


def inside_file(path: Path, root: Path) -> Path | None:
    """A file that a capture may have; None where there is none.

    Args:
        path: below ``root``.
        root: the capture's folder.

    Raises:
        ValueError: a link that leads out of ``root``.
    """
    return inside(root, str(path.relative_to(root)), root) if path.is_file() else None


def pictures(folder: Path, root: Path) -> list[Path]:
    """Image files of a folder, numbers in their names in counting order; hidden ones left out.

    Args:
        folder: inside ``root``.
        root: the capture's folder.

    Raises:
        ValueError: a link leads out of ``root``.
    """
    inside(root, str(folder.relative_to(root)), folder)
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if _is_picture(entry)]
    for entry in found:
        if entry.is_symlink():
            inside(root, str(folder.relative_to(root) / entry.name), folder)
    return sorted((folder / entry.name for entry in found), key=natural)


def has_pictures(folder: Path) -> bool:
    """Whether a folder holds an image file that is not hidden."""
    with os.scandir(folder) as entries:
        return any(_is_picture(entry) for entry in entries)


def _is_picture(entry: os.DirEntry) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in _KNOWN and not entry.name.startswith(".") and not _is_folder(entry)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def unopened(folder: Path) -> list[tuple[str, str]]:
    """Name and reason of what looks like an image in a folder but is of a kind we do not open."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            if suffix in _OTHERS and not _is_folder(entry):
                reason = f"{suffix} files are not read; convert it to PNG or JPEG."
                found.append((entry.name, reason))
            elif suffix in _KNOWN and _is_folder(entry):
                found.append((entry.name, "it is a folder; expected an image file."))
    return sorted(found)


def natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts ``IMG_9`` before ``IMG_10``."""
    # A number with more digits is larger: names may have more of them than Python converts.
    return [
        (len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (0, part)
        for part in re.split(r"(\d+)", path.name)
    ]
