"""A program of a user: `mypy --strict` accepts it as it stands, and a test runs it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

import kmq

pixels = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
Image.fromarray(pixels).save("photo.png")
kmq.write_palette("theme.gpl", ["red", "#00ff00"])
image = kmq.quantize("photo.png", 16)
psnr: float = image.report.psnr
kmq.quantize(Path("photo.png"), kmq.Fewest(psnr=35, max_colors=128))
kmq.quantize(pixels, 16, effort="best", space="oklab", weights=pixels[:, :, 0] > 3)
kmq.quantize(Image.new("RGB", (3, 3)), 4, mapping="dither", require=["white", (1, 2, 3)])
file = io.BytesIO(Path("photo.png").read_bytes())
kmq.quantize(file, 4, start="k-means++", pixel_format="RGB", page=1)
kmq.quantize(Path("photo.png").read_bytes(), 4, space=kmq.Space("rgb", channel_weights=(1, 2, 1)))
kmq.quantize(pixels, palette=kmq.read_palette("theme.gpl"), mapping=kmq.Dither(0.5))
kmq.quantize(pixels, palette=kmq.Palette(["#ff8800", "#123456"]))
kmq.quantize(pixels, 4, require=kmq.Require(fixed="white", snap=True, posterize=5))
kmq.quantize(pixels, 4, start=kmq.Start("random", n_init=3, seed=7, tol=0.1, max_iter=4))
kmq.quantize(pixels, 4, mapping=kmq.Rate(1), limits=kmq.Limits(pixels=100), n_threads=2)
kmq.quantize(pixels, 4, progress=lambda stage, share: None)
content: bytes = kmq.encode(pixels, size=400, method="rank", strip_height=64)
kmq.write("x.kmq", image, effort="fast")
kmq.write(io.BytesIO(), pixels, psnr=35.0)
again: kmq.IndexedImage = kmq.read("x.kmq", on_error="salvage")
kmq.decode(content)
kmq.read(content)
part = kmq.read_region("x.kmq", (0, 0, 8, 8))
facts: kmq.FileInfo = kmq.info(Path("x.kmq"))
label: str = facts.pixel_format.label
kmq.quantize(pixels, palette=Image.new("P", (3, 3)))
made = kmq.IndexedImage(np.zeros((2, 3), np.uint8), np.zeros((4, 4), np.uint8), "RGB")
kmq.IndexedImage(kmq.Palette([(1, 2, 3)], "RGB"), np.zeros((4, 4), np.uint8))
pixel_format: kmq.PixelFormat = made.pixel_format
kmq.PixelFormat("RGB")
array = np.asarray(made)
hexes: tuple[str, ...] = made.hex
made.save("x.png")
kmq.IndexedImage.open("x.png").to_pillow().copy()
palette: kmq.Palette = made.to_palette().sorted_by_share()
for color in palette:
    assert color.tolist() in palette.tolist()
kmq.write_palette("x.gpl", palette)
histogram = kmq.ColorHistogram.from_pictures(["photo.png", Path("photo.png"), pixels])
histogram.write("x.kmqhist")
both = histogram + kmq.ColorHistogram.read("x.kmqhist")
both.to_format("RGBA").write("y.kmqhist")
names: tuple[str, ...] = kmq.fit_palette(both, 8, effort="fast").hex
curve = kmq.error_curve("photo.png", 64)
knee: int = curve.knee
drawn = curve.plot
k: int = kmq.choose_k("photo.png", kmq.Fewest(max_mse=30))
points = pixels.reshape(-1, 3)
result = kmq.kmeans(points, 3, init="var-part")
labels = kmq.assign(points, result.centroids)
sums = kmq.accumulate(points, labels, 3)
model = kmq.KMeans(3).fit(points)
model.predict(points)
try:
    kmq.read("bad.kmq", limits=None)
except (kmq.FormatError, kmq.InputError, FileNotFoundError) as error:
    problem: str = str(error)
