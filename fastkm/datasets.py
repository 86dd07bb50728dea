"""MNIST, from a folder or from OpenML.

Files are taken for what a stranger may have sent: magic numbers, shapes and sizes are judged by the
headers before anything is allocated, nothing is unpacked beyond what a header promises, and nothing
is unpickled.
"""

from __future__ import annotations

import gzip
import os
import socket
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from sklearn.datasets import fetch_openml

__all__ = ["load_mnist", "Mnist"]

ByteArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]

_SIDE = 28
_N_PIXELS = _SIDE * _SIDE
_N_DIGITS = 10
_MAX_IMAGES = 1_000_000  # 784 MB; the largest relative of MNIST, EMNIST, has 814,255
_N_OPENML_TRAIN = 60_000  # of OpenML's 70,000 rows the first ones are the training set

_IMAGES_MAGIC = 2051  # IDX: unsigned bytes in three dimensions
_LABELS_MAGIC = 2049  # unsigned bytes in one
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = 1032  # of deflate: 258 bytes from two bits
_CHUNK = 1 << 20
_NETWORK_SECONDS = 5.0  # to wait for an answer that nothing comes of


class Mnist(NamedTuple):
    """Handwritten digits: training and test images, a row each, and the digits they show.

    Attributes
    ----------
    X_train : ndarray of shape (n_train, 784), uint8
        Training images of 28 x 28 pixels, row by row, 0 to 255; 60,000 in MNIST itself.
    y_train : ndarray of shape (n_train,), int64
        Digit of each training image, 0 to 9.
    X_test : ndarray of shape (n_test, 784), uint8
        Test images; 10,000 in MNIST itself.
    y_test : ndarray of shape (n_test,), int64
        Digit of each test image.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkm.datasets import Mnist
    >>> images, digits = np.zeros((3, 784), np.uint8), np.array([7, 2, 1])
    >>> X_train, y_train, X_test, y_test = Mnist(images, digits, images[:1], digits[:1])
    >>> X_train.shape, y_test
    ((3, 784), array([7]))
    """

    X_train: ByteArray
    y_train: LabelArray
    X_test: ByteArray
    y_test: LabelArray


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Mnist:
    """Load MNIST, or a data set in its format, from a folder or from OpenML.

    Parameters
    ----------
    folder : path, optional
        Holds the four IDX files, gzipped or not, named ``train-images-idx3-ubyte`` or
        ``train-images.idx3-ubyte`` and so on, with or without ``.gz``; or else ``mnist.npz``, or
        one other ``.npz``, with arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` as Keras
        has them. Without a folder scikit-learn's ``fetch_openml`` gets ``mnist_784``, once: it
        keeps what it has downloaded in scikit-learn's data folder.

    Returns
    -------
    Mnist
        ``X_train``, ``y_train``, ``X_test``, ``y_test``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it holds neither form of MNIST.
    ValueError
        If a file is not what its name says; the message names it and what is wrong.
    OSError
        If a file cannot be read, or OpenML cannot be had.

    Notes
    -----
    Memory of IDX and ``.npz`` is that of the images and 1 MiB. At most 1,000,000 images are taken.
    A connection to OpenML that stays silent is given up after 5 seconds, unless
    ``socket.setdefaulttimeout`` says otherwise: the default is set for the time of the download.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastkm.datasets import load_mnist
    >>> images, digits = np.zeros((3, 28, 28), np.uint8), np.array([7, 2, 1])
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "mnist.npz", x_train=images, y_train=digits,
    ...              x_test=images[:1], y_test=digits[:1])
    ...     mnist = load_mnist(folder)
    >>> mnist.X_train.shape, mnist.X_test.shape, mnist.y_train.tolist()
    ((3, 784), (1, 784), [7, 2, 1])
    """
    if folder is None:
        return _from_openml()
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} must be a folder with MNIST's files; there is none.")
    idx = {part: _find_idx(folder, name) for part, name in _IDX_NAMES.items()}
    missing = [name for part, name in _IDX_NAMES.items() if idx[part] is None]
    if not missing:
        return _from_idx(cast("dict[str, Path]", idx))
    npz = _find_npz(folder)
    if npz is not None:
        return _from_npz(npz)
    if len(missing) < len(_IDX_NAMES):
        raise FileNotFoundError(
            f"{folder} must hold all four of MNIST's IDX files; it lacks {', '.join(missing)}."
        )
    raise FileNotFoundError(
        f"{folder} must hold MNIST's four IDX files ({', '.join(_IDX_NAMES.values())}, with or "
        "without .gz) or one .npz; it holds neither."
    )


# --- four IDX files ---------------------------------------------------------------------------

