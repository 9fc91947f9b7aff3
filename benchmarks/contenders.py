"""The one table of who is measured: kmq and its peers, each as its own users would call it.

Peers are imported by the functions that run them; one that is not installed is skipped by name.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import kmq
from kmq.model.choices import EFFORTS
from kmq.stages.coding.methods import STRIP_METHODS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Contender:
    """Who takes part.

    Attributes:
        name: what tables call it.
        package: what must be importable for it.
        run: what it does; the list that holds it says with what.
        rounds: how often it is measured; once is enough for what takes seconds.
        for_large: whether it is done with 24 megapixels in seconds.
    """

    name: str
    package: str
    run: Callable[..., Any]
    rounds: int = 7
    for_large: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Codec:
    """Who stores an indexed image.

    Attributes:
        name: what tables call it.
        package: what must be importable for it.
        encode: (image, number of threads) → bytes.
        decode: (bytes, number of threads) → anything.
        takes_threads: whether the number of threads makes a difference to it.
        rounds: how often it is measured.
    """

    name: str
    package: str
    encode: Callable[[kmq.IndexedImage, int], bytes]
    decode: Callable[[bytes, int], Any]
    takes_threads: bool = False
    rounds: int = 3

    def __str__(self) -> str:
        return self.name


# --- (height, width, 3) uint8, k → palette (k, 3) and indices (height, width) --------------------


def _kmq_quantize(pixels: Array, k: int, **options: Any) -> tuple[Array, Array]:
    image = kmq.quantize(pixels, k, **options)
    return image.palette, image.indices


def _scikit_learn(pixels: Array, k: int) -> tuple[Array, Array]:
    from sklearn.cluster import KMeans

    fit = KMeans(k, random_state=0).fit(pixels.reshape(-1, 3).astype(np.float64))
    return _rounded(fit.cluster_centers_), fit.labels_.reshape(pixels.shape[:2])


def _scikit_learn_batches(pixels: Array, k: int) -> tuple[Array, Array]:
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(k, random_state=0, n_init=3).fit(pixels.reshape(-1, 3).astype(float))
    return _rounded(fit.cluster_centers_), fit.labels_.reshape(pixels.shape[:2])


def _opencv(pixels: Array, k: int) -> tuple[Array, Array]:
    import cv2

    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0)
    points = pixels.reshape(-1, 3).astype(np.float32)
    _, labels, centres = cv2.kmeans(points, k, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    return _rounded(centres), labels.reshape(pixels.shape[:2])


def _faiss(pixels: Array, k: int) -> tuple[Array, Array]:
    import faiss

    points = pixels.reshape(-1, 3).astype(np.float32)
    fit = faiss.Kmeans(3, k, niter=25, seed=0)
    fit.train(points)
    labels = fit.index.search(points, 1)[1]
    return _rounded(fit.centroids), labels.reshape(pixels.shape[:2])


def pillow(method: str, kmeans: int, pixels: Array, k: int) -> tuple[Array, Array]:
    from PIL import Image

    picture = Image.fromarray(pixels).quantize(
        k, Image.Quantize[method], kmeans, dither=Image.Dither.NONE
    )
    palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return palette, np.asarray(picture)


def libimagequant(pixels: Array, k: int, dithering: float = 0) -> tuple[Array, Array]:
    import imagequant

    height, width, channels = pixels.shape
    if channels == 3:
        pixels = np.dstack([pixels, np.full((height, width), 255, np.uint8)])
    indices, palette = imagequant.quantize_raw_rgba_bytes(
        pixels.tobytes(), width, height, dithering_level=dithering, max_colors=k
    )
    colors = np.array(palette, np.uint8).reshape(-1, 4)[:, :channels]
    return colors, np.frombuffer(indices, np.uint8).reshape(height, width)


def _rounded(centres: Array) -> Array:
    return np.clip(np.rint(centres), 0, 255).astype(np.uint8)


QUANTIZERS = [
    *[
        Contender(
            f"kmq {effort}",
            "kmq",
            partial(_kmq_quantize, effort=effort, space="rgb"),
            for_large=True,
        )
        for effort in EFFORTS
    ],
    Contender("scikit-learn KMeans", "sklearn", _scikit_learn, rounds=1),
    Contender("scikit-learn MiniBatchKMeans", "sklearn", _scikit_learn_batches, rounds=1),
    Contender("OpenCV kmeans", "cv2", _opencv, rounds=1),
    Contender("faiss Kmeans", "faiss", _faiss, rounds=1),
    Contender("Pillow median cut", "PIL", partial(pillow, "MEDIANCUT", 0), for_large=True),
    Contender("Pillow median cut, kmeans=1", "PIL", partial(pillow, "MEDIANCUT", 1), rounds=1),
    Contender("Pillow octree", "PIL", partial(pillow, "FASTOCTREE", 0), for_large=True),
    Contender("libimagequant", "imagequant", libimagequant, rounds=3, for_large=True),
]
"""k-means by squared error, rounded, and what people use to make palettes; no dithering."""


SPACES = [
    *[
        Contender(f"kmq, {space}", "kmq", partial(_kmq_quantize, space=space))
        for space in ("eye", "rgb", "linear", "lab", "oklab")
    ],
    Contender("libimagequant", "imagequant", libimagequant),
]
"""Palettes for the eye, and for pictures with alpha, which have a fourth channel."""


# --- (height, width, 3) uint8 → number of distinct colours ---------------------------------------


def _kmq_histogram(pixels: Array) -> int:
    from kmq.stages.histogram.counting import map_colors
    from kmq.threads import resolve_threads

    color_map = map_colors(pixels, kmq.PixelFormat.RGB24, resolve_threads(None))
    return len(color_map.histogram.colors)


def _numpy_rows(pixels: Array) -> int:
    colors, _, _ = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True, return_inverse=True)
    return len(colors)


def _numpy_packed(pixels: Array) -> int:
    wide = pixels.astype(np.uint32)
    packed = wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]
    return len(np.unique(packed, return_counts=True, return_inverse=True)[0])


def _pillow_colors(pixels: Array) -> int:
    from PIL import Image

    return len(Image.fromarray(pixels).getcolors(1 << 24))


HISTOGRAMS = [
    Contender("kmq", "kmq", _kmq_histogram),
    Contender("numpy.unique, packed", "numpy", _numpy_packed, rounds=3),
    Contender("numpy.unique, rows", "numpy", _numpy_rows, rounds=1),
    Contender("Pillow getcolors, no inverse", "PIL", _pillow_colors, rounds=3),
]
"""Distinct colours, their counts, and which one each pixel shows."""


# --- points (n, d), centroids (k, d) float32 → labels (n,) ---------------------------------------


def _scikit_learn_assign(points: Array, centroids: Array) -> Array:
    from sklearn.metrics import pairwise_distances_argmin

    labels: Array = pairwise_distances_argmin(points, centroids)
    return labels


def _faiss_assign(points: Array, centroids: Array) -> Array:
    import faiss

    labels: Array = faiss.knn(points, centroids, 1)[1]
    return labels[:, 0]


def _opencv_assign(points: Array, centroids: Array) -> Array:
    import cv2

    labels: Array = cv2.batchDistance(points, centroids, cv2.CV_32F, K=1)[1]
    return labels[:, 0]


ASSIGNERS = [
    Contender("kmq", "kmq", kmq.assign, rounds=5),
    Contender("scikit-learn", "sklearn", _scikit_learn_assign, rounds=2),
    Contender("faiss", "faiss", _faiss_assign, rounds=2),
    Contender("OpenCV", "cv2", _opencv_assign, rounds=1),
]
"""Nearest centroid of each point."""


# --- points, centroids, rounds → inertia ---------------------------------------------------------


def _kmq_lloyd(points: Array, centroids: Array, n_rounds: int) -> float:
    fit = kmq.kmeans(points, len(centroids), init=centroids, max_iter=n_rounds, tol=0)
    return fit.inertia


def _scikit_learn_lloyd(points: Array, centroids: Array, n_rounds: int) -> float:
    from sklearn.cluster import KMeans

    fit = KMeans(
        len(centroids), init=centroids, n_init=1, max_iter=n_rounds, tol=0, algorithm="lloyd"
    ).fit(points)
    return float(fit.inertia_)


def _faiss_lloyd(points: Array, centroids: Array, n_rounds: int) -> float:
    import faiss

    fit = faiss.Kmeans(
        points.shape[1], len(centroids), niter=n_rounds, max_points_per_centroid=len(points)
    )
    fit.train(points, init_centroids=centroids)
    return float(fit.index.search(points, 1)[0].sum(dtype=np.float64))


def _opencv_lloyd(points: Array, centroids: Array, n_rounds: int) -> float:
    import cv2

    labels = kmq.assign(points, centroids)  # it starts from labels, not from centres
    criteria = (cv2.TERM_CRITERIA_MAX_ITER, n_rounds, 0)
    inertia, _, _ = cv2.kmeans(
        points, len(centroids), labels, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS
    )
    return float(inertia)


LLOYDS = [
    Contender("kmq", "kmq", _kmq_lloyd, rounds=3),
    Contender("scikit-learn", "sklearn", _scikit_learn_lloyd, rounds=1),
    Contender("faiss", "faiss", _faiss_lloyd, rounds=1),
    Contender("OpenCV", "cv2", _opencv_lloyd, rounds=1),
]
"""Lloyd's rounds from given centroids, and one assignment after the last."""


