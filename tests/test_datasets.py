"""`load_mnist` on files made by hand, well-formed and hostile, and on MNIST where it is there."""

import doctest
import gzip
import io
import os
import socket
import struct
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkm import datasets
from fastkm.datasets import load_mnist

NAMES = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# The digits that both sets begin with, as pictures of MNIST show them.
FIRST_TRAIN, FIRST_TEST = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.fixture(scope="module")
def small():
    """Return 12 training and 5 test images of noise as (n, 28, 28), and digits."""
    rng = np.random.default_rng(3)
    return {
        "X_train": rng.integers(256, size=(12, 28, 28), dtype=np.uint8),
        "y_train": np.array([*range(10), 0, 9], dtype=np.uint8),
        "X_test": rng.integers(256, size=(5, 28, 28), dtype=np.uint8),
        "y_test": np.array([9, 0, 3, 3, 1], dtype=np.uint8),
    }


def _idx(array):
    magic = 2051 if array.ndim == 3 else 2049
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def _write_idx(folder, arrays, *, dotted=False, zipped=False, suffix=None):
    folder.mkdir(exist_ok=True)
    for part, array in arrays.items():
        name = NAMES[part].replace("-idx", ".idx") if dotted else NAMES[part]
        raw = _idx(array)
        suffix = suffix if suffix is not None else (".gz" if zipped else "")
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(raw) if zipped else raw)
    return folder


def _write_npz(path, arrays, save=np.savez):
    save(path, **{part.lower(): array for part, array in arrays.items()})
    return path.parent


def _spoil(folder, part, raw):
    """Put other bytes in place of one IDX file; return its path."""
    path = folder / NAMES[part]
    path.write_bytes(raw)
    return path


def _assert_is(mnist, arrays):
    for part, array in arrays.items():
        loaded = getattr(mnist, part)
        expected = array.reshape(len(array), -1) if part.startswith("X") else array
        np.testing.assert_array_equal(loaded, expected)
        assert loaded.dtype == (np.uint8 if part.startswith("X") else np.int64)
        assert loaded.flags.c_contiguous


# --- well-formed ------------------------------------------------------------------------------


@pytest.mark.parametrize("dotted", [False, True], ids=["dashed", "dotted"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
def test_idx_files_are_read_in_both_spellings_gzipped_or_not(small, tmp_path, dotted, zipped):
    _assert_is(load_mnist(_write_idx(tmp_path, small, dotted=dotted, zipped=zipped)), small)


@pytest.mark.parametrize(("zipped", "suffix"), [(False, ".gz"), (True, "")])
def test_bytes_not_names_say_whether_a_file_is_gzipped(small, tmp_path, zipped, suffix):
    """Browsers unpack on the way and leave the name as it is."""
    _assert_is(load_mnist(_write_idx(tmp_path, small, zipped=zipped, suffix=suffix)), small)


def test_gzip_of_several_members_is_read_to_its_end(small, tmp_path):
    _write_idx(tmp_path, small)
    raw = _idx(small["X_train"])
    _spoil(tmp_path, "X_train", gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]))
    _assert_is(load_mnist(tmp_path), small)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["mnist.npz", "digits.npz"])
def test_npz_is_read_under_any_name(small, tmp_path, save, name):
    _assert_is(load_mnist(_write_npz(tmp_path / name, small, save)), small)


def test_npz_may_hold_flat_images_fortran_order_and_any_integers(small, tmp_path):
    arrays = {
        "X_train": small["X_train"].reshape(12, 784),
        "y_train": small["y_train"].astype(">i4"),
        "X_test": np.asfortranarray(small["X_test"]),
        "y_test": small["y_test"].astype(np.int64),
    }
    _assert_is(load_mnist(_write_npz(tmp_path / "a.npz", arrays)), small)


def test_mnist_npz_goes_before_other_npz_and_idx_before_both(small, tmp_path):
    other = small | {"y_train": small["y_train"][::-1]}
    _write_npz(tmp_path / "imdb.npz", other)
    _write_npz(tmp_path / "mnist.npz", small)
    _assert_is(load_mnist(tmp_path), small)
    _write_idx(tmp_path, other)
    _assert_is(load_mnist(str(tmp_path)), other)