_IDX_NAMES = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def _find_idx(folder: Path, name: str) -> Path | None:
    """Return the file of this name in either spelling, gzipped or not."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{spelling}{end}" for spelling in spellings for end in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _from_idx(paths: dict[str, Path]) -> Mnist:
    parts: dict[str, Any] = {}
    for part, path in paths.items():
        with path.open("rb") as file, _naming(path):
            if part.startswith("X"):
                shape = (_SIDE, _SIDE)
                parts[part] = _read_idx(file, _IMAGES_MAGIC, shape).reshape(-1, _N_PIXELS)
            else:
                parts[part] = _digits(_read_idx(file, _LABELS_MAGIC, ()))
    for images, labels in (("X_train", "y_train"), ("X_test", "y_test")):
        with _naming(paths[labels]):
            _check_as_many(parts[images], parts[labels])
    return Mnist(**parts)


def _read_idx(file: BinaryIO, magic: int, row_shape: tuple[int, ...]) -> ByteArray:
    """Return the entries of an IDX file of unsigned bytes, shape (n, *row_shape)."""
    packed_size = os.fstat(file.fileno()).st_size
    is_gzipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzipped else file
    header = struct.Struct(f">{2 + len(row_shape)}I")
    start = stream.read(header.size)
    if len(start) < header.size:
        raise ValueError(f"an IDX header has {header.size} bytes; the file has {len(start)}.")
    found, n, *found_shape = header.unpack(start)
    if found != magic:
        raise ValueError(f"the magic number must be {magic}; got {found}.")
    if tuple(found_shape) != row_shape:
        raise ValueError(f"images must have {_SIDE} x {_SIDE} pixels; the header says "
                         f"{' x '.join(map(str, found_shape))}.")  # fmt: skip
    _check_n(n)
    n_bytes = n * int(np.prod(row_shape, dtype=np.int64))
    _check_holds(n_bytes + header.size, packed_size, is_deflated=is_gzipped)
    return _read_exactly(stream, n_bytes).reshape(n, *row_shape)


# --- one .npz ---------------------------------------------------------------------------------

_NPZ_KEYS = {"X_train": "x_train", "y_train": "y_train", "X_test": "x_test", "y_test": "y_test"}


def _find_npz(folder: Path) -> Path | None:
    """Return mnist.npz, else the only .npz of a folder, else None."""
    named = folder / "mnist.npz"
    if named.is_file():
        return named
    found = sorted(path for path in folder.glob("*.npz") if path.is_file())
    if len(found) > 1:
        raise ValueError(
            f"{folder} must hold mnist.npz or one .npz; it holds {len(found)}: rename MNIST's."
        )
    return found[0] if found else None


def _from_npz(path: Path) -> Mnist:
    parts: dict[str, Any] = {}
    with path.open("rb") as file, _naming(path), zipfile.ZipFile(file) as archive:
        lacking = {f"{key}.npy" for key in _NPZ_KEYS.values()} - set(archive.namelist())
        if lacking:
            raise ValueError(f"MNIST as .npz holds {', '.join(_NPZ_KEYS.values())}; "
                             f"missing: {', '.join(sorted(lacking))}.")  # fmt: skip
        for part, key in _NPZ_KEYS.items():
            with _naming(key):
                is_images = part.startswith("X")
                # What the archive says of its members is bounded by what it is.
                info = archive.getinfo(f"{key}.npy")
                packed_size = min(info.compress_size, os.fstat(file.fileno()).st_size)
                array = _read_npy(archive, info, packed_size, is_images=is_images)
                parts[part] = array.reshape(-1, _N_PIXELS) if is_images else _digits(array)
        _check_as_many(parts["X_train"], parts["y_train"])
        _check_as_many(parts["X_test"], parts["y_test"])
    return Mnist(**parts)


def _read_npy(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, packed_size: int, *, is_images: bool
) -> npt.NDArray[Any]:
    """Return an array of images or labels, once its header has been judged."""
    # The other methods pack a bomb tighter than a bound on deflate tells.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"arrays must be stored or deflated; got zip's method {info.compress_type}."
        )
    with archive.open(info) as member:
        stream = cast("BinaryIO", member)
        with _naming("the .npy header"):
            # A header of version 2 may be 4 GiB long; NumPy writes 1 for all plain arrays.
            version = npy.read_magic(stream)
            if version != (1, 0):
                raise ValueError(f"the version must be 1.0; got {version[0]}.{version[1]}.")
            shape, is_fortran, dtype = npy.read_array_header_1_0(stream)
        _check_layout(shape, dtype, is_images)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
        header_size = member.tell()
        _check_holds(n_bytes + header_size, packed_size, is_deflated=is_deflated)
        entries = _read_exactly(stream, n_bytes).view(dtype)
    return entries.reshape(shape, order="F" if is_fortran else "C")


def _check_layout(shape: tuple[int, ...], dtype: np.dtype[Any], is_images: bool) -> None:
    if is_images:
        is_right = dtype == np.uint8 and shape[1:] in ((_SIDE, _SIDE), (_N_PIXELS,))
        wanted = f"uint8 of shape (n, {_SIDE}, {_SIDE}) or (n, {_N_PIXELS})"
    else:
        is_right = dtype.kind in "iu" and len(shape) == 1
        wanted = "integers of shape (n,)"
    if not is_right:
        raise ValueError(f"the array must hold {wanted}; got {dtype} of shape {shape}.")
    _check_n(shape[0])


# --- OpenML -----------------------------------------------------------------------------------


def _from_openml() -> Mnist:
    try:
        bunch = _fetch()
    except (OSError, ValueError, EOFError, HTTPException) as error:
        raise OSError(
            f"MNIST could not be had from OpenML ({error}); load it from a folder instead, with "
            f"the IDX files {', '.join(_IDX_NAMES.values())} or mnist.npz."
        ) from error
    with _naming("OpenML's mnist_784"):
        shape = np.shape(bunch.data)
        if len(shape) != 2 or shape[1] != _N_PIXELS or shape[0] <= _N_OPENML_TRAIN:
            raise ValueError(
                f"rows must be more than {_N_OPENML_TRAIN}, of {_N_PIXELS} pixels; got {shape}."
            )
        X = np.ascontiguousarray(bunch.data).astype(np.uint8)
        if not np.array_equal(X, bunch.data):
            raise ValueError("pixels must be integers from 0 to 255; others are among them.")
        y = _digits(np.asarray(bunch.target).astype(np.int64))
        _check_as_many(X, y)
    n = _N_OPENML_TRAIN
    return Mnist(X[:n], y[:n], X[n:], y[n:])


def _fetch() -> Any:
    """Return what scikit-learn has or gets of MNIST."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_SECONDS if before is None else before)
    try:
        with warnings.catch_warnings():
            # The error itself follows, if the second try fails too.
            warnings.filterwarnings("ignore", message="A network error occurred")
            return fetch_openml(
                "mnist_784",
                version=1,
                as_frame=False,
                parser="pandas" if find_spec("pandas") else "liac-arff",  # minutes against seconds
                n_retries=1,
                delay=0.1,
            )
    finally:
        socket.setdefaulttimeout(before)


