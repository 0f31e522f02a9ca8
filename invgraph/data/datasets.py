"""Well-known public captures that can be downloaded by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Args:
        url: where its publisher has it.
        sha256: of the whole file; None where nobody has measured it for us.
        size: bytes, if known.
        into: folder below the data set's in which an archive is unpacked.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    into: str = "."

    @property
    def name(self) -> str:
        """The file name, which a mirror keeps."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Dataset:
    """A public data set.

    Args:
        title: one line about it.
        licence: what its publisher allows.
        page: where its publisher describes it.
        files: to download; archives are unpacked.
        capture: folder below the data set's to give to ``invgraph``.
    """

    title: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...]
    capture: str = "."

    @property
    def size(self) -> int | None:
        """Bytes to download; None if unknown."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None

    @property
    def verified(self) -> bool:
        """Whether the checksums of all files are known."""
        return all(file.sha256 is not None for file in self.files)


_SKIMAGE = "https://gitlab.com/scikit-image/data/-/raw/5c090b56df3988d988ff97928e2ef2d2cbe38e1b/"
_TUM = "https://cvg.cit.tum.de/rgbd/dataset/"
_MVIEW = "https://vision.middlebury.edu/mview/data/"
_KITTI = "https://s3.eu-central-1.amazonaws.com/avg-kitti/raw_data/"
_BOP = "https://huggingface.co/datasets/bop-benchmark/lmo/resolve/main/"

# A checksum is here only if we measured the file ourselves (the stereo pair) or if several people
# published the same one independently (TUM RGB-D). Everything else is downloaded unverified.
DATASETS: dict[str, Dataset] = {
    "motorcycle-stereo": Dataset(
        "Middlebury 2014 stereo pair, 741x500, with disparity",
        "CC0 as part of scikit-image's data",
        "https://vision.middlebury.edu/stereo/data/scenes2014/",
        (
            RemoteFile(
                _SKIMAGE + "motorcycle_left.png",
                "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
                644701,
            ),
            RemoteFile(
                _SKIMAGE + "motorcycle_right.png",
                "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
                640373,
            ),
            RemoteFile(
                _SKIMAGE + "motorcycle_disp.npz",
                "2e49c8cebff3fa20359a0cc6880c82e1c03bbb106da81a177218281bc2f113d7",
                1146173,
            ),
        ),
    ),
    "tum-fr1-xyz": Dataset(
        "TUM RGB-D, freiburg1_xyz: 798 photos of a desk, with depth and poses",
        "CC BY 4.0 (Sturm et al. 2012)",
        "https://cvg.cit.tum.de/data/datasets/rgbd-dataset",
        (
            RemoteFile(
                _TUM + "freiburg1/rgbd_dataset_freiburg1_xyz.tgz",
                "a0236d97b8c30cd93b653656d2b6c293ff7c982a4130ef2a1a8beecdb124ef98",
                448204271,
            ),
        ),
        "rgbd_dataset_freiburg1_xyz",
    ),
    "temple-sparse-ring": Dataset(
        "Middlebury multi-view temple: 16 photos 640x480, exact cameras",
        "for research (Seitz et al. 2006)",
        _MVIEW,
        (RemoteFile(_MVIEW + "data/templeSparseRing.zip"),),
        "templeSparseRing",
    ),
    "dino-sparse-ring": Dataset(
        "Middlebury multi-view dinosaur: 16 photos 640x480, exact cameras",
        "for research (Seitz et al. 2006)",
        _MVIEW,
        (RemoteFile(_MVIEW + "data/dinoSparseRing.zip"),),
        "dinoSparseRing",
    ),
    "kitti-raw-0001": Dataset(
        "KITTI raw drive 2011_09_26_drive_0001, rectified, with GPS poses",
        "CC BY-NC-SA 3.0 (Geiger et al. 2013)",
        "https://www.cvlibs.net/datasets/kitti/raw_data.php",
        (
            RemoteFile(_KITTI + "2011_09_26_calib.zip"),
            RemoteFile(_KITTI + "2011_09_26_drive_0001/2011_09_26_drive_0001_sync.zip"),
        ),
        "2011_09_26/2011_09_26_drive_0001_sync",
    ),
    "bop-lmo": Dataset(
        "BOP Linemod-Occluded: 8 objects on a desk, with models and poses",
        "CC BY-SA 4.0 as stated by the BOP benchmark; see the page",
        "https://bop.felk.cvut.cz/datasets/",
        (
            RemoteFile(_BOP + "lmo_base.zip"),
            RemoteFile(_BOP + "lmo_models.zip", into="lmo"),
            RemoteFile(_BOP + "lmo_test_bop19.zip", into="lmo"),
        ),
        "lmo/test/000002",
    ),
}