def test_home_is_expanded(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    _write_idx(tmp_path / "digits", small)
    _assert_is(load_mnist("~/digits"), small)


# --- not there --------------------------------------------------------------------------------


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere must be a folder"):
        load_mnist(tmp_path / "nowhere")


def test_empty_folder_says_what_it_should_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*\.npz; it holds neith"):
        load_mnist(tmp_path)


def test_missing_idx_files_are_named(small, tmp_path):
    _write_idx(tmp_path, {part: small[part] for part in ("X_train", "y_test")})
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path)
    assert "lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte." in str(caught.value)


def test_several_npz_without_mnist_are_refused(small, tmp_path):
    for name in ("a.npz", "b.npz"):
        _write_npz(tmp_path / name, small)
    with pytest.raises(ValueError, match=r"mnist\.npz or one \.npz; it holds 2"):
        load_mnist(tmp_path)


# --- hostile IDX ------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "an IDX header has 16 bytes; the file has 0"),
        (struct.pack(">II", 2051, 12), "an IDX header has 16 bytes; the file has 8"),
        (struct.pack(">4I", 2049, 12, 28, 28), "the magic number must be 2051; got 2049"),
        (struct.pack("<4I", 2051, 12, 28, 28), "the magic number must be 2051; got 50855936"),
        (struct.pack(">4I", 2051, 12, 32, 32), "28 x 28 pixels; the header says 32 x 32"),
        (struct.pack(">4I", 2051, 12, 784, 1), "28 x 28 pixels; the header says 784 x 1"),
        (struct.pack(">4I", 2051, 0, 28, 28), "1 to 1,000,000 entries; the header says 0"),
        (struct.pack(">4I", 2051, 2**32 - 1, 28, 28), "the header says 4,294,967,295"),
    ],
)
def test_idx_header_that_is_wrong_is_told_with_the_file(small, tmp_path, raw, told, pack):
    path = _spoil(_write_idx(tmp_path, small), "X_train", pack(raw))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        load_mnist(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("change", [-1, 1, -784, 784])
@pytest.mark.parametrize(
    ("pack", "told"),
    [
        (bytes, r"there must be 9,424 bytes, as the header says; there are \d"),
        (gzip.compress, r"the header promises 9,408 bytes; (they end after \d|more follow)"),
    ],
    ids=["plain", "gzipped"],
)
def test_idx_of_another_length_than_its_header_says_is_refused(small, tmp_path, change, pack, told):
    raw = _idx(small["X_train"])
    raw = raw[:change] if change < 0 else raw + bytes(change)
    path = _spoil(_write_idx(tmp_path, small), "X_train", pack(raw))
    with pytest.raises(ValueError, match=told) as caught:
        load_mnist(tmp_path)
    assert str(path) in str(caught.value)


def _peak_of_refusal(folder):
    """Return the peak memory in bytes of a load that must be refused."""
    tracemalloc.start()
    try:
        # Newer Pythons see themselves that the entries of such an archive would overlap.
        with pytest.raises(ValueError, match=r"header|Overlapped entries"):
            load_mnist(folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_nothing_is_allocated_for_a_header_that_promises_too_much(small, tmp_path, pack):
    """784 MB, of which the file holds one image."""
    raw = struct.pack(">4I", 2051, 1_000_000, 28, 28) + bytes(784)
    _spoil(_write_idx(tmp_path, small), "X_train", pack(raw))
    assert _peak_of_refusal(tmp_path) < 1e6


def test_gzip_bomb_is_not_unpacked_beyond_the_header(small, tmp_path):
    """A header of one image before 400 MB of zeros, 400 kB packed."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(struct.pack(">4I", 2051, 1, 28, 28))
        for _ in range(400):
            file.write(bytes(1_000_000))
    path = _spoil(_write_idx(tmp_path, small), "X_train", packed.getvalue())
    assert _peak_of_refusal(tmp_path) < 5e6
    with path.open("rb") as file:
        counted = _Counted(file)
        with pytest.raises(ValueError, match="more follow"):
            datasets._read_idx(counted, 2051, (28, 28))
        assert counted.n_read < 300_000  # of 400,000; a few buffers are read ahead


class _Counted(io.BufferedIOBase):
    """A file that counts the bytes read from it."""

    def __init__(self, file):
        self._file, self.n_read = file, 0

    def read(self, size=-1):
        piece = self._file.read(size)
        self.n_read += len(piece)
        return piece

    def seek(self, *place):
        return self._file.seek(*place)

    def fileno(self):
        return self._file.fileno()


def test_gzip_with_a_false_checksum_is_refused(small, tmp_path):
    packed = bytearray(gzip.compress(_idx(small["X_train"])))
    packed[-8] ^= 1
    path = _spoil(_write_idx(tmp_path, small), "X_train", bytes(packed))
    with pytest.raises(ValueError, match="CRC") as caught:
        load_mnist(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("digit", [10, 255])
def test_labels_that_are_no_digits_are_refused(small, tmp_path, digit):
    labels = small["y_test"].copy()
    labels[2] = digit
    path = _spoil(_write_idx(tmp_path, small), "y_test", _idx(labels))
    with pytest.raises(ValueError, match=f"0 to 9; they are 0 to {digit}") as caught:
        load_mnist(tmp_path)
    assert str(path) in str(caught.value)


def test_labels_must_be_as_many_as_images(small, tmp_path):
    path = _spoil(_write_idx(tmp_path, small), "y_train", _idx(small["y_train"][:-1]))
    with pytest.raises(ValueError, match=r"got 11 for 12") as caught:
        load_mnist(tmp_path)
    assert str(path) in str(caught.value)


_GOOD = _idx(np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28))


@settings(deadline=None, max_examples=150)
@given(
    start=st.integers(0, len(_GOOD)),
    n_cut=st.integers(0, 40),
    put=st.binary(max_size=40),
    is_packed_first=st.booleans(),
    is_packed=st.booleans(),
)
def test_spoilt_idx_is_read_rightly_or_refused_with_its_name(
    tmp_path_factory, start, n_cut, put, is_packed_first, is_packed
):
    """Bytes cut and put in, before or after packing: never another exception, nor other images."""
    raw = gzip.compress(_GOOD) if is_packed and is_packed_first else _GOOD
    raw = raw[:start] + put + raw[start + n_cut :]
    packed = gzip.compress(raw) if is_packed and not is_packed_first else raw
    path = tmp_path_factory.getbasetemp() / "spoilt"
    path.write_bytes(packed)
    with path.open("rb") as file:
        try:
            with datasets._naming(path):
                images = datasets._read_idx(file, 2051, (28, 28))
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome will do)
        else:
            unpacked = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
            assert _idx(images) == unpacked


# --- hostile .npz -----------------------------------------------------------------------------


def _npy_header(text, version=(1, 0)):
    text = text.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text


def _layout(shape, descr="|u1", order=False):
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"


def _write_members(folder, arrays, x_train, method=zipfile.ZIP_DEFLATED):
    """Write an .npz whose x_train.npy is these bytes; return its path."""
    path = folder / "mnist.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x_train.npy", x_train)
        for part in ("y_train", "X_test", "y_test"):
            buffer = io.BytesIO()
            np.save(buffer, arrays[part])
            archive.writestr(f"{part.lower()}.npy", buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("x_train", "told"),
    [
        (b"", "the .npy header: EOF"),
        (b"not numpy at all", "the .npy header: "),
        (_npy_header(_layout("(12, 28, 28)"), (2, 0)), "the version must be 1.0; got 2.0"),
        (_npy_header(_layout("(12, 28, 28)", "<f8")), "uint8 of shape (n, 28, 28)"),
        (_npy_header(_layout("(12, 28, 28)", "|O")), "got object of shape (12, 28, 28)"),
        (_npy_header(_layout("(12, 28)")), "got uint8 of shape (12, 28)"),
        (_npy_header(_layout("(28, 28)")), "got uint8 of shape (28, 28)"),
        (_npy_header(_layout("()")), "got uint8 of shape ()"),
        (_npy_header(_layout("(-1, 28, 28)")), "1 to 1,000,000 entries; the header says -1"),
        (_npy_header(_layout(f"({10**30}, 784)")), "1 to 1,000,000 entries"),
        (_npy_header(_layout("(1000000, 784)")) + bytes(784), "the header promises 784,000,"),
        (_npy_header(_layout("(12, 784)")) + bytes(12 * 784 - 1), "they end after 9,407"),
        (_npy_header(_layout("(12, 784)")) + bytes(12 * 784 + 1), "more follow"),
        (_npy_header("__import__('os').abort()"), "the .npy header: "),
        (_npy_header("-" * 9000 + "1"), "the .npy header: "),
        (_npy_header("(" * 9000), "the .npy header: "),
        (_npy_header(_layout("(12, 784)") + " " * 20_000), "the .npy header: "),
    ],
)
def test_npz_that_is_wrong_is_told_with_file_and_array(small, tmp_path, x_train, told):
    path = _write_members(tmp_path, small, x_train)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        load_mnist(tmp_path)
    assert str(caught.value).startswith(f"{path}: x_train: ")
    assert told in str(caught.value)


def test_stored_array_must_be_as_long_as_its_header_says(small, tmp_path):
    x_train = _npy_header(_layout("(900000, 784)")) + bytes(784)
    _write_members(tmp_path, small, x_train, zipfile.ZIP_STORED)
    assert _peak_of_refusal(tmp_path) < 1e6


def test_directory_of_an_archive_is_not_believed(small, tmp_path):
    """It says that a header's promise of 706 MB is kept, in a file of 20 kB."""
    x_train = _npy_header(_layout("(900000, 784)")) + bytes(784)
    path = _write_members(tmp_path, small, x_train, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    promised = len(x_train) - 784 + 900_000 * 784
    struct.pack_into("<II", raw, raw.index(b"PK\x01\x02") + 20, promised, promised)
    path.write_bytes(raw)
    assert _peak_of_refusal(tmp_path) < 1e6


def test_deflated_array_is_not_unpacked_beyond_its_header(small, tmp_path):
    x_train = _npy_header(_layout("(12, 784)")) + bytes(50_000_000)
    _write_members(tmp_path, small, x_train)
    assert _peak_of_refusal(tmp_path) < 5e6


def test_methods_of_packing_without_a_bound_are_refused(small, tmp_path):
    lzma = pytest.importorskip("lzma", reason="Python was built without lzma")
    assert lzma
    _write_members(tmp_path, small, b"", zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match="stored or deflated; got zip's method 14"):
        load_mnist(tmp_path)


def test_pickles_are_not_opened(small, tmp_path):
    """Labels as Python objects would run what their pickle says."""
    labels = np.array([_Trap()] * 12, dtype=object)
    path = tmp_path / "mnist.npz"
    arrays = {part.lower(): array for part, array in small.items()}
    np.savez(path, allow_pickle=True, **arrays | {"y_train": labels})
    with pytest.raises(ValueError, match=r"y_train: the array must hold integers"):
        load_mnist(tmp_path)


class _Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


@pytest.mark.parametrize("labels", [[-1, *range(9), 0, 0], [10, *range(9), 0, 0]])
def test_npz_labels_that_are_no_digits_are_refused(small, tmp_path, labels):
    _write_npz(tmp_path / "mnist.npz", small | {"y_train": np.array(labels)})
    with pytest.raises(ValueError, match=r"y_train: labels must be 0 to 9"):
        load_mnist(tmp_path)


def test_missing_arrays_are_named(small, tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=small["X_train"], y_test=small["y_test"])
    with pytest.raises(ValueError, match=r"missing: x_test\.npy, y_train\.npy"):
        load_mnist(tmp_path)


def test_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match=r"mnist\.npz: File is not a zip file"):
        load_mnist(tmp_path)


_GOOD_NPZ = io.BytesIO()
np.savez_compressed(
    _GOOD_NPZ,
    x_train=np.arange(784, dtype=np.uint8).reshape(1, 28, 28),
    y_train=[3],
    x_test=np.arange(784, dtype=np.uint8).reshape(1, 28, 28),
    y_test=[4],
)
_GOOD_NPZ = _GOOD_NPZ.getvalue()


@settings(deadline=None, max_examples=200)
@given(
    start=st.integers(0, len(_GOOD_NPZ)),
    n_cut=st.integers(0, 12),
    put=st.binary(max_size=12),
)
def test_spoilt_npz_is_read_rightly_or_refused_with_its_name(tmp_path_factory, start, n_cut, put):
    path = tmp_path_factory.getbasetemp() / "spoilt.npz"
    path.write_bytes(_GOOD_NPZ[:start] + put + _GOOD_NPZ[start + n_cut :])
    try:
        mnist = datasets._from_npz(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome will do)
    else:
        # Every array has a checksum, so what is accepted is what was written.
        np.testing.assert_array_equal(mnist.X_train[0], np.arange(784, dtype=np.uint8))
        assert (mnist.y_train.tolist(), mnist.y_test.tolist()) == ([3], [4])


# --- OpenML -----------------------------------------------------------------------------------


@pytest.fixture
def openml(monkeypatch):
    """Stand in for fetch_openml; return what it was called with, and the bunch it gives."""
    data = np.zeros((60_002, 784))
    data[:, 5] = np.arange(60_002) % 256
    bunch = SimpleNamespace(data=data, target=(np.arange(60_002) % 10).astype(str).astype(object))
    calls = []

    def fetch(name, **options):
        calls.append((name, options, socket.getdefaulttimeout()))
        if isinstance(bunch.data, Exception):
            raise bunch.data
        return bunch

    monkeypatch.setattr(datasets, "fetch_openml", fetch)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None)
    yield SimpleNamespace(calls=calls, bunch=bunch)
    socket.setdefaulttimeout(before)


def test_openml_is_asked_where_no_folder_is_named(openml):
    mnist = load_mnist()
    assert (len(mnist.X_train), len(mnist.X_test)) == (60_000, 2)
    assert mnist.X_train.dtype == np.uint8
    assert mnist.X_test[:, 5].tolist() == [60_000 % 256, 60_001 % 256]
    assert mnist.y_test.tolist() == [0, 1]
    assert mnist.y_train.dtype == np.int64
    ((name, options, _),) = openml.calls
    assert (name, options["version"], options["as_frame"]) == ("mnist_784", 1, False)


def test_openml_is_not_asked_where_a_folder_is_named(openml, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_mnist(tmp_path)
    assert openml.calls == []


def test_a_silent_network_is_given_up_and_the_default_comes_back(openml):
    openml.bunch.data = URLError("timed out")
    with pytest.raises(OSError, match=r"could not be had from OpenML.*timed out.*from a folder"):
        load_mnist()
    ((_, options, timeout),) = openml.calls
    assert timeout == 5
    assert options["n_retries"] * (timeout + options["delay"]) < 30
    assert socket.getdefaulttimeout() is None


def test_a_default_timeout_of_the_users_own_holds(openml):
    socket.setdefaulttimeout(60)
    load_mnist()
    assert openml.calls[0][2] == socket.getdefaulttimeout() == 60


@pytest.mark.parametrize(
    "error", [ValueError("md5 checksum does not match"), EOFError("ended"), TimeoutError("late")]
)
def test_whatever_openml_ends_in_is_one_kind_of_error(openml, error):
    openml.bunch.data = error
    with pytest.raises(OSError, match=str(error)):
        load_mnist()


@pytest.mark.parametrize("pixel", [0.5, -1, 256, np.nan])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_openml_pixels_must_be_bytes(openml, pixel):
    openml.bunch.data[70, 70] = pixel
    with pytest.raises(ValueError, match=r"OpenML's mnist_784: pixels must be integers"):
        load_mnist()


@pytest.mark.parametrize("shape", [(60_000, 784), (70_000, 783), (784,)])
def test_openml_rows_must_be_images(openml, shape):
    openml.bunch.data = np.broadcast_to(np.uint8(0), shape)
    with pytest.raises(ValueError, match=r"OpenML's mnist_784: rows must be more than 60000"):
        load_mnist()


def test_an_empty_cache_without_network_is_told_at_once(monkeypatch, tmp_path):
    """scikit-learn's own code, with the network's place taken by an error."""

    def no_network(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", no_network)
    with pytest.raises(OSError, match=r"could not be had from OpenML.*no network in tests"):
        load_mnist()


# --- the real one -----------------------------------------------------------------------------


def test_mnist_itself():
    named = os.environ.get("FASTKM_MNIST")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    folder = Path(named) if named else beside
    if not folder.is_dir():
        pytest.skip("no MNIST: FASTKM_MNIST is not set and ../shared/data/mnist is not there")
    mnist = load_mnist(folder)
    assert mnist.X_train.shape == (60_000, 784)
    assert mnist.X_test.shape == (10_000, 784)
    assert mnist.y_train[:10].tolist() == FIRST_TRAIN
    assert mnist.y_test[:10].tolist() == FIRST_TEST
    # The mean and deviation that everyone normalises MNIST by.
    assert mnist.X_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.X_train.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_example_prints_what_it_says():
    (example,) = (e for e in doctest.DocTestFinder(recurse=False).find(load_mnist, globs={}))
    runner = doctest.DocTestRunner()
    assert runner.run(example).attempted > 0
    assert runner.summarize(verbose=False).failed == 0