# --- what all files are held to ---------------------------------------------------------------


@contextmanager
def _naming(subject: Any) -> Iterator[None]:
    """Tell whatever is wrong within as a ValueError that begins with the subject.

    What hostile bytes draw from gzip, zipfile and NumPy's parser of headers has no common type.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{subject}: {error or type(error).__name__}") from error


def _check_n(n: int) -> None:
    if not 1 <= n <= _MAX_IMAGES:
        raise ValueError(f"there must be 1 to {_MAX_IMAGES:,} entries; the header says {n:,}.")


def _check_holds(n_bytes: int, packed_size: int, *, is_deflated: bool) -> None:
    """Refuse a header that promises more or fewer bytes than can be there."""
    if is_deflated and n_bytes > packed_size * _MAX_DEFLATE_RATIO:
        raise ValueError(
            f"the header promises {n_bytes:,} bytes; {packed_size:,} packed ones cannot hold them."
        )
    if not is_deflated and n_bytes != packed_size:
        raise ValueError(
            f"there must be {n_bytes:,} bytes, as the header says; there are {packed_size:,}."
        )


def _read_exactly(stream: BinaryIO, n_bytes: int) -> ByteArray:
    """Return the next bytes, which must be the last ones; no more of them are unpacked."""
    entries = np.empty(n_bytes, dtype=np.uint8)
    filled = 0
    while filled < n_bytes:
        piece = stream.read(min(_CHUNK, n_bytes - filled))
        if not piece:
            raise ValueError(f"the header promises {n_bytes:,} bytes; they end after {filled:,}.")
        entries[filled : filled + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        filled += len(piece)
    if stream.read(1):  # at the end of a stream this also compares its checksum
        raise ValueError(f"the header promises {n_bytes:,} bytes; more follow.")
    return entries


def _digits(labels: npt.NDArray[Any]) -> LabelArray:
    if labels.min() < 0 or labels.max() >= _N_DIGITS:
        raise ValueError(
            f"labels must be 0 to {_N_DIGITS - 1}; they are {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64)


def _check_as_many(X: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    if len(X) != len(y):
        raise ValueError(f"there must be a label for each image; got {len(y)} for {len(X)}.")
