import io
import os
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from seqface_jax.errors import UserError
from seqface_jax.photos import colours, face_detection, photo_file

RGB = np.zeros((40, 60, 3), np.uint8)
RGB[:, :30], RGB[:, 30:] = (230, 20, 10), (10, 30, 220)
PICTURE = Image.fromarray(RGB)


def encode(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def read(tmp_path, data, name='photo.jpg'):
    path = tmp_path / name
    path.write_bytes(data)
    return photo_file.read(path)


def animation(kind):
    other = PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    options = {} if kind == 'GIF' else {'lossless': True}
    return encode(PICTURE, kind, save_all=True, append_images=[other], **options)


def sixteen_bit(ending):
    return cv2.imencode(ending, RGB[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def with_alpha():
    picture = PICTURE.copy()
    picture.putalpha(128)
    return picture


@pytest.mark.parametrize(
    'data',
    [
        encode(PICTURE, 'JPEG', quality=100),
        encode(PICTURE, 'JPEG', quality=100, progressive=True),
        encode(PICTURE.convert('CMYK'), 'JPEG', quality=100),
        encode(PICTURE, 'JPEG', quality=100) + b'what some phones append' * 300,
        encode(with_alpha(), 'PNG'),
        encode(PICTURE.quantize(4), 'PNG'),
        encode(PICTURE, 'BMP'),
        encode(PICTURE, 'TIFF'),
        encode(PICTURE, 'PPM'),
        sixteen_bit('.png'),
        sixteen_bit('.tif'),
        animation('GIF'),
        animation('PNG'),
        animation('WEBP'),
    ],
)
def test_every_kind_of_picture_gives_the_same_rgb_whatever_its_name(tmp_path, data):
    photo = read(tmp_path, data)
    assert photo.dtype == np.uint8
    assert photo.shape == RGB.shape
    for side in (slice(0, 24), slice(36, 60)):  # JPEG blurs colours across the edge.
        np.testing.assert_allclose(photo[:, side], RGB[:, side], atol=3)


def test_a_gray_picture_has_three_equal_channels(tmp_path):
    photo = read(tmp_path, encode(PICTURE.convert('L'), 'JPEG'))
    assert photo.shape == (40, 60, 3)
    assert np.ptp(photo, axis=2).max() == 0 and photo[0, 0, 0] > photo[0, 59, 0]


@pytest.mark.parametrize(
    'orientation, undo',
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_the_orientation_of_exif_is_honoured(tmp_path, orientation, undo, kind):
    picture = RGB.copy()
    picture[:20, :30] = 255  # No two of the eight are alike.
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else {}
    data = encode(Image.fromarray(picture), kind, exif=exif, **options)
    photo = read(tmp_path, data)
    assert photo.shape == undo(picture).shape
    assert np.abs(photo.astype(int) - undo(picture)).mean() < 2


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF', 'GIF'])
def test_a_picture_that_is_cut_short_is_refused(tmp_path, kind, recwarn):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    options = {'exif': Image.Exif()} if kind == 'JPEG' else {}
    data = encode(Image.fromarray(noise), kind, **options)
    for end in (len(data) - 20, len(data) // 2, 30, 3):
        with pytest.raises(UserError, match='photo.jpg is not a readable picture'):
            read(tmp_path, data[:end])
    assert not recwarn.list  # Our sentence says it already.


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo(tmp_path):
    data = encode(PICTURE, 'JPEG')
    thumbnail = b'\xff\xe1' + struct.pack('>H', len(data) + 8) + b'Exif\0\0' + data
    whole = data[:2] + thumbnail + data[2:]
    assert read(tmp_path, whole).shape == (40, 60, 3)
    with pytest.raises(UserError, match='cut short'):
        read(tmp_path, whole[:-20])


def _png_header(width, height):
    def chunk(kind, content):
        return (
            struct.pack('>I', len(content)) + kind + content
            + struct.pack('>I', zlib.crc32(kind + content))
        )  # fmt: skip

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return (
        b'\x89PNG\r\n\x1a\n'
        + header
        + chunk(b'IDAT', zlib.compress(bytes(9)))
        + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize('side', [13_000, 20_000, 2**31 - 1])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, side):
    tracemalloc.start()
    with pytest.raises(UserError, match='has more than 150 million pixels: shrink it'):
        read(tmp_path, _png_header(side, side))
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_a_picture_of_one_pixel_is_read_and_shows_no_face(tmp_path):
    photo = read(tmp_path, encode(PICTURE.resize((1, 1)), 'PNG'))
    assert photo.shape == (1, 1, 3)
    assert face_detection.FaceDetector().find(photo) is None


def test_what_is_no_file_is_refused_at_once(tmp_path):
    path = tmp_path / 'photo.jpg'
    for make in (os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)):
        make(path)
        with pytest.raises(UserError, match='cannot read the photo'):
            photo_file.read(path)
        os.rmdir(path) if path.is_dir() else os.remove(path)


def test_another_kind_of_file_is_named(tmp_path):
    for data, words in (
        (b'%PDF-1.7', 'a PDF file'),
        (b'\xff\x0a0000', 'a JPEG XL picture'),
        (b'II*\0\x10\0\0\0CR\2\0', 'a raw file of a camera'),
        (b'', 'an empty file'),
    ):
        with pytest.raises(photo_file.PhotoError, match=f'not a readable picture but {words}'):
            read(tmp_path, data)


def test_the_thumbnail_of_a_camera_raw_file_is_not_taken_for_the_photo(tmp_path):
    thumbnail = encode(PICTURE, 'TIFF', tiffinfo={254: 1})
    with pytest.raises(photo_file.PhotoError, match='a raw file of a camera'):
        read(tmp_path, thumbnail, 'x.nef')


def test_a_photo_with_pictures_behind_it_is_no_video(tmp_path):
    one = encode(PICTURE, 'JPEG')
    assert read(tmp_path, one + one).shape == (40, 60, 3)
    with pytest.raises(photo_file.PhotoError, match='is a video .Motion JPEG.'):
        read(tmp_path, one * 4)


P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


def _to_srgb(value, primaries, gamma):
    """Converts one colour by the definition: CIE 1931, IEC 61966-2-1."""
    white = np.array([0.3127, 0.3290, 1 - 0.3127 - 0.3290]) / 0.3290

    def matrix(xy):
        columns = np.array([[x, y, 1 - x - y] for x, y in xy]).T
        return columns * np.linalg.solve(columns, white)

    linear = (np.array(value) / 255) ** gamma
    srgb = np.linalg.solve(matrix(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))), matrix(primaries))
    linear = np.clip(srgb @ linear, 0, 1)
    encoded = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * encoded


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'WEBP', 'AVIF', 'HEIF'])
def test_the_colours_of_a_profile_become_those_of_srgb(tmp_path, kind):
    assert photo_file.can_read_heic()
    value, profile = (190, 120, 100), colours.make_profile(P3, 2.2)
    lossless = {'JPEG': {'quality': 100}, 'WEBP': {'lossless': True}}.get(kind, {})
    picture = Image.new('RGB', (32, 32), value)
    photo = read(tmp_path, encode(picture, kind, icc_profile=profile, **lossless))
    np.testing.assert_allclose(photo.mean((0, 1)), _to_srgb(value, P3, 2.2), atol=4)
    assert np.abs(photo.mean((0, 1)) - value).max() > 8


