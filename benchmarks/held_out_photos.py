"""Draws textured faces into photos that they were not made from, and says how far they are off.

    python -m benchmarks.held_out_photos --people=PEOPLE
    python -m benchmarks.held_out_photos --face_dir=FaceXModel --kinds=data/people/kinds.npz

PEOPLE holds a folder of photos of each person (ID/*.jpg or ID/photos/*.jpg). Without it people are
made up, each in eight pictures under light of their own. Every fourth photo is held out: the
texture is of the others, and the face is fitted to the held-out photo as in any run. The PSNR (dB,
sRGB, over the pixels where the face is seen) is the mean over held-out photos, of

    mean colour   a face of one colour, that of the texture's middle;
    texture       the texture with the light of its photos;
    delit         the texture with the light divided out (`--delight`);

each once with only its brightness fitted to the held-out photo, channel by channel, and once lit by
the harmonics that fit it (photo_light.fit_one).
"""

import functools
import pathlib
import sys

import numpy as np
from absl import app, flags

from seqface_jax import errors
from seqface_jax.commands import compilation_cache
from seqface_jax.geometry import rendering, sampling, surface
from seqface_jax.photos import photo_file
from seqface_jax.reconstruct import Reconstructor
from seqface_jax.reconstruction import frame_fit, overlay, photo_light

_SIDE_PX = 256  # Side of the crop in which faces are compared.
_MIN_FACING = 0.2  # Cosine under which skin is seen too flatly to be compared.
_HELD_OUT = 4  # One photo of so many.
_COLUMNS = ('mean colour', 'texture', 'delit')
# Yaw, pitch in degrees and smile of a made-up person's pictures; each fourth is held out.
_POSES = ((0, 0, 0), (30, 2, 0), (-30, -2, 0), (12, 3, 0),
          (45, 4, 0), (-45, 0, 0), (5, -8, 0), (-15, 5, 0))  # fmt: skip


def seen_texels(fit, triangles, uv, side=_SIDE_PX):
    """Returns what a photo shows of a face: uv [P, 2], normals [P, 3] and pixels [P].

    Args:
        fit: frame_fit.FrameFit of a photo of `side` pixels a side.
        triangles: [F, 3]; uv: [V, 2] in [0, 1], v up.
        side: pixels.
    """
    seen = frame_fit.camera_points(fit, fit.vertices)
    normals = surface.vertex_normals(np.asarray(fit.vertices, np.float64), triangles)
    normals = normals @ np.asarray(fit.rotation).T
    screen = frame_fit.project(fit, fit.vertices)
    pixel, triangle, weights = rendering.fragments(screen, -seen[:, 2], triangles, side)
    corners = triangles[triangle]

    def at(values):
        return (values[corners] * weights[..., None]).sum(1)

    own, place = at(normals), at(seen)
    own = own / np.linalg.norm(own, axis=1, keepdims=True)
    towards = -place / np.linalg.norm(place, axis=1, keepdims=True)
    keep = (own * towards).sum(1) > _MIN_FACING
    return at(uv)[keep], own[keep], pixel[keep]


