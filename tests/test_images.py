import cv2
import numpy as np
import pytest
from PIL import Image

from data.folder import Folder
from data.images import image_size, read_image
from data.text import UserError

PICTURE = np.zeros((40, 60, 3), np.uint8)
PICTURE[:20, :30] = (250, 10, 10)  # red, at the upper left


@pytest.mark.parametrize("mode", ("RGB", "RGBA", "L", "P", "1", "I;16", "CMYK"))
def test_every_kind_of_image_becomes_three_channels_of_bytes(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    if mode == "I;16":
        cv2.imwrite(str(path), PICTURE[..., 0].astype(np.uint16) * 256)
    else:
        Image.fromarray(PICTURE).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    assert image[:20, :30].mean() > image[20:].mean()
    if mode in ("RGB", "RGBA", "P", "CMYK"):
        assert image[5, 5, 0] > 200 > 100 > image[5, 5, 2]


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(path, exif=exif, quality=95)
    return path


def test_a_turned_photo_arrives_the_right_way_up(tmp_path):
    path = rotated(tmp_path / "photo.jpg")
    assert image_size(path) == (60, 40)
    image = read_image(path, (60, 40))
    assert image.shape == (60, 40, 3) and image[5, 35, 0] > 200  # red, now at the upper right


def test_boxes_drawn_before_turning_get_the_photo_before_turning(tmp_path):
    image = read_image(rotated(tmp_path / "photo.jpg"), (40, 60))
    assert image.shape == (40, 60, 3) and image[5, 5, 0] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_rotated_as_a_jpeg_is(tmp_path, orientation):
    for name in ("a.jpg", "a.avif"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(PICTURE).save(tmp_path / name, exif=exif, quality=95)
    jpeg, avif = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.avif")
    assert image_size(tmp_path / "a.avif") == avif.shape[:2] == jpeg.shape[:2]
    assert np.abs(avif.astype(int) - jpeg).mean() < 5
    if orientation > 4:
        before = read_image(tmp_path / "a.avif", (40, 60))
        assert before.shape == (40, 60, 3) and before[5, 5, 0] > 200


def test_an_image_of_another_size_than_annotated_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    with pytest.raises(UserError, match="a.png: 60 x 40 pixels, but its annotation says 70 x 50"):
        read_image(tmp_path / "a.png", (50, 70))


@pytest.mark.parametrize(
    "content, message", ((b"", "an empty file"), (b"hello", "not a readable image"))
)
def test_a_file_that_is_no_image_is_named(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=f"a.jpg: {message}"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=f"a.jpg: {message}"):
        image_size(tmp_path / "a.jpg")


def test_a_truncated_image_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    for name in ("a.jpg", "a.png"):
        data = cv2.imencode(name[1:], noise)[1].tobytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match=f"{name}: .*"):
            read_image(tmp_path / name)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(UserError, match="none.jpg: no such image"):
        read_image(tmp_path / "none.jpg")


def test_a_million_pixels_wide_are_read_and_resized(tmp_path):
    from data.transforms import Resize

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 1_000_000, 3), np.uint8))
    image, target = read_image(tmp_path / "a.png"), dict(boxes=np.float32([[0, 0, 500_000, 4]]))
    assert image_size(tmp_path / "a.png") == (4, 1_000_000)
    image, target = Resize(600, 1000)(image, target, None)
    assert image.shape == (1, 1000, 3)
    np.testing.assert_allclose(target["boxes"], [[0, 0, 500, 1]], rtol=1e-5)


@pytest.mark.parametrize("height, width, largest", ((800, 1200, 8), (804, 1204, 4), (801, 1200, 1)))
def test_a_large_jpeg_is_decoded_as_small_as_is_enough(tmp_path, height, width, largest):
    # Only by a factor of both sides: others would be rounded.
    path = tmp_path / "a.jpg"
    ramp = np.linspace(0, 255, width).astype(np.uint8)[None].repeat(height, axis=0)
    cv2.imwrite(str(path), cv2.cvtColor(ramp, cv2.COLOR_GRAY2BGR))
    size = (height, width)
    for enough, factor in (
        ((500, 500), 1),
        ((400, 601), 2 if width == 1204 else 1),
        ((200, 300), 4),
        ((10, 10), 8),
    ):
        image = read_image(path, size, enough)
        factor = min(factor, largest)
        assert image.shape[:2] == (height // factor, width // factor)
        expected = np.linspace(0, 255, image.shape[1])
        assert np.abs(image[0, :, 0] - expected).max() < 4
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    assert read_image(tmp_path / "a.png", size, (10, 10)).shape[:2] == size
    with pytest.raises(
        UserError, match=f"{width} x {height} pixels, but its annotation says 1000 x 1000"
    ):
        read_image(path, (1000, 1000), (10, 10))


def test_a_turned_photo_is_decoded_small_as_well(tmp_path):
    image = Image.fromarray(np.zeros((400, 800, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", (800, 400), (200, 100)).shape[:2] == (200, 100)
    assert read_image(tmp_path / "a.jpg", (400, 800), (100, 200)).shape[:2] == (100, 200)


def test_a_panorama_is_no_attack(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9500, 20000), np.uint8))
    assert image_size(tmp_path / "a.png") == (9500, 20000)


@pytest.mark.parametrize("ending", (".jfif", ".gif", ".jp2", ".ppm"))
def test_pictures_of_rare_endings_are_images(tmp_path, ending):
    Image.fromarray(PICTURE).save(tmp_path / f"a{ending}")
    (name,) = Folder(tmp_path).images
    assert read_image(tmp_path / name).shape == (40, 60, 3)