def test_adobe_rgb_is_known_by_the_mark_of_camera_makers(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: 'R03'}
    picture = Image.new('RGB', (32, 32), (190, 120, 100))
    photo = read(tmp_path, encode(picture, 'JPEG', quality=100, exif=exif))
    expected = _to_srgb((190, 120, 100), colours.ADOBE_RGB_PRIMARIES, colours.ADOBE_RGB_GAMMA)
    np.testing.assert_allclose(photo.mean((0, 1)), expected, atol=4)


def test_a_profile_of_srgb_changes_nothing_and_a_damaged_one_is_passed_over(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    for profile in (srgb, b'damaged' * 30, srgb[:200]):
        np.testing.assert_array_equal(
            read(tmp_path, encode(PICTURE, 'PNG', icc_profile=profile)), RGB
        )


def test_a_profile_of_gray_is_converted_too(tmp_path):
    gray = (
        colours.make_profile(P3, 1.0).replace(b'RGB XYZ ', b'GRAYXYZ ', 1).replace(b'rTRC', b'kTRC')
    )
    picture = Image.new('L', (16, 16), 55)  # Linear: a fifth of white is 128 in sRGB.
    photo = read(tmp_path, encode(picture, 'PNG', icc_profile=gray))
    np.testing.assert_allclose(photo.mean((0, 1)), [128] * 3, atol=3)


@pytest.mark.parametrize('kind', ['AVIF', 'HEIF', 'JPEG2000'])
def test_a_newer_kind_that_is_cut_short_is_refused(tmp_path, kind):
    assert photo_file.can_read_heic()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for end in (len(data) // 2, 40):
        with pytest.raises(UserError, match='photo.jpg is not a readable picture'):
            read(tmp_path, data[:end])
