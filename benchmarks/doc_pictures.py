"""Draws the pictures of README and docs/ that show faces; run again after a new packaged run.

    python -m data_prep.hard_pictures.sequences --face_dir=FaceXModel --kind=ict --seed=5 \
        --people=data/people/kinds.npz --num_people=1 --noplain --out=hard.npz
    python -m benchmarks.doc_pictures --person=hard.npz --space=data/people/shape_space.npz

docs/astronaut.png, a photograph in the public domain and the packaged run's face of it;
docs/photos.png, which photos work; docs/made_up.png, four pictures of a made-up person and the
packaged run's face of them. With `--person` also docs/points.jpg, what the network sees on hard
pictures of one whose face is known, and docs/more_pictures.jpg, the face after 1, 4 and 16 of them
beside the true one. All but the first say that nobody looks so.
"""

import pathlib

import cv2
import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from data_prep.package_files import calibrate
from seqface_jax import checkpoints, files, samples
from seqface_jax.commands import compilation_cache
from seqface_jax.geometry import rendering
from seqface_jax.photos import photo_file
from seqface_jax.reconstruct import Reconstructor
from seqface_jax.reconstruction import contact_sheet, flagship, overlay

_DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs'
_PERSON = 'made_up_ict'
_TILE_PX, _GAP_PX, _TEXT_PX = 208, 10, 26
_LARGE_PX = 2 * _TILE_PX + _TEXT_PX + _GAP_PX  # As high as two rows of tiles.
_GOOD = ('front', 'to one side', 'to the other side', 'another expression')
_CREDIT = 'Eileen Collins; NASA, public domain.'
_SEEN, _UNSEEN = (60, 230, 235), (255, 140, 0)  # RGB of points that the network sees or guesses.
_COUNTS = (1, 4, 16)
_NUM_HARD = 8  # Hard pictures that are shown.
_TURN_RAD = 0.7  # Faces are shown from their left.
_FORWARD_MM = 60.0  # From the middle of a head to what rendering.render turns about.
_NOTE = 'A made-up person: drawn, no photograph. Nobody looks like this.'


def photos_of(name=_PERSON):
    """Returns the pictures of a made-up person of the samples, list of [H, W, 3] uint8 RGB."""
    folder = pathlib.Path(samples.FOLDER) / name
    return [photo_file.read(str(path)) for path in sorted(folder.glob('*.jpg'))]