# --- indexed image → bytes → picture -------------------------------------------------------------


def _kmq_encode(image: kmq.IndexedImage, n_threads: int, **options: Any) -> bytes:
    return kmq.encode(image, n_threads=n_threads, **options)


def _kmq_decode(encoded: bytes, n_threads: int) -> Any:
    return kmq.decode(encoded, n_threads=n_threads)


def _png(image: kmq.IndexedImage, _n_threads: int) -> bytes:
    return _saved(image.to_pillow(), "PNG", optimize=True)


def _oxipng(image: kmq.IndexedImage, _n_threads: int) -> bytes:
    import oxipng

    alpha = np.full((image.n_colors, 1), 255, np.uint8)
    entries = np.hstack([image.palette, alpha])[:, :4].tolist()
    raw = oxipng.RawImage(
        image.indices.tobytes(),
        image.width,
        image.height,
        color_type=oxipng.ColorType.indexed(entries),
        bit_depth=8,
    )
    return bytes(raw.create_optimized_png(level=6))


def _webp(image: kmq.IndexedImage, _n_threads: int) -> bytes:
    return _saved(_direct(image), "WEBP", lossless=True, quality=100, method=6, exact=True)


def _jpeg_xl(effort: int, image: kmq.IndexedImage, n_threads: int) -> bytes:
    import imagecodecs

    return bytes(
        imagecodecs.jpegxl_encode(
            image.to_array(), lossless=True, effort=effort, numthreads=n_threads
        )
    )


