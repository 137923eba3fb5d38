"""Loaders of public files: right bytes read rightly, wrong ones refused by name, mirrors tried in their order."""

import functools
import gzip
import hashlib
import http.server
import os
import re
import struct
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import data
from ml_course.data import images, published
from ml_course.data.sources import File, Source, check, locate

NAMED = os.environ.get("ML_COURSE_DATA")
NUMBERS = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}  # as `struct` calls them


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data but what the test makes, and no wait before a mirror is asked again."""
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setenv("ML_COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ML_COURSE_DATA", raising=False)


@pytest.fixture
def real(request) -> Path:
    """The folder of real files: what ML_COURSE_DATA names, or the one beside the repository."""
    for folder in (Path(NAMED) if NAMED else None, Path(__file__).resolve().parents[3] / "shared" / "data"):
        if folder and (folder / request.param).is_dir():
            return folder
    pytest.skip(f"no real {request.param} here: name the folder around it in ML_COURSE_DATA")


def only(name: str):
    return pytest.mark.parametrize("real", [name], indirect=True)


def idx(kind: int, shape: tuple[int, ...], numbers: list) -> bytes:
    """An IDX file written by hand."""
    return struct.pack(f">BBBB{len(shape)}I{len(numbers)}{NUMBERS[kind]}", 0, 0, kind, len(shape), *shape, *numbers)


def source_of(name: str, contents: dict[str, bytes], *mirrors: str) -> Source:
    """A published data set whose files are these bytes."""
    files = {file: File(len(text), hashlib.sha256(text).hexdigest()) for file, text in contents.items()}
    return Source(name, files, mirrors)


def put(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in contents.items():
        (folder / file).write_bytes(text)
    return folder


# The formats.


@settings(deadline=None)
@given(drawn=st.data(), packed=st.booleans())
def test_idx_of_every_kind_is_read_as_it_was_written(drawn, packed, tmp_path_factory):
    kind = drawn.draw(st.sampled_from(sorted(NUMBERS)))
    shape = tuple(drawn.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    width = {0x08: (0, 255), 0x09: (-128, 127), 0x0B: (-(2**15), 2**15 - 1)}.get(kind, (-(2**31), 2**31 - 1))
    size = int(np.prod(shape))
    number = st.floats(width=32, allow_nan=False) if kind >= 0x0D else st.integers(*width)
    numbers = drawn.draw(st.lists(number, min_size=size, max_size=size))
    content = idx(kind, shape, numbers)
    path = tmp_path_factory.mktemp("idx") / "numbers"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = data.read_idx(path)
    assert found.shape == shape and found.ravel().tolist() == numbers
    assert found.dtype.isnative and found.dtype.itemsize == struct.calcsize(NUMBERS[kind])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (idx(0x08, (2, 3), [0] * 6)[:-1], r"truncated or altered: 17 bytes unpacked, expected 18 for shape \(2, 3\)"),
        (idx(0x08, (2, 3), [0] * 6) + b"\0", "19 bytes unpacked, expected 18"),
        (idx(0x08, (2, 3), [0] * 6)[:6], "6 bytes unpacked"),
        (gzip.compress(idx(0x08, (2, 3), [0] * 6), mtime=0)[:-9], "gzip cannot unpack it"),
        (b"\x1f\x8b\x07 this is no gzip", "gzip cannot unpack it"),
        (b"<html>not found</html>", "no IDX file: it begins with 3c 68 74 6d"),
        (b"", "no IDX file: it begins with nothing"),
        (b"\0\0\x07\x01\0\0\0\0", "no IDX file"),
    ],
)
def test_what_is_no_whole_idx_file_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "digits-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"digits-idx3-ubyte.*{says}") as error:
        data.read_idx(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("packed", [False, True])
def test_text_files_are_read_whole(tmp_path, packed):
    content = "Ёжик\r\nand\rGrüße\n".encode()
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert data.text_file(path) == "Ёжик\nand\nGrüße\n"
    path.write_bytes("café".encode("latin-1"))
    assert data.text_file(path, "latin-1") == "café"
    with pytest.raises(ValueError, match=r"text is not utf-8: byte 0xe9 at 3; name its encoding"):
        data.text_file(path)
    path.write_bytes(gzip.compress(content, mtime=0)[:-4])
    with pytest.raises(ValueError, match="text is truncated or altered: gzip cannot unpack it"):
        data.text_file(path)


def test_labelled_sentences_number_the_classes_in_the_order_given(tmp_path):
    (tmp_path / "a").write_text("one\n\n  two  \n")
    (tmp_path / "b").write_text("three\u2028still three")  # a line ends at \n alone
    found = data.labelled_sentences({"first": tmp_path / "a", "second": tmp_path / "b"})
    assert found.texts == ("one", "two", "three\u2028still three")
    assert found.labels.tolist() == [0, 0, 1] and found.classes == ("first", "second") and len(found) == 3
    assert found.rows(np.array([False, True, True])).texts == ("two", "three\u2028still three")
    assert found.rows(np.array([2, 0])).labels.tolist() == [1, 0]


def test_parallel_text_keeps_its_lines_together(tmp_path):
    (tmp_path / "en").write_text("a dog\n\nthree\nfour\n")
    (tmp_path / "de").write_bytes(gzip.compress(b"ein Hund\nzwei\ndrei\nvier"))
    pairs = data.parallel_text(tmp_path / "en", tmp_path / "de")
    assert list(pairs) == [("a dog", "ein Hund"), ("three", "drei"), ("four", "vier")] and len(pairs) == 3
    assert len(data.parallel_text(tmp_path / "en", tmp_path / "de", limit=2)) == 1
    (tmp_path / "de").write_text("ein Hund\n")
    with pytest.raises(ValueError, match=r"en has 4 lines, .*de 1: expected as many"):
        data.parallel_text(tmp_path / "en", tmp_path / "de")
    with pytest.raises(ValueError, match="sources has 1 texts, targets 2"):
        data.Pairs(("a",), ("b", "c"))


# Where files come from.

CONTENT = {"small.txt": b"a small file, but a right one\n"}


class Server(http.server.SimpleHTTPRequestHandler):
    """Remembers what was asked for; may cut a file short and say it is whole, or call a .gz file an encoding."""

    asked: list[str]
    cut = 0

    def end_headers(self):
        if self.path.endswith(".gz") and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")  # and then clients unpack it
        super().end_headers()

    def log_message(self, *_):
        self.asked.append(self.path)

    def do_GET(self):
        if not self.cut:
            return super().do_GET()
        content = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: -self.cut])


@pytest.fixture
def serve(tmp_path):
    """Starts a mirror with these files; gives its address and the list of what was asked for."""
    running = []

    def start(contents: dict[str, bytes], cut: int = 0) -> tuple[str, list[str]]:
        folder = put(tmp_path / f"mirror{len(running)}", contents)
        handler = type("Mirror", (Server,), {"asked": [], "cut": cut})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/", handler.asked

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_file_is_downloaded_once_and_then_kept(serve, tmp_path, capsys):
    address, asked = serve(CONTENT)
    source = source_of("tiny", CONTENT, address)
    path = locate(source, "small.txt")
    assert path == tmp_path / "cache" / "tiny" / "small.txt" and path.read_bytes() == CONTENT["small.txt"]
    assert "100%" in capsys.readouterr().err  # the progress
    assert locate(source, "small.txt") == path and len(asked) == 1


def test_a_packed_file_arrives_packed(serve):
    contents = {"numbers.gz": gzip.compress(idx(0x08, (3,), [1, 2, 3]))}
    source = source_of("tiny", contents, serve(contents)[0])
    assert data.read_idx(locate(source, "numbers.gz")).tolist() == [1, 2, 3]


def test_the_next_mirror_helps_when_one_is_dead_altered_or_cut_short(serve):
    altered, asked_altered = serve({"small.txt": b"a small file, but a wrong one\n"})
    missing, _ = serve({})
    cut, asked_cut = serve(CONTENT, cut=5)
    good, asked_good = serve(CONTENT)
    source = source_of("tiny", CONTENT, "http://127.0.0.1:9/", altered, missing, cut, good)
    assert locate(source, "small.txt").read_bytes() == CONTENT["small.txt"]
    assert len(asked_altered) == len(asked_cut) == 2 and len(asked_good) == 1  # each bad one was asked twice


def test_when_no_mirror_helps_one_line_says_what_each_did(serve, tmp_path):
    altered, missing, cut = (
        serve({"small.txt": b"?" * 30})[0],
        serve({})[0],
        serve(CONTENT, cut=5)[0],
    )
    source = source_of("tiny", CONTENT, "http://127.0.0.1:9/", altered, missing, cut)
    with pytest.raises(FileNotFoundError) as error:
        locate(source, "small.txt")
    said = str(error.value)
    for phrase in ("small.txt is not here", "no connection", "sent an altered file", "answered 404", "broke off"):
        assert phrase in said
    assert "ML_COURSE_DATA" in said and str(tmp_path / "cache" / "tiny") in said and "\n" not in said
    assert not list((tmp_path / "cache" / "tiny").iterdir())  # nothing half done is left


def test_a_folder_given_comes_before_the_named_one_and_that_before_the_cache(tmp_path, monkeypatch):
    source = source_of("tiny", CONTENT)
    kept = put(tmp_path / "cache" / "tiny", CONTENT)
    assert locate(source, "small.txt") == kept / "small.txt"
    own = put(tmp_path / "own" / "tiny", CONTENT)
    monkeypatch.setenv("ML_COURSE_DATA", str(tmp_path / "own"))
    assert locate(source, "small.txt") == own / "small.txt"
    flat = put(tmp_path / "flat", CONTENT)
    assert locate(source, "small.txt", flat) == flat / "small.txt"
    assert locate(source, "small.txt", str(tmp_path / "own")) == own / "small.txt"
    with pytest.raises(FileNotFoundError, match=r"small.txt is not in .*empty, nor in tiny/ there: copy it there"):
        locate(source, "small.txt", tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT["small.txt"][:-1], "is truncated: 29 bytes, expected 30; delete it and fetch it anew"),
        (CONTENT["small.txt"] + b"!", "is altered: 31 bytes, expected 30"),
        (CONTENT["small.txt"].replace(b"right", b"wrong"), r"is altered: its SHA-256 is \w{12}…, expected \w{12}…"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "environment", "cache"])
def test_a_truncated_or_altered_file_is_refused_by_name(tmp_path, monkeypatch, place, content, says):
    source = source_of("tiny", CONTENT)
    here = put(tmp_path / ("cache" if place == "cache" else "own") / "tiny", {"small.txt": content})
    if place == "environment":
        monkeypatch.setenv("ML_COURSE_DATA", str(here.parent))
    with pytest.raises(ValueError, match=rf"small\.txt {says}"):
        locate(source, "small.txt", here if place == "folder" else None)


def test_every_published_set_has_lengths_sums_and_mirrors():
    for name, source in vars(published).items():
        if isinstance(source, Source):
            assert source.mirrors and all(re.fullmatch(r"https?://.+/", mirror) for mirror in source.mirrors), name
            assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.size > 0 for file in source.files.values())


# MNIST's form, with a small set of the test's own.


def tiny_mnist(train: int | None, test: int) -> dict[str, bytes]:
    contents = {}
    for part, count in (("train", train), ("t10k", test)):
        if count is not None:
            pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28))
            contents |= {
                f"{part}-images-idx3-ubyte.gz": gzip.compress(idx(8, (count, 28, 28), pixels.ravel().tolist())),
                f"{part}-labels-idx1-ubyte.gz": gzip.compress(idx(8, (count,), [i % 10 for i in range(count)])),
            }
    return contents


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_of_both_parts(monkeypatch, tmp_path, name):
    contents = tiny_mnist(12, 5)
    monkeypatch.setattr(images, name.upper(), source_of("any", contents))
    parts = getattr(data, name)(put(tmp_path / "files", contents))
    assert parts.train.pixels.shape == (12, 1, 28, 28) and parts.test.pixels.shape == (5, 1, 28, 28)
    wanted = np.random.default_rng(12).integers(0, 256, (12, 28, 28))
    assert parts.train.pixels.dtype == np.float32 and np.array_equal((parts.train.pixels[:, 0] * 255).round(), wanted)
    assert parts.train.labels.tolist() == [i % 10 for i in range(12)] and parts.train.labels.dtype == np.int64
    assert len(set(parts.train.classes)) == 10 and parts.test.classes == parts.train.classes


def test_the_test_part_alone_is_split_by_a_fixed_rule(monkeypatch, tmp_path):
    contents = tiny_mnist(7, 20)
    monkeypatch.setattr(images, "MNIST", source_of("mnist", contents))
    alone = {file: text for file, text in contents.items() if file.startswith("t10k")}
    put(tmp_path / "mnist", alone)
    monkeypatch.setenv("ML_COURSE_DATA", str(tmp_path))
    parts = data.mnist()
    pixels = np.random.default_rng(20).integers(0, 256, (20, 28, 28))
    assert np.array_equal((parts.test.pixels[:, 0] * 255).round(), pixels[::5])
    assert len(parts.train.labels) == 16 and len(parts.test.labels) == 4


def test_mnist_without_a_file_or_network_says_so_in_one_line(monkeypatch, tmp_path):
    source = Source("mnist", published.MNIST.files, ("http://127.0.0.1:9/",))
    monkeypatch.setattr(images, "MNIST", source)
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.gz is not here .*127.0.0.1:9: no connection"):
        data.mnist()


def test_mnist_may_be_unpacked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 28, 28))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(8, (10, 28, 28), pixels.ravel().tolist()))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(8, (10,), list(range(10))))
    parts = data.mnist(tmp_path)
    assert np.array_equal((parts.test.pixels[:, 0] * 255).round(), pixels[::5]) and parts.test.labels.tolist() == [0, 5]
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(8, (10, 28, 28), pixels.ravel().tolist())[:-1])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.* truncated or altered"):
        data.mnist(tmp_path)


def test_split_takes_images_and_texts_and_keeps_equal_ones_together():
    pixels = np.zeros((6, 1, 2, 2), np.float32)
    pixels[:, 0, 0, 0] = [0, 1, 2, 0, 1, 2]
    parts = data.split(data.Images(pixels, np.arange(6)), 0.34)
    assert sorted(np.concatenate([parts.train.labels, parts.test.labels])) == list(range(6))
    assert len({label % 3 for label in parts.test.labels.tolist()}) == 1 and len(parts.test.labels) == 2
    sentences = data.LabelledTexts(("a", "b", "a", "c"), np.arange(4))
    parts = data.split(sentences, 0.34)
    assert len(parts.test) in (1, 2) and not set(parts.train.texts) & set(parts.test.texts)
    parts = data.split(data.Pairs(("a", "b", "a"), ("1", "2", "3")), 0.5)
    assert {len(parts.train), len(parts.test)} == {1, 2}


# The real files, where they are.


@only("mnist")
def test_real_mnist(real):
    parts = data.mnist(real)
    assert parts.train.pixels.shape == (8000, 1, 28, 28) and parts.test.pixels.shape == (2000, 1, 28, 28)
    packed = (real / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    by_hand = np.frombuffer(gzip.decompress(packed)[16:], np.uint8).reshape(10_000, 28, 28)
    assert np.array_equal((parts.test.pixels[:, 0] * 255).round(), by_hand[::5])
    labels = gzip.decompress((real / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert parts.test.labels.tolist() == list(labels[::5])
    counts = np.bincount(np.concatenate([parts.train.labels, parts.test.labels]))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as published
    ink = parts.train.pixels[parts.train.labels == 0].mean(axis=0)[0]
    assert ink[14, 14] < 0.1 < ink[14, 7]  # a zero is hollow


@only("rt-polarity")
def test_real_rt_polarity(real):
    reviews = data.rt_polarity(real)
    assert len(reviews) == 10_662 and np.bincount(reviews.labels).tolist() == [5331, 5331]
    lines = (real / "rt-polarity" / "rt-polarity.pos").read_bytes().split(b"\n")
    assert reviews.texts[5331] == lines[0].decode("latin-1").strip()
    assert any("é" in text for text in reviews.texts)


@only("tinyshakespeare")
def test_real_tinyshakespeare(real):
    text = data.tinyshakespeare(real)
    assert len(text) == 1_115_394 and text.startswith("First Citizen:\n") and len(set(text)) == 65


@only("multi30k")
def test_real_multi30k(real):
    parts = data.multi30k(real)
    assert {name: len(pairs) for name, pairs in parts.items()} == {"train": 29_000, "validation": 1_014, "test": 1_000}
    assert next(iter(parts["train"])) == (
        "Two young, White males are outside near many bushes.",
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    )
    back = data.multi30k(real, source="de", target="en", limit=100)
    assert back["train"].sources == parts["train"].targets[:100]
    with pytest.raises(ValueError, match="target = 'fr', expected 'en' or 'de'"):
        data.multi30k(real, target="fr")


@only("mnist")
def test_the_sums_are_those_of_the_list_beside_the_files(real):
    listed = dict(reversed(line.split()) for line in (real / "SHA256SUMS").read_text().splitlines())
    for source in (published.MNIST, published.RT_POLARITY, published.TINYSHAKESPEARE, published.MULTI30K):
        for file, expected in source.files.items():
            if (sum_ := listed.get(f"{source.name}/{file}")) is not None:
                assert sum_ == expected.sha256
                check(real / source.name / file, expected)