def psnr(one, other):
    """Returns the peak signal-to-noise ratio in dB of colours [P, 3] in [0, 255]."""
    error = np.square(np.asarray(one, np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def compared(colors, normals, photo, order):
    """Returns the PSNR of a face's colours on a photo, lit as fits the photo best.

    Args:
        colors: [P, 3] uint8, of the face without light.
        normals: [P, 3] in the camera's frame.
        photo: [P, 3] uint8, the same pixels of the photo.
        order: of the harmonics of the light; 0: its brightness.
    """
    albedo, shown = (photo_light.to_linear(own).astype(np.float64) for own in (colors, photo))
    light = photo_light.fit_one(shown, normals, np.ones(len(shown)), albedo + 1e-4, order)
    lit = albedo * np.clip(photo_light.shade(light, normals), 0, None)
    return psnr(photo_light.from_linear(lit), photo)


def scores(reconstructor, photos):
    """Returns the PSNR of each held-out photo, [H, 2, 3]: brightness or light fitted, _COLUMNS."""
    state, face = reconstructor.initial_state(), None
    painters = [reconstructor.painter(paints=True, delight=delight) for delight in (False, True)]
    for photo in (p for k, p in enumerate(photos) if (k + 1) % _HELD_OUT):
        state, made = reconstructor.update(state, photo)
        if made is not None:
            face = made
            for painter in painters:
                painter.add(photo, None, face)
    if face is None:
        return np.zeros((0, 2, 3))
    rows = []
    baked, delit = (painter.paint(face).texture for painter in painters)
    pictures = (np.broadcast_to(_middle(baked), (2, 2, 3)).copy(), baked, delit)
    for photo in photos[_HELD_OUT - 1 :: _HELD_OUT]:
        _, shown = reconstructor.update(state, photo)
        if shown is None:
            continue
        crop, fit = overlay.close_up(photo, shown.frame, _SIDE_PX)
        inside, _ = overlay.close_up(np.full_like(photo, 255), shown.frame, _SIDE_PX)
        crop, inside = crop.reshape(-1, 3), inside.reshape(-1, 3).min(1) == 255
        uv, normals, pixel = seen_texels(fit, shown.triangles, shown.uv)
        uv, normals, crop = (own[inside[pixel]] for own in (uv, normals, crop[pixel]))
        if not len(crop):
            continue
        colors = [sampling.sample_texture(picture, uv) for picture in pictures]
        orders = (0, photo_light.ORDER)
        rows.append([[compared(own, normals, crop, order) for own in colors] for order in orders])
    return np.reshape(rows, (-1, 2, 3))


def _middle(picture):
    """Returns the mean colour [3] of the middle of a texture, where the face is."""
    quarter = len(picture) // 4
    return picture[quarter:-quarter, quarter:-quarter].reshape(-1, 3).mean(0).astype(np.uint8)


def photos_of(folder):
    """Yields names and lists of photos [H, W, 3] uint8 RGB of the people in a folder."""
    for person in sorted(path for path in pathlib.Path(folder).iterdir() if path.is_dir()):
        own = person / 'photos' if (person / 'photos').is_dir() else person
        paths = sorted(path for path in own.iterdir() if path.suffix in ('.jpg', '.png'))
        if len(paths) >= _HELD_OUT:
            yield person.name, [photo_file.read(str(path)) for path in paths]


def made_up(face_dir, kinds_file, num_people, size):
    """Yields names and lists of pictures of made-up people, each in light of its own."""
    from data_prep.hard_pictures import workers
    from data_prep.package_files import sample_people

    world = workers.load_world(face_dir, workers.KINDS, kinds_file)
    for kind in workers.KINDS:
        for seed in range(num_people):
            draw = functools.partial(sample_people.draw, world, kind, 500 + seed, size, _POSES)
            yield f'{kind} {seed}', draw(is_studio=False)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('people', None, 'Folder of folders of photos.')
    flags.DEFINE_string('workdir', None, 'The run; the packaged one if left out.')
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit, for made-up people.')
    flags.DEFINE_string('kinds', None, 'File of template_kinds.')
    flags.DEFINE_integer('num_people', 3, 'Made-up people of each kind.')
    flags.DEFINE_integer('size', 320, 'Pixels a side of their pictures.')


@errors.exit_on_user_error
def main(argv):
    """Prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    own = flags.FLAGS
    if not own.people and not own.face_dir:
        raise errors.UserError('there is nobody: give --people=FOLDER, or --face_dir=FaceXModel')
    compilation_cache.turn_on()
    reconstructor = Reconstructor.restore(own.workdir)
    if own.people:
        people = photos_of(own.people)
    else:
        people = made_up(own.face_dir, own.kinds, own.num_people, own.size)
    head = [f'{name}, {lit}' for lit in ('brightness', 'lit') for name in _COLUMNS]
    sys.stdout.write('| person | held out | ' + ' | '.join(head) + ' |\n')
    sys.stdout.write('|---' * (len(head) + 2) + '|\n')
    rows = []
    for name, photos in people:
        rows.append(scores(reconstructor, photos))
        _write(name, rows[-1])
    if not rows:
        raise errors.UserError(f'{own.people} holds no folder of {_HELD_OUT} photos or more')
    _write('all', np.concatenate(rows))


def _write(name, rows):
    values = ' | '.join(f'{value:.2f}' for value in rows.mean(0).ravel()) if len(rows) else '-'
    sys.stdout.write(f'| {name} | {len(rows)} | {values} |\n')
    sys.stdout.flush()


if __name__ == '__main__':
    define_flags()
    app.run(main)