def _decode_jpeg_xl(encoded: bytes, n_threads: int) -> Any:
    import imagecodecs

    return imagecodecs.jpegxl_decode(encoded, numthreads=n_threads)


def _qoi(image: kmq.IndexedImage, _n_threads: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.qoi_encode(image.to_array()))


def _decode_qoi(encoded: bytes, _n_threads: int) -> Any:
    import imagecodecs

    return imagecodecs.qoi_decode(encoded)


def _zlib(image: kmq.IndexedImage, _n_threads: int) -> bytes:
    return zlib.compress(image.indices.tobytes(), 9)


def _unzlib(encoded: bytes, _n_threads: int) -> Any:
    return zlib.decompress(encoded)


def _pillow_decode(encoded: bytes, _n_threads: int) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as picture:
        picture.load()
    return picture


def _direct(image: kmq.IndexedImage) -> Any:
    """Return a Pillow image of mode RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(image.to_array())


def _saved(picture: Any, file_type: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_type, **options)
    return stream.getvalue()


_EFFORT_OPTIONS = {f"kmq {effort}": {"effort": effort} for effort in EFFORTS}
_METHOD_OPTIONS = {f"kmq, {method.name}": {"method": method.name} for method in STRIP_METHODS}

KMQ_CODECS = [
    Codec(name, "kmq", partial(_kmq_encode, **options), _kmq_decode, takes_threads=True)
    for name, options in (_EFFORT_OPTIONS | _METHOD_OPTIONS).items()
]
"""kmq as it chooses by itself, then each of its methods."""

SMALLEST_PEERS = [
    Codec("oxipng level 6", "oxipng", _oxipng, _pillow_decode, rounds=1),
    Codec("WebP lossless, method 6", "PIL", _webp, _pillow_decode, rounds=1),
    Codec(
        "JPEG XL lossless, effort 9",
        "imagecodecs",
        partial(_jpeg_xl, 9),
        _decode_jpeg_xl,
        takes_threads=True,
        rounds=1,
    ),
]
"""The peers that sizes are held against."""

SLOWEST_PEER = Codec(
    "JPEG XL lossless, effort 10",
    "imagecodecs",
    partial(_jpeg_xl, 10),
    _decode_jpeg_xl,
    takes_threads=True,
    rounds=1,
)
"""The one that goes farthest, at a third of the speed of effort 9."""

CODECS = [
    *KMQ_CODECS,
    Codec("PNG, Pillow optimize", "PIL", _png, _pillow_decode),
    *SMALLEST_PEERS,
    SLOWEST_PEER,
    Codec("QOI", "imagecodecs", _qoi, _decode_qoi),
    Codec("zlib level 9, bare indices", "zlib", _zlib, _unzlib),
]
"""Whole files for the same palette and indices; bare zlib leaves the palette out."""


# --- lossy photographs: (height, width, 3) uint8, quality 0 to 100 → bytes -----------------------


def _lossy(file_type: str, pixels: Array, quality: int, **options: Any) -> bytes:
    from PIL import Image

    return _saved(Image.fromarray(pixels), file_type, quality=quality, **options)


LOSSY = [
    Contender("JPEG", "PIL", partial(_lossy, "JPEG", optimize=True, progressive=True), rounds=2),
    Contender("WebP", "PIL", partial(_lossy, "WEBP", method=6), rounds=2),
    Contender("AVIF", "PIL", partial(_lossy, "AVIF", speed=6), rounds=2),
]
"""What photographs at small sizes belong to."""