def spoilt(photo):
    """Returns what does not work: dict of caption to picture, of a photo [H, W, 3] uint8 RGB."""
    height, width = photo.shape[:2]
    small = cv2.resize(photo, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    far = np.full_like(photo, 110)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    far[top : top + small.shape[0], left : left + small.shape[1]] = small
    covered = photo.copy()
    covered[height * 5 // 12 : height * 3 // 4, width // 6 : width * 5 // 6] = (70, 110, 150)
    light = np.where(np.arange(width)[None, :, None] < 0.46 * width, 0.12, 1.0)
    return {
        'blurred': cv2.GaussianBlur(photo, (0, 0), 5),
        'too small': far,
        'covered': covered,
        'hard shadow': (photo * light).astype(np.uint8),
    }


def grid(rows, note=_NOTE, large=None):
    """Puts captioned tiles in rows and a note below them.

    Args:
        rows: list of dicts of caption to picture [H, W, 3] uint8 RGB.
        note: str.
        large: a dict of one caption and a picture, which stands at the left of two rows; or None.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    across, down = _TILE_PX + _GAP_PX, _TILE_PX + _TEXT_PX + _GAP_PX
    left = _LARGE_PX + 2 * _GAP_PX if large else _GAP_PX
    width = max(map(len, rows)) * across + left
    sheet = Image.new('RGB', (width, len(rows) * down + _TEXT_PX + _GAP_PX), 'white')
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)

    def put(caption, picture, x, y, side):
        tile = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(tile), (x, y))
        pen.text((x, y + side + 3), caption, 'black', font)

    for caption, picture in (large or {}).items():
        put(caption, picture, _GAP_PX, _GAP_PX, _LARGE_PX)
    for row, tiles in enumerate(rows):
        for column, (caption, picture) in enumerate(tiles.items()):
            put(caption, picture, left + column * across, _GAP_PX + row * down, _TILE_PX)
    pen.text((_GAP_PX, len(rows) * down + _GAP_PX // 2), note, (93, 107, 122), font)
    return np.asarray(sheet)


def guide(photos):
    """Returns the picture of which photos work, of the four pictures of a person."""
    good = {f'works: {caption}': p for caption, p in zip(_GOOD, photos, strict=True)}
    bad = {f'avoid: {caption}': p for caption, p in spoilt(photos[0]).items()}
    return grid([good, bad])


def view(vertices, triangles, azimuth_rad, **paint):
    """Returns a picture of a face, as rendering.render, whose turned head stays in the middle."""
    middle = vertices + np.array([0.0, 0.0, _FORWARD_MM])
    return rendering.render(middle, triangles, azimuth_rad=azimuth_rad, size=2 * _TILE_PX, **paint)


def reconstructed(reconstructor, photos):
    """Returns the last picture of a person with the mesh over it, and the face of all of them.

    Args:
        reconstructor: the flagship's.
        photos: list of [H, W, 3] uint8 RGB.

    Returns:
        two dicts of caption to picture: the mesh over the photo, and the face.
    """
    state, face = reconstructor.initial_state(), None
    shown = reconstructor.mesh_overlay
    painter = reconstructor.painter(paints=True)
    for photo in photos:
        state, new = reconstructor.update(state, photo)
        if new is not None:
            face, drawn = new, shown.draw(*overlay.close_up(photo, new.frame, _LARGE_PX))
            painter.add(photo, None, new)
    painted = painter.paint(face)
    paint = {'uv': painted.uv, 'texture': painted.texture}
    views = [
        view(face.vertices, face.triangles, turn, **own)
        for turn, own in ((0.0, {}), (_TURN_RAD, {}), (_TURN_RAD, paint))
    ]
    made = dict(zip(('its face', 'from its left', 'with its colours'), views, strict=True))
    return {f'the mesh over the {"last picture" if len(photos) > 1 else "photograph"}': drawn}, made


def astronaut(reconstructor):
    """Returns scikit-image's photograph of an astronaut and the face that it gives."""
    photo = data.astronaut()
    drawn, made = reconstructed(reconstructor, [photo])
    tiles = list(({'the photograph': photo[:320, 60:380]} | made).items())
    return grid([dict(tiles[:2]), dict(tiles[2:])], _CREDIT, drawn)


def made_up(reconstructor, photos):
    """Returns a made-up person's pictures, the last one's overlay, and the face of all of them."""
    top = {f'picture {number}': photo for number, photo in enumerate(photos, start=1)}
    drawn, made = reconstructed(reconstructor, photos)
    return grid([top, made], large=drawn)


def with_points(picture, sighting):
    """Returns a picture [S, S, 3] uint8 RGB, enlarged, with the points of a Sighting on it."""
    zoom = 2 * _TILE_PX / len(picture)
    drawn = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    for place, seen in zip(sighting.places * zoom, sighting.seen, strict=True):
        color = _SEEN if seen > 0.5 else _UNSEEN
        cv2.circle(drawn, np.rint(place).astype(int).tolist(), 2, color, -1, cv2.LINE_AA)
    return drawn


def points(arrays):
    """Returns the picture of what the network sees.

    Args:
        arrays: what `calibrate.see` returned of one person.
    """
    pairs = zip(arrays['images'][0][:_NUM_HARD], arrays['sightings'][0], strict=False)
    tiles = [(f'picture {k}', with_points(*pair)) for k, pair in enumerate(pairs, start=1)]
    half = _NUM_HARD // 2
    note = f'Light blue: points that the network sees; orange: that it guesses. {_NOTE}'
    return grid([dict(tiles[:half]), dict(tiles[half:])], note)


def more_pictures(stream, arrays, near):
    """Returns the picture of the mean face, of those after some pictures, and of the true one.

    Args:
        stream: flagship.Stream.
        arrays: what `calibrate.see` returned of one person.
        near: [N] vertices over which the errors are taken.
    """
    (after,), (truth,) = calibrate.run_people(stream, arrays, _COUNTS), arrays['faces']
    known = {'mean face': calibrate.said(stream, stream.initial_state())}
    known |= {f'after {count}': after[count] for count in _COUNTS}
    triangles, eyes = stream.geometry.triangles, stream.geometry.eyes
    rows = [{}, {}]

    def put(caption, face):
        vertices = eyes.joined(face)
        for row, turn in zip(rows, (0.0, _TURN_RAD), strict=True):
            row[caption] = view(vertices, triangles, turn)

    for name, evidence in known.items():
        vertices, _ = calibrate.read(stream, evidence)
        error_mm, placed = calibrate.aligned_error(vertices, truth, near)
        put(f'{name}: {error_mm.mean():.2f} mm off', placed)
    put('the true face', truth)
    return grid(rows)


def write_learnt(person, space):
    """Writes points.jpg and more_pictures.jpg of the files that `--person` and `--space` name."""
    workdir = checkpoints.pretrained()
    _, model, variables = checkpoints.load(workdir, 'best_validation')
    geometry = flagship.read_geometry(flagship.geometry_path(workdir))
    stream = flagship.Stream(model, variables, geometry)
    arrays = files.read_arrays(person, '`data_prep.hard_pictures.sequences` writes it')
    arrays = calibrate.see(stream.finder, arrays)
    contact_sheet.save_picture(str(_DOCS / 'points.jpg'), points(arrays))
    near = files.read_arrays(space, '`data_prep.hard_pictures.shape_space` writes it')['near']
    picture = more_pictures(stream, arrays, near)
    contact_sheet.save_picture(str(_DOCS / 'more_pictures.jpg'), picture)


def main(argv):
    """Writes the pictures."""
    del argv
    compilation_cache.turn_on()
    photos = photos_of()
    contact_sheet.save_picture(str(_DOCS / 'photos.png'), guide(photos))
    reconstructor = Reconstructor.restore()
    contact_sheet.save_picture(str(_DOCS / 'made_up.png'), made_up(reconstructor, photos))
    contact_sheet.save_picture(str(_DOCS / 'astronaut.png'), astronaut(reconstructor))
    if flags.FLAGS.person:
        write_learnt(flags.FLAGS.person, flags.FLAGS.space)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('person', None, 'File of sequences.py: the person of the last two.')
    flags.DEFINE_string('space', None, 'File of shape_space.py, with --person.')


if __name__ == '__main__':
    define_flags()
    app.run(main)
