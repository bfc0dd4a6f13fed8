"""A folder of photos of one person to a face on disk."""

import csv
import os

from seqface_jax import checkpoints, face_detection, figures, reconstruct
from seqface_jax.errors import UserError

PHOTO_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


def run(workdir, source, output, checkpoint='best_validation'):
    """Reconstructs the face of the person on the photos.

    Writes face.ply, face.png (frames and shaded face) and frames.csv (which photo was used, or why
    not) into `output`.

    Args:
        workdir: of the run.
        source: a photo, or a folder of photos, which are taken in order of their names.
        output: folder, made if missing.
        checkpoint: one of checkpoints.WHICH.

    Returns:
        list of str, what was done, one line per photo and one per file.

    Raises:
        UserError: no such run, folder or photo, or no face in any photo.
    """
    paths = photo_paths(source)
    if checkpoint not in checkpoints.WHICH:
        raise UserError(
            f"there is no checkpoint '{checkpoint}': choose of {', '.join(checkpoints.WHICH)}"
        )
    reconstructor = reconstruct.Reconstructor.restore(workdir, checkpoint)
    state, face, frames, log = reconstructor.initial_state(), None, [], []
    for path in paths:
        try:
            photo = face_detection.read_photo(path)
        except UserError as error:
            log.append((path, 'skipped', str(error)))
            continue
        state, found = reconstructor.update(state, photo)
        if found is None:
            log.append((path, 'skipped', 'no face found'))
            continue
        face = found
        frames.append(reconstructor.crop(photo, state.detection))
        log.append((path, 'used', state.detection.found_by))
    if face is None:
        reasons = '; '.join(sorted({reason for _, _, reason in log}))
        raise UserError(
            f'no face in any of the {len(paths)} photos of {source} ({reasons}): take photos that '
            'show one face, upright and from the front'
        )
    return [': '.join(entry) for entry in log] + _write(output, face, frames, log)


def photo_paths(source):
    """Returns the photos that `source` names, sorted.

    Raises:
        UserError: there are none, or the source is of a kind that is not supported.
    """
    if os.path.isdir(source):
        names = sorted(name for name in os.listdir(source) if _ending(name) in PHOTO_ENDINGS)
        if not names:
            raise UserError(
                f'no photo in the folder {source}: it needs files ending in '
                f'{", ".join(PHOTO_ENDINGS)}'
            )
        return [os.path.join(source, name) for name in names]
    if source.isdigit() or _ending(source) in _VIDEO_ENDINGS:
        raise UserError(
            f'--input={source}: videos and cameras are not supported yet, give a photo or a folder '
            'of photos'
        )
    if not os.path.exists(source):
        raise UserError(f'no such folder or photo: {source}')
    return [source]


def _ending(name):
    return os.path.splitext(name)[1].lower()


def _write(output, face, frames, log):
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise UserError(
            f'cannot write to {output} ({error.strerror}): choose another --output'
        ) from error
    mesh, picture, table = (
        os.path.join(output, name) for name in ('face.ply', 'face.png', 'frames.csv')
    )
    face.save(mesh)
    figures.save(figures.demo(frames, face.vertices, face.triangles), picture)
    with open(table, 'w', newline='', encoding='utf-8') as file:
        rows = csv.writer(file, lineterminator='\n')
        rows.writerow(['photo', 'result', 'detail'])
        rows.writerows(log)
    return [f'wrote {path}' for path in (mesh, picture, table)]
