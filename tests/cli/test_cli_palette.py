"""``kmq palette``, ``kmq encode --palette`` and what else steers a palette on the command line."""

import json

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import main

WHITE_AND_ORANGE = [[255, 255, 255], [255, 136, 0]]


def samples(seed=0, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(samples(seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def photo(photos):
    return photos / "0.png"


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def run(*arguments):
    return main([str(argument) for argument in arguments])


# --- kmq palette ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["theme.kmqpal", "theme.gpl", "theme.act", "theme.json"])
def test_palette_of_a_folder_is_that_of_all_its_pictures(photos, tmp_path, name, capsys):
    assert run("palette", photos, "-k", "7", "-o", tmp_path / name) == 0
    histogram = kmq.ColorHistogram.from_pictures(sorted(photos.iterdir()))
    expected = kmq.fit_palette(histogram, 7)
    assert np.array_equal(kmq.read_palette(tmp_path / name), expected)
    line, *shown = capsys.readouterr().out.splitlines()
    whole = kmq.quantize(
        np.concatenate([samples(seed) for seed in range(3)]), palette=expected, space="rgb"
    )
    assert line.startswith(
        f"{tmp_path / name}: 7 colours for 3 pictures, RGB, "
        f"{histogram.n_colors:,} distinct among 1,800 pixels, {whole.report.psnr:.2f} dB, "
    )
    counts = np.bincount(whole.indices.ravel(), minlength=7)
    assert " ".join(shown).split() == [
        word
        for color, count in zip(expected.tolist(), counts, strict=True)
        for word in (bytes(color).hex(), f"{count / 1800:.2%}")
    ]


def test_palette_without_a_file(photo, tmp_path, capsys):
    assert main(["palette", str(photo), "-k", "3"]) == 0
    assert capsys.readouterr().out.startswith("3 colours for 1 picture, RGB")
    assert names(tmp_path) == []


def test_a_palette_is_sorted_by_share_where_that_is_asked_for(photo, capsys):
    assert main(["palette", str(photo), "-k", "5", "--json"]) == 0
    by_color = json.loads(capsys.readouterr().out)
    assert main(["palette", str(photo), "-k", "5", "--json", "--sort", "share"]) == 0
    by_share = json.loads(capsys.readouterr().out)
    pairs = sorted(zip(by_color["counts"], by_color["hex"], strict=True), key=lambda pair: -pair[0])
    assert list(zip(by_share["counts"], by_share["hex"], strict=True)) == pairs
    assert by_share["hex"] != by_color["hex"]
    assert main(["palette", str(photo), "-k", "5", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["palette", str(photo), "--quiet", "--json"]) == 2


def test_palette_hands_on_what_it_shall_be_like(photo, tmp_path):
    options = ["--space", "oklab", "--channel-weights", "1,2,1", "--posterize", "6", "--snap"]
    fixed = ["--fixed", "white", "--fixed", "ff8800"]
    effort = ["--effort", "fast", "--threads", "1"]
    output = tmp_path / "theme.hex"
    assert run("palette", photo, "-k", "9", *options, *fixed, *effort, "-o", output) == 0
    expected = kmq.fit_palette(
        kmq.ColorHistogram.from_picture(photo),
        9,
        space=kmq.Space("oklab", channel_weights=(1, 2, 1)),
        require=kmq.Require(fixed=WHITE_AND_ORANGE, snap=True, posterize=6),
        effort="fast",
    )
    assert np.array_equal(kmq.read_palette(output), expected)


def test_histograms_are_kept_and_count_for_their_pictures(photos, tmp_path):
    kept, whole, again = tmp_path / "a.kmqhist", tmp_path / "whole.hex", tmp_path / "again.hex"
    assert run("palette", photos / "0.png", photos / "1.png", "--histogram", kept) == 0
    assert run("palette", photos, "-o", whole) == 0
    assert run("palette", photos / "2.png", kept, "-o", again) == 0
    assert whole.read_bytes() == again.read_bytes()


def test_grey_and_sheer_pictures_have_a_palette_together(photo, tmp_path):
    Image.fromarray(samples(5)[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([samples(6), samples(7)[..., 0]])).save(tmp_path / "sheer.png")
    output = tmp_path / "theme.kmqpal"
    pictures = photo, tmp_path / "grey.png", tmp_path / "sheer.png"
    assert run("palette", *pictures, "-k", "12", "-o", output) == 0
    assert kmq.info(output).pixel_format.label == "RGBA"


def test_a_palette_a_file_cannot_hold_is_refused_and_nothing_written(tmp_path, capsys):
    Image.fromarray(np.dstack([samples(6), samples(7)[..., 0]])).save(tmp_path / "sheer.png")
    assert run("palette", tmp_path / "sheer.png", "-o", tmp_path / "x.gpl") == 1
    assert "GIMP palettes hold RGB; colour" in capsys.readouterr().err
    assert names(tmp_path) == ["sheer.png"]


@pytest.fixture
def sprites(tmp_path):
    """A picture of 30 opaque, 20 translucent and 10 transparent pixels."""
    sprite = np.zeros((6, 10, 4), np.uint8)
    sprite[:, :, :3] = samples(5, 6, 10)
    sprite[:3, :, 3], sprite[3:5, :, 3] = 255, 90
    Image.fromarray(sprite).save(tmp_path / "sprites.png")
    return tmp_path / "sprites.png"


@pytest.mark.parametrize("suffix", [".gpl", ".pal", ".act"])
def test_a_palette_of_opaque_pixels_alone_fits_where_alpha_does_not(sprites, suffix, capsys):
    target = sprites.with_suffix(suffix)
    assert run("palette", sprites, "-k", "5", "-o", target) == 1
    assert "--opaque leaves out pixels that are not opaque" in capsys.readouterr().err
    assert run("palette", sprites, "-k", "5", "-o", target, "--opaque") == 0
    out, err = capsys.readouterr()
    assert err == "kmq: left out 30 pixels that are not opaque, 50.00% of all\n"
    assert out.startswith(f"{target}: 5 colours for 1 picture, RGB, 30 distinct among 30 pixels")
    opaque = np.asarray(Image.open(sprites))[:3, :, :3]
    expected = kmq.fit_palette(kmq.ColorHistogram.from_picture(opaque), 5)
    assert np.array_equal(kmq.read_palette(target), expected)


def test_opaque_leaves_opaque_pictures_alone_and_needs_a_pixel(photo, tmp_path, capsys):
    assert run("palette", photo, "-k", "5", "--opaque") == 0
    assert capsys.readouterr().err == ""
    Image.new("LA", (3, 3)).save(tmp_path / "clear.png")
    assert run("palette", tmp_path / "clear.png", "--opaque") == 1
    assert "no pixel is opaque" in capsys.readouterr().err


def test_palette_as_json_is_a_palette_file(photo, tmp_path, capsys):
    assert run("palette", photo, "-k", "6", "--json") == 0
    shown = capsys.readouterr().out
    found = json.loads(shown)
    palette = kmq.fit_palette(kmq.ColorHistogram.from_picture(photo), 6)
    image = kmq.quantize(photo, palette=palette, space="rgb")
    assert found["palette"] == image.palette.tolist()
    assert found["hex"] == [bytes(entry).hex() for entry in found["palette"]]
    assert found["counts"] == np.bincount(image.indices.ravel()).tolist()
    assert found["shares"] == [count / 600 for count in found["counts"]]
    assert (found["n_pictures"], found["n_pixels"], found["n_distinct"]) == (1, 600, 600)
    assert found["psnr"] == pytest.approx(image.report.psnr)
    (tmp_path / "x.json").write_text(shown)
    assert np.array_equal(kmq.read_palette(tmp_path / "x.json"), image.palette)
    assert run("palette", photo, "-k", "600", "--json") == 0
    assert json.loads(capsys.readouterr().out)["psnr"] is None


def test_every_bad_picture_is_named_and_nothing_written(photos, tmp_path, capsys):
    (photos / "9.png").write_text("no picture")
    missing = tmp_path / "missing.png"
    output, kept = tmp_path / "x.gpl", tmp_path / "x.kmqhist"
    assert run("palette", photos, missing, "-o", output, "--histogram", kept) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "9.png is not a picture" in captured.err
    assert f"{missing}: No such file" in captured.err
    assert "nothing is written: 2 of 5 pictures cannot be used" in captured.err
    assert names(tmp_path) == []


def test_only_bad_pictures(tmp_path, capsys):
    assert run("palette", tmp_path / "missing.png") == 1
    assert "1 of 1 pictures cannot be used" in capsys.readouterr().err


def test_inks_and_light_do_not_mix(photo, tmp_path, capsys):
    Image.fromarray(np.dstack([samples()] * 2)[..., :4], "CMYK").save(tmp_path / "inks.tif")
    assert run("palette", photo, tmp_path / "inks.tif") == 1
    assert "inks.tif: CMYK and RGB have no pixel format in common" in capsys.readouterr().err


def test_existing_files_stay_unless_forced(photo, tmp_path, capsys):
    output = tmp_path / "theme.gpl"
    output.write_text("mine")
    assert run("palette", photo, "-o", output) == 1
    assert "exists already; --force overwrites it" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert run("palette", photo, "-k", "3", "-o", output, "--force") == 0
    assert len(kmq.read_palette(output)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "theme.aco"], "must end in the suffix of a palette: .kmq, .kmqpal"),
        (["-k", "0"], "must be a whole number from 1 to 65536, not"),
        (["--fixed", "reddish"], "'reddish' is not a colour"),
        (["--channel-weights", "1,0,1"], "must be a number above 0, not"),
        (["--posterize", "17"], "must be a whole number from 1 to 16, not '17'"),
        (["--page", "0"], "must be a whole number from 1 to 65536, not"),
        (["--space", "xyz"], "invalid choice"),
    ],
)
@pytest.mark.parametrize("command", ["palette", "encode"])
def test_misuse_is_told_at_once(photo, tmp_path, command, arguments, sentence, capsys):
    if command == "encode" and "-o" in arguments:
        return
    assert run(command, photo, *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert names(tmp_path) == []


def test_a_histogram_has_its_suffix(photo, tmp_path, capsys):
    assert run("palette", photo, "--histogram", tmp_path / "colours.json") == 2
    assert "does not end in .kmqhist" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_an_error_that_is_not_reached_is_told(photo, capsys):
    assert run("encode", photo, "--max-mse", "1", "--max-colors", "3") == 0
    assert ", above the 1 asked for)" in capsys.readouterr().out


def test_background_is_none_of_many_pictures(photo, capsys):
    assert run("palette", photo, "--fixed", "background") == 1
    assert "the background, which only a picture has" in capsys.readouterr().err


# --- kmq encode ----------------------------------------------------------------------------------


def grey_file(path, levels):
    Image.fromarray(levels.astype(np.uint8)).save(path)
    return path


def test_encode_takes_what_steers_a_palette(photo, tmp_path):
    levels = np.arange(600).reshape(20, 30) % 256
    weights = grey_file(tmp_path / "weights.png", levels)
    arguments = ["--space", "lab", "--channel-weights", "1,2,3", "--fixed", "white"]
    arguments += ["--fixed", "background", "--posterize", "5", "--snap", "--max-mse", "4000"]
    output = tmp_path / "x.kmq"
    files = ["--weights", weights, "-o", output]
    assert run("encode", photo, *arguments, *files) == 0
    expected = kmq.quantize(
        photo,
        space=kmq.Space("lab", channel_weights=(1, 2, 3)),
        require=kmq.Require(fixed=["white", "background"], snap=True, posterize=5),
        k=kmq.Fewest(max_mse=4000),
        weights=levels / 255,
    )
    assert kmq.read(output) == expected


@pytest.mark.parametrize("effort", [None, "fast", "best"])
def test_encode_maps_to_a_palette_of_a_file(photos, tmp_path, effort):
    kmq.write_palette(tmp_path / "theme.gpl", WHITE_AND_ORANGE)
    chosen = [] if effort is None else ["--effort", effort]
    assert run("encode", photos, "--palette", tmp_path / "theme.gpl", *chosen) == 0
    for seed in range(3):
        image = kmq.read(photos / f"{seed}.kmq")
        assert image == kmq.quantize(samples(seed), palette=WHITE_AND_ORANGE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-k", "3"],
        ["--psnr", "30"],
        ["--max-mse", "30"],
        ["--max-colors", "3"],
        ["--fixed", "white"],
        ["--posterize", "4"],
        ["--snap"],
        ["--weights", "x.png"],
    ],
)
def test_options_beside_a_palette_are_misuse(photo, tmp_path, arguments, capsys):
    assert run("encode", photo, "--palette", "x.gpl", *arguments) == 2
    expected = f"--palette and {arguments[0]} are both given; pixels are only mapped to a given"
    assert expected in capsys.readouterr().err
    assert names(photo.parent) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("option", ["-k", "--psnr"])
def test_max_mse_alone_says_how_many_colours(photo, option, capsys):
    assert run("encode", photo, "--max-mse", "30", option, "30") == 2
    assert f"{option} and --max-mse are both given" in capsys.readouterr().err


def test_more_fixed_colours_than_there_is_room_for(photo, capsys):
    assert run("encode", photo, "-k", "1", "--fixed", "white", "--fixed", "black") == 1
    assert "fixed has 2 colours; the palette may have at most 1" in capsys.readouterr().err


def test_a_file_that_steers_is_at_fault_once(photos, tmp_path, capsys):
    for option in ("--palette", "--weights"):
        assert run("encode", photos, option, tmp_path / "missing.gpl") == 1
        assert capsys.readouterr().err.count("No such file") == 1
    Image.fromarray(samples()).save(tmp_path / "colour.png")
    assert run("encode", photos, "--weights", tmp_path / "colour.png") == 1
    assert "colour.png is not a grey picture: colour" in capsys.readouterr().err
    assert names(photos) == ["0.png", "1.png", "2.png"]


def test_weights_of_another_size_are_refused(photo, tmp_path, capsys):
    weights = grey_file(tmp_path / "weights.png", np.full((3, 4), 255))
    assert run("encode", photo, "--weights", weights) == 1
    assert "weights have shape (3, 4); the picture has (20, 30)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.webp", "pages.tif"])
def test_pages_are_refused_or_named(tmp_path, name, capsys):
    path, output = tmp_path / name, tmp_path / "x.kmq"
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    for command in (["encode", path, "-o", output], ["palette", path], ["curve", path]):
        assert run(*command) == 1
        assert "has 2 pages or frames; kmq takes one picture: say which" in capsys.readouterr().err
        assert run(*command, "--page", "3") == 1
        assert "page is 3; the file has 2, counted from 1" in capsys.readouterr().err
    for command in (["compare", path, path], ["report", path]):
        assert run(*command) == 1
        assert "has 2 pages or frames" in capsys.readouterr().err
    assert names(tmp_path) == [name]
    assert run("encode", path, "--page", "2", "-o", output) == 0
    assert kmq.read(output).to_array()[0, 0].tolist()[:3] == [0, 0, 255]
    assert kmq.choose_k(path, k=kmq.Fewest(psnr=30), page=2) == 1
    assert kmq.error_curve(path, page=1).k.tolist() == [1]
    assert kmq.ColorHistogram.from_picture(path, page=2).n_colors == 1
    assert kmq.decode(kmq.encode(path, page=2)) == kmq.read(output)
