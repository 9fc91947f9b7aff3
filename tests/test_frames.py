"""Sequences: what stands still does not flicker, and files give back what was shown."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

import kmq
from kmq.cli import main
from kmq.errors import InputError
from kmq.model.image import Pixels
from kmq.pipeline.frames import loss_of
from kmq.stages.pictures.animation import animation_bytes, read_animation


def moving(n=4, height=24, width=30, *, alpha=False):
    """A box that moves over noise."""
    random = np.random.default_rng(0)
    ground = random.integers(0, 256, (height, width, 4 if alpha else 3), np.uint8)
    if alpha:
        ground[..., 3] = 255
        ground[:5, :5] = 0
    frames = []
    for step in range(n):
        frame = ground.copy()
        frame[6:14, 3 * step : 3 * step + 8, :3] = (200 - 20 * step, 30 * step, 90)
        frames.append(frame)
    return frames


def assert_still(frames, images):
    for before, after, shown, now in zip(frames, frames[1:], images, images[1:], strict=False):
        still = (before == after).all(axis=2)
        assert still.any()
        np.testing.assert_array_equal(shown.to_array()[still], now.to_array()[still])


@pytest.mark.parametrize("mapping", [None, "dither", "ordered", "optimized", kmq.Rate(20)])
@pytest.mark.parametrize("palette", ["shared", "each", ["black", "white", "#c83060"]])
def test_what_stands_still_keeps_its_color(palette, mapping):
    frames = moving()
    given = not isinstance(palette, str)
    k = None if given else 12
    images = kmq.quantize_frames(frames, k, palette=palette, mapping=mapping)
    assert len(images) == len(frames)
    assert_still(frames, images)
    for frame, image in zip(frames, images, strict=True):
        assert image.n_colors <= (3 if given else 12)
        assert image.report.mse == pytest.approx(
            np.square(frame.astype(float) - image.to_array()).sum(axis=2).mean()
        )
        assert image.report.colors_in == len(np.unique(frame.reshape(-1, 3), axis=0))


def test_one_palette_is_that_of_all_frames_together():
    frames = moving()
    images = kmq.quantize_frames(frames, 9)
    whole = kmq.quantize(np.concatenate(frames), 9)
    for image in images:
        np.testing.assert_array_equal(image.palette, whole.palette)
    np.testing.assert_array_equal(images[0].indices, whole.indices[:24])


def test_own_palettes_follow_a_cut():
    random = np.random.default_rng(1)
    red = random.integers(0, 100, (20, 20, 3), np.uint8) + np.array([155, 0, 0], np.uint8)
    blue = random.integers(0, 100, (20, 20, 3), np.uint8) + np.array([0, 0, 155], np.uint8)
    shared = kmq.quantize_frames([red, blue], 8)
    each = kmq.quantize_frames([red, blue], 8, palette="each")
    assert each[0] == kmq.quantize(red, 8)
    np.testing.assert_array_equal(each[1].palette, kmq.quantize(blue, 8).palette)
    assert max(i.report.mse for i in each) < max(i.report.mse for i in shared)


def test_own_palettes_without_room_for_more():
    """Still pixels show all k colours, so what changes is mapped to them."""
    frames = [moving(1)[0], moving(1)[0]]
    frames[1][0, 0] = 255 - frames[1][0, 0]
    images = kmq.quantize_frames(frames, 4, palette="each")
    assert_still(frames, images)
    np.testing.assert_array_equal(images[0].palette, images[1].palette)


def test_frames_that_repeat_are_equal():
    frames = [moving(1)[0]] * 3
    for palette in ("shared", "each"):
        first, *others = kmq.quantize_frames(frames, 6, palette=palette, mapping="dither")
        assert all(other == first for other in others)


def test_frames_of_several_formats_have_the_least_common_one():
    grey = np.full((5, 6), 77, np.uint8)
    images = kmq.quantize_frames([grey, np.zeros((5, 6, 3), np.uint8), Image.new("L", (6, 5))], 4)
    assert {image.pixel_format for image in images} == {kmq.PixelFormat.RGB24}


def test_frames_may_be_one_array_a_generator_or_a_file(tmp_path):
    frames = moving()
    expected = kmq.quantize_frames(frames, 8)
    assert kmq.quantize_frames(np.stack(frames), 8) == expected
    assert kmq.quantize_frames(iter(frames), 8) == expected
    pictures = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / "clip.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True, exact=True)
    with Image.open(path) as opened:
        from_pillow = kmq.quantize_frames(opened, 8)
    for given in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        for image, other in zip(kmq.quantize_frames(given, 8), expected, strict=True):
            np.testing.assert_array_equal(image.to_array()[..., :3], other.to_array())
    for image, other in zip(from_pillow, expected, strict=True):
        np.testing.assert_array_equal(image.to_array()[..., :3], other.to_array())


def test_progress_hears_of_each_frame():
    heard = []
    kmq.quantize_frames(moving(), 4, progress=lambda stage, share: heard.append((stage, share)))
    assert heard == [("frames", share) for share in (0.25, 0.5, 0.75, 1.0)]


@pytest.mark.parametrize(
    ("frames", "error", "match"),
    [
        ([], InputError, "no frames"),
        (np.zeros((5, 6), np.uint8), TypeError, "a single ndarray"),
        (7, TypeError, "a single int"),
        (
            [np.zeros((5, 6), np.uint8), np.zeros((6, 5), np.uint8)],
            InputError,
            "frame 2 has 5 by 6",
        ),
        ([np.zeros((5, 6), np.uint8), "none.png"], OSError, "No such file"),
        (b"no picture", InputError, "not a picture"),
    ],
)
def test_frames_that_are_refused(frames, error, match):
    with pytest.raises(error, match=match):
        kmq.quantize_frames(frames, 4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 4, "mapping": "none"}, "mapping is 'none'"),
        ({"k": 4, "effort": "slow"}, "effort is 'slow'"),
    ],
)
def test_options_that_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        kmq.quantize_frames(moving(2), **options)


def test_all_frames_of_a_file_count_for_the_limit(tmp_path):
    pictures = [Image.new("L", (10, 10), 9 * step) for step in range(5)]
    path = tmp_path / "clip.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    with pytest.raises(InputError, match="5 frames of 10 x 10 pixels, 500 in all; the limit"):
        kmq.quantize_frames(path, 4, limits=kmq.Limits(pixels=400))


# Files


def shown(content):
    with Image.open(io.BytesIO(content)) as opened:
        return [
            (colored(frame), frame.info.get("duration")) for frame in ImageSequence.Iterator(opened)
        ]


def colored(picture):
    """RGBA of a Pillow image, 0 where it is transparent."""
    pixels = np.array(picture.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("palette", ["shared", "each"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("k", [7, 256])
def test_files_show_what_the_images_show(suffix, palette, alpha, k):
    images = kmq.quantize_frames(moving(alpha=alpha), k, palette=palette)
    content = animation_bytes(images, [50, 120, 20, 1000], 3, suffix)
    frames = shown(content)
    assert len(frames) == 4
    for (pixels, duration), image, expected in zip(
        frames, images, [50, 120, 20, 1000], strict=True
    ):
        np.testing.assert_array_equal(pixels, colored(image.to_pillow()), strict=True)
        assert duration == expected
    again = read_animation(io.BytesIO(content), kmq.Limits())
    assert again.durations == [50, 120, 20, 1000]
    assert again.plays == 3


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("plays", [0, 1, 2])
def test_plays_are_kept(suffix, plays):
    images = kmq.quantize_frames(moving(2), 4)
    content = animation_bytes(images, [10, 10], plays, suffix)
    assert read_animation(io.BytesIO(content), kmq.Limits()).plays == plays


def test_what_does_not_move_costs_little():
    frames = moving(8, 64, 80)
    still = animation_bytes(kmq.quantize_frames(frames, 32), [40] * 8, 0, ".gif")
    flickering = [kmq.quantize(frame, 32, mapping="dither").to_pillow() for frame in frames]
    stream = io.BytesIO()
    flickering[0].save(stream, "GIF", save_all=True, append_images=flickering[1:], duration=40)
    assert len(still) < 0.5 * len(stream.getvalue())


def vanishing(n=5, height=20, width=24):
    """Boxes on nothing: what they leave becomes transparent again."""
    random = np.random.default_rng(2)
    frames = np.zeros((n, height, width, 4), np.uint8)
    frames[:, 12:18, 3:20] = (*random.integers(0, 256, 3), 255)
    for step in range(n):
        frames[step, 2:14, 4 * step : 4 * step + 6] = (40 * step, 255 - 40 * step, 90, 255)
    return list(frames)


@pytest.mark.parametrize("lam", [0, 5])
def test_gif_files_clear_what_becomes_transparent(lam):
    frames = vanishing()
    images = kmq.quantize_frames(frames, 16)
    loss = loss_of([Pixels(frame, kmq.PixelFormat.RGBA32) for frame in frames], lam, 1)
    content = animation_bytes(images, [40] * 5, 1, ".gif", loss if lam else None)
    for (pixels, _), image in zip(shown(content), images, strict=True):
        np.testing.assert_array_equal(pixels, image.to_array())


@pytest.mark.parametrize(
    "frames",
    [
        [[1, 2, 3, 1, 0, 0], [2, 2, 3, 1, 0, 0]],
        [[1, 2, 3, 1, 1, 2], [1, 2, 3, 0, 0, 2], [1, 2, 3, 0, 0, 3]],
        [[1, 2, 3, 1, 1, 2], [3, 3, 3, 1, 1, 2], [0, 3, 0, 0, 0, 0], [0, 3, 0, 0, 1, 1]],
        [[0, 0, 0, 0, 0, 0], [0, 1, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        [[4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 0], [9, 0, 1, 1, 1, 1]],
    ],
)
@pytest.mark.parametrize("palette", ["shared", "each"])
def test_gif_files_leave_bare_what_no_frame_covers(frames, palette):
    """Also where the rectangle of no frame has a transparent pixel."""
    colors = np.random.default_rng(6).integers(0, 256, (10, 4), np.uint8)
    colors[:, 3] = 255
    colors[0] = 0
    pixels = list(colors[np.array(frames)[:, None]])
    images = kmq.quantize_frames(pixels, 16, palette=palette)
    content = animation_bytes(images, [40] * len(frames), 1, ".gif")
    for (frame, _), expected in zip(shown(content), pixels, strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_gif_files_with_all_256_colors_in_every_frame():
    """There is none left for what shows through."""
    colors = np.random.default_rng(3).integers(0, 256, (2, 256, 3), np.uint8)
    order = np.arange(256).reshape(16, 16)
    frames = [colors[0][order], colors[0][order.T], colors[1][order], colors[1][order]]
    images = kmq.quantize_frames(frames, 256, palette="each")
    assert {image.n_colors for image in images} == {256}
    for (pixels, _), frame in zip(
        shown(animation_bytes(images, [10] * 4, 1, ".gif")), frames, strict=True
    ):
        np.testing.assert_array_equal(pixels[..., :3], frame)


def noisy(n=4, height=64, width=80):
    """Smooth ground with noise that stands still but for a moving window."""
    random = np.random.default_rng(4)
    row, column = np.mgrid[:height, :width]
    ground = np.stack([2 * row, 2 * column, row + column], axis=2).astype(float)
    frames = [ground + random.normal(0, 6, ground.shape)]
    for step in range(1, n):
        frame = frames[-1].copy()
        inside = (slice(4 * step, 4 * step + 40), slice(8, 70))
        frame[inside] = ground[inside] + random.normal(0, 6, frame[inside].shape)
        frames.append(frame)
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in frames]


@pytest.mark.parametrize("palette", ["shared", "each"])
@pytest.mark.parametrize("k", [16, 256])
def test_loss_makes_gif_files_small_and_nothing_flicker(palette, k):
    frames = noisy()
    images = kmq.quantize_frames(frames, k, palette=palette)
    pixels = [Pixels(frame, kmq.PixelFormat.RGB24) for frame in frames]
    sizes, errors = [], []
    for lam in (0, 1, 8):
        loss = loss_of(pixels, lam, 1) if lam else None
        content = animation_bytes(images, [40] * 4, 0, ".gif", loss)
        pictures = [frame[..., :3].astype(int) for frame, _ in shown(content)]
        for before, frame, was, now in zip(
            frames, frames[1:], pictures, pictures[1:], strict=False
        ):
            still = (before == frame).all(axis=2)
            np.testing.assert_array_equal(was[still], now[still])
        sizes.append(len(content))
        errors.append(np.square(np.stack(pictures) - np.stack(frames)).mean())
    assert sizes[2] < 0.8 * sizes[1] < 0.8 * sizes[0]
    assert errors[0] < 1.5 * errors[2]
    assert errors[2] < 600


def test_what_a_gif_file_cannot_count():
    images = kmq.quantize_frames(moving(2), 4)
    with pytest.raises(InputError, match=r"frame 2 is shown for 700,000 ms; .* 655,350"):
        animation_bytes(images, [10, 700_000], 0, ".gif")
    with pytest.raises(InputError, match="plays is 65537"):
        animation_bytes(images, [10, 10], 65_537, ".gif")


@pytest.mark.parametrize(
    ("frame", "suffix", "match"),
    [
        (np.zeros((4, 4, 3), np.uint16), ".gif", "16 bits"),
        (np.zeros((4, 4, 3), np.uint16), ".png", "16 bits"),
        (np.full((4, 4, 4), 99, np.uint8), ".gif", "frame 1 has half-transparent pixels"),
        (np.arange(900, dtype=np.uint16).view(np.uint8).reshape(20, 30, 3), ".gif", "colours"),
    ],
)
def test_images_that_a_file_cannot_hold(frame, suffix, match):
    images = kmq.quantize_frames([frame], 600)
    with pytest.raises(InputError, match=match):
        animation_bytes(images, [10], 0, suffix)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".kmq"])
def test_images_of_several_sizes_are_no_frames(suffix, tmp_path):
    images = [kmq.quantize(frame, 4) for frame in (moving(1)[0], moving(1)[0][:4])]
    with pytest.raises(InputError, match="frame 2 has 30 by 4 pixels and the first 30 by 24"):
        kmq.write_frames(tmp_path / f"clip{suffix}", images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_cmyk_is_not_made_rgb_unasked(suffix, tmp_path):
    frames = [Image.new("CMYK", (4, 4), (9, 90, 200, 3))] * 2
    with pytest.raises(InputError, match=r"frame 1 is CMYK; .* \.kmq files both"):
        kmq.write_frames(tmp_path / f"clip{suffix}", frames)


@pytest.mark.parametrize(
    ("suffix", "delay", "match"),
    [
        (
            ".png",
            70_000_000,
            "frame 1 is shown for 70,000,000 ms; a .png file holds up to 65,535,0",
        ),
        (".webp", 17_000_000, "a .webp file holds up to 16,777,215"),
    ],
)
def test_what_other_files_cannot_count(suffix, delay, match):
    images = kmq.quantize_frames(moving(2), 4)
    with pytest.raises(InputError, match=match):
        animation_bytes(images, [delay, 10], 0, suffix)


def test_what_pillow_cannot_write_is_an_input_error():
    images = kmq.quantize_frames([np.zeros((1, 16_400, 3), np.uint8)] * 2, 4)
    with pytest.raises(InputError, match=r"the frames cannot be written as \.webp"):
        animation_bytes(images, [10, 10], 0, ".webp")


def test_messages_name_limits_to_the_last_digit():
    with pytest.raises(InputError, match=r"delays is 21474837; it must be from 0 to 21474836$"):
        kmq.write_frames(io.BytesIO(), moving(2), delays=21_474_837)


def test_images_are_stored_as_they_are_however_they_come():
    images = kmq.quantize_frames(moving(2), 100)
    for given in (dict(enumerate(images)).values(), tuple(images), iter(images)):
        stream = io.BytesIO()
        kmq.write_frames(stream, given)
        assert kmq.read_frames(stream.getvalue()) == images


def test_one_animated_file_may_be_a_file_object(clip):
    from_path, from_file = io.BytesIO(), io.BytesIO()
    kmq.write_frames(from_path, clip, 8)
    with clip.open("rb") as file:
        kmq.write_frames(from_file, file, 8)
    assert from_file.getvalue() == from_path.getvalue()
    assert kmq.info(from_file.getvalue()).plays == 2


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tagged(n=2):
    """Frames with a profile and an author."""
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    for frame in moving(n):
        picture = Image.fromarray(frame)
        picture.info |= {"icc_profile": PROFILE, "exif": exif.tobytes()}
        yield picture


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("palette", ["shared", "each"])
def test_png_and_webp_files_keep_metadata(suffix, palette, tmp_path):
    path = tmp_path / f"clip{suffix}"
    kmq.write_frames(path, tagged(), 16, palette=palette)
    with Image.open(path) as opened:
        assert opened.n_frames == 2
        assert opened.info["icc_profile"] == PROFILE
        assert opened.getexif()[0x013B] == "Ada"


def test_metadata_that_a_gif_file_lacks_are_named(tmp_path, capsys):
    left_out = r"without colour profile, EXIF \(no place in a GIF file\)"
    with pytest.warns(kmq.MetadataWarning, match=left_out):
        kmq.write_frames(tmp_path / "clip.gif", tagged(), 16)
    source, target = tmp_path / "clip.kmq", tmp_path / "out.gif"
    kmq.write_frames(source, tagged(), 16)
    for command in ("animate", "decode"):
        assert main([command, str(source), "-o", str(target), "--force"]) == 0
        assert re.search(f"warning: .*{left_out}", capsys.readouterr().err)


# The command line


@pytest.fixture
def clip(tmp_path):
    pictures = [Image.fromarray(frame) for frame in moving()]
    path = tmp_path / "clip.webp"
    times = [30, 60, 90, 120]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], lossless=True, duration=times, loop=2
    )
    return path


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animate_keeps_times_and_plays(clip, tmp_path, suffix, capsys):
    target = tmp_path / f"out{suffix}"
    assert main(["animate", str(clip), "-o", str(target), "-k", "20", "--dither"]) == 0
    assert "4 frames, 20 colours" in capsys.readouterr().out
    again = read_animation(target, kmq.Limits())
    assert (again.durations, again.plays) == ([30, 60, 90, 120], 2)
    chosen = ["--delay", "50", "--plays", "1", "--force", "--quiet", "--palette", "each"]
    assert main(["animate", str(clip), "-o", str(target), *chosen]) == 0
    again = read_animation(target, kmq.Limits())
    assert (again.durations, again.plays) == ([50] * 4, 1)
    assert capsys.readouterr().out == ""


def test_animate_says_exact_of_exact_frames(clip, tmp_path, capsys):
    assert main(["animate", str(clip), "-o", str(tmp_path / "a.kmq"), "-k", "2000"]) == 0
    assert re.search(r"colours, exact, [\d,]+ bytes", capsys.readouterr().out)


def test_animate_takes_a_folder_of_frames(tmp_path):
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(moving()):
        Image.fromarray(frame).save(tmp_path / "in" / f"{number}.png")
    assert main(["animate", str(tmp_path / "in"), "-o", str(tmp_path / "clip.gif")]) == 0
    again = read_animation(tmp_path / "clip.gif", kmq.Limits())
    assert (len(again.frames), again.durations, again.plays) == (4, [100] * 4, 0)
    assert isinstance(again.frames[0], Pixels)


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        ([], 2, "-o is missing"),
        (["-o", "clip.mp4"], 2, "animated files have"),
        (["-o", "clip"], 2, "has no suffix"),
        (["-o", "clip.gif", "--dither-method", "diffusion"], 2, "needs --dither"),
        (["-o", "clip.gif", "--dither", "--optimize"], 2, "--dither and --optimize"),
        (["-o", "clip.gif", "--dither", "--lambda", "2"], 2, "--dither and --lambda"),
        (["-o", "clip.gif", "--format", "png"], 2, "the suffix says the kind"),
        (["-o", "clip.gif", "-k", "600"], 1, "a frame of a GIF file holds 256"),
        (["-o", "clip.gif", "--max-pixels", "1000"], 1, "pixels"),
    ],
)
def test_command_lines_that_are_refused(clip, tmp_path, monkeypatch, capsys, options, code, match):
    monkeypatch.chdir(tmp_path)
    assert main(["animate", str(clip), *options]) == code
    assert match in capsys.readouterr().err
    assert not (tmp_path / "clip.gif").exists()


def test_frames_of_a_folder_are_ordered_by_what_their_numbers_count(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 9, 10, 11):
        Image.new("L", (3, 3), 20 * number).save(folder / f"frame{number}.png")
    for source in (folder, folder / "*.png"):
        target = tmp_path / "clip.kmq"
        assert main(["animate", str(source), "-o", str(target), "--force", "-q"]) == 0
        shown = [int(image.to_array()[0, 0]) for image in kmq.read_frames(target)]
        assert shown == [20, 40, 180, 200, 220]


def test_frames_are_decoded_to_files_all_or_none(tmp_path, capsys):
    kmq.write_frames(tmp_path / "clip.kmq", moving(3), 8)
    (tmp_path / "clip-3.png").write_bytes(b"mine")
    assert main(["decode", str(tmp_path / "clip.kmq"), "--frames", "-o", f"{tmp_path}/"]) == 1
    assert "clip-3.png exists already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip-3.png", "clip.kmq"]


@pytest.mark.parametrize("command", ["animate", "encode"])
def test_what_came_through_a_pipe_is_named_so(command, tmp_path, monkeypatch, capsys):
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        assert main([command, "-", "-o", str(tmp_path / "out.kmq")]) == 1
    assert capsys.readouterr().err.startswith("kmq: standard input is not a picture")


def test_animate_replaces_nothing_unasked(clip, tmp_path, capsys):
    target = tmp_path / "out.gif"
    target.write_bytes(b"mine")
    assert main(["animate", str(clip), "-o", str(target)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["animate", str(clip), "-o", str(clip)]) == 1
    assert target.read_bytes() == b"mine"


def test_animate_goes_through_pipes(clip, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(clip.read_bytes())))
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", stream)
    assert main(["animate", "-", "-k", "20", "--optimize", "--lambda", "1"]) == 0
    again = read_animation(io.BytesIO(stream.buffer.getvalue()), kmq.Limits())
    assert (again.durations, again.plays) == ([30, 60, 90, 120], 2)
    assert b"standard output: 4 frames" in capfdbinary.readouterr().err


def test_animate_skips_what_is_there(clip, tmp_path, capsys):
    target = tmp_path / "out.gif"
    target.write_bytes(b"mine")
    assert main(["animate", str(clip), "-o", str(target), "--skip-existing"]) == 0
    assert "skipped" in capsys.readouterr().out
    assert target.read_bytes() == b"mine"


def test_animate_takes_a_format_for_a_name_without_suffix(clip, tmp_path):
    assert main(["animate", str(clip), "-o", str(tmp_path / "out"), "--format", "webp"]) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["clip.webp", "out.webp"]


@pytest.mark.parametrize("cut", [0.3, 0.7])
def test_animate_refuses_what_breaks_off(clip, tmp_path, capsys, cut):
    broken, target = tmp_path / "broken.gif", tmp_path / "out.gif"
    assert main(["animate", str(clip), "-o", str(broken), "--quiet"]) == 0
    content = broken.read_bytes()
    broken.write_bytes(content[: int(cut * len(content))])
    assert main(["animate", str(broken), "-o", str(target)]) == 1
    assert "broken.gif" in capsys.readouterr().err
    assert not target.exists()
