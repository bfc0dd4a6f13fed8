"""Per-frame maps: each frame's own scan in its subject's canonical frame, and in its crop.

A scan is registered like a neutral one, then refined towards the subject's own neutral face.
Where a point lies in the photo is what its texture coordinate says (BU-4DFE: pixel = (w u, h - h
v)). The photo's camera is taken to look along the scan's -z axis, as in BU-4DFE.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep import sources, subject
from data_prep.registration import canonical, ray_casting
from data_prep.registration.scan_motion import ScanMotion
from data_prep.scans import cleaning
from data_prep.sources import RawFrame, Skipped
from data_prep.synthetic.registration_template import template
from data_prep.work import work_files
from seqface_jax.data import frame_maps
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid
from seqface_jax.photos import photo_file

# A triangle whose corners lie further apart in the photo, of the crop's width, spans a seam of
# the texture: what is between its corners is not between their places.
_SEAM = 0.2
# Largest misfit, root mean square in crop widths; beyond it, this texture is not the photo.
_MAX_MISFIT = 0.1
_BELOW_NOSE_MM = 10.0  # The upper lip begins here.
_TURNS_RAD = np.radians((-40.0, 40.0, -20.0, 20.0))  # About the vertical.
_MAX_APART_MM = 2.0  # Median, of a frame and the neutral face above the mouth.
_SURELY_MM = 0.8  # No better one is looked for.
_CHECKED_SIZE = 32  # Rays each way that are compared ...
_MIN_SHARED = 60  # ... and as many must meet both.
_MIN_KNOWN = 100  # Pixels of a map that say where the photo is.


class Task(NamedTuple):
    """The frames of one sequence of one subject.

    frames: list of (RawFrame, its crop box [4] photo pixels), all with a scan.
    neutral: (sequence, index) of the neutral frame.
    in_time: see sources.Subject.
    surface_path: the work file of the subject's surface.
    """

    subject_id: str
    sequence: str
    frames: list[tuple[RawFrame, np.ndarray]]
    neutral: tuple[str, int]
    in_time: bool
    surface_path: str
    key: str
    path: str


def tasks_of(read_task, surface_path):
    """Returns the Tasks of one subject, from what `subject.read` and `.surface` left."""
    scans = {(f.sequence, f.index): f for f in read_task.subject.frames if f.scan_path}
    sequences = {}
    for sequence, index, _, box in subject.load_frames(read_task.path):
        if (sequence, index) in scans:
            sequences.setdefault(sequence, []).append((scans[sequence, index], box))
    transform = subject.load_transform(surface_path)
    stem = read_task.path.removesuffix('.read.npz')
    return [
        Task(
            read_task.subject.id,
            sequence,
            frames,
            tuple(subject.read_info(read_task.path)['neutral']),
            read_task.subject.in_time,
            surface_path,
            work_files.key_of(read_task.key, transform.rotation, transform.translation, sequence),
            f'{stem}.{number}.maps.npz',
        )
        for number, (sequence, frames) in enumerate(sequences.items())
    ]


def make(task):
    """Writes the work file of one sequence: maps and poses of the frames that have them."""
    arrays = work_files.load(task.surface_path, ['position_map', 'mask'])
    neutral = ray_casting.map_surface(arrays['position_map'], arrays['mask'])
    neutral_transform = subject.load_transform(task.surface_path)
    made, skipped, notes, before = [], [], [], None
    for frame, box in task.frames:
        is_neutral = (frame.sequence, frame.index) == task.neutral
        try:
            parts, sentences = subject.clean_scan(frame, textured=True)
            scan = parts.scan
            transform = neutral_transform if is_neutral else _register(scan, neutral, before)
            sentences += subject.missing_notes(parts, transform)
            maps = frame_maps_of(scan, transform, box, _photo_size(frame, scan))
        except sources.FAULTS_OF_A_FILE as error:
            skipped.append(Skipped.file('scan', frame.scan_path, error))
            continue
        if not is_neutral:  # That one's are told already.
            notes += [Skipped('scan', frame.scan_path, why) for why in sentences]
        before = transform if task.in_time else None
        made.append((frame.index, transform.inverse(), frame_maps.encode(maps)))
    columns = _columns('skipped', skipped) | _columns('notes', notes)
    work_files.save(task.path, task.key, arrays_of(made) | columns)


def arrays_of(made):
    """Returns what `load` reads, a dict of arrays.

    Args:
        made: list of (frame index, ScanMotion of the head, bytes of the frame's maps).
    """
    blobs = [data for _, _, data in made]
    return {
        'indices': np.array([index for index, _, _ in made], np.int32),
        'rotations': np.array([p.rotation for _, p, _ in made]).reshape(-1, 3, 3),
        'translations': np.array([p.translation for _, p, _ in made]).reshape(-1, 3),
        'maps': np.frombuffer(b''.join(blobs), np.uint8),
        'ends': np.cumsum([len(data) for data in blobs], dtype=np.int64),
    }


def _columns(name, entries):
    """Returns a list of Skipped as arrays of a work file."""
    return {
        f'{name}_{field}': np.array([getattr(entry, field) for entry in entries], str)
        for field in Skipped._fields
    }


def load(path):
    """Returns {frame index: (pose, canonical -> scan frame, bytes of its maps)}."""
    arrays = work_files.load(path, ['indices', 'rotations', 'translations', 'maps', 'ends'])
    data, made, start = arrays['maps'].tobytes(), {}, 0
    for n, end in enumerate(arrays['ends']):
        pose = ScanMotion(arrays['rotations'][n], arrays['translations'][n])
        made[int(arrays['indices'][n])] = (pose, data[start:end])
        start = end
    return made


def load_skipped(path, name='skipped'):
    """Returns a list of Skipped that `make` wrote: 'skipped', or 'notes' on what is used."""
    names = [f'{name}_{field}' for field in Skipped._fields]
    columns = [work_files.load(path, names)[name] for name in names]
    return [Skipped(*map(str, row)) for row in zip(*columns, strict=True)]


def frame_maps_of(scan, transform, box, photo_size):
    """Casts one scan to its maps.

    Args:
        scan: clean Scan in its own frame, mm.
        transform: ScanMotion, scan frame -> canonical.
        box: [4] the crop in the photo: x0, y0, x1, y1, pixels.
        photo_size: (width, height) pixels, or None: its place in the photo is not known.

    Returns:
        frame_maps.FrameMaps.

    Raises:
        UserError: no face in the scan, or its texture coordinates are no places of the photo.
    """
    moved = transform.apply_to_scan(scan)
    points, mask, hits = ray_casting.cast_map(moved)
    empty = frame_maps.empty(map_grid.SIZE)
    if scan.uv is None or photo_size is None:
        return empty._replace(frame_map=points, frame_mask=mask)
    uv = hits.interpolate(scan.uv.astype(np.float64), scan.triangles)
    width_px = box[2] - box[0]
    scale = np.array(photo_size) / width_px
    x = (photo_size[0] * uv[..., 0] - box[0]) / width_px
    y = (photo_size[1] * (1 - uv[..., 1]) - box[1]) / width_px
    # A coordinate at the border may have been cut off there by whoever wrote the scan.
    known = mask & (uv > 0).all(axis=-1) & (uv < 1).all(axis=-1)
    known &= (_extent(scan)[hits.triangle] * scale).max(axis=-1) <= _SEAM
    if known.sum() < _MIN_KNOWN:
        return empty._replace(frame_map=points, frame_mask=mask)
    in_scan = transform.inverse().apply(points[known].astype(np.float64))
    z = _units_per_mm(in_scan, np.stack([x, y], axis=-1)[known]) * in_scan[:, 2]
    image = np.zeros_like(points)
    image[known] = np.stack([x[known], y[known], z - z.min()], axis=1)
    return frame_maps.FrameMaps(points, mask, image, known)


def _register(scan, neutral, before):
    """Returns the scan's ScanMotion to the subject's neutral face, a canonical Scan.

    By what an expression hardly moves, the face above the mouth, from where the frame before
    was, from where the template fits, and from turns of that: of a turned head a template may
    take the wrong half. No likeness to the template is asked for, but to the person's own face.

    Args:
        scan: clean Scan.
        neutral: Scan.
        before: ScanMotion of the frame before, or None.

    Raises:
        UserError: the scan does not fit the neutral face.
    """
    directions = map_grid.ray_directions(_CHECKED_SIZE)
    upper, expected = _upper(neutral)
    best, best_mm = None, np.inf
    for start in _starts(scan, before):
        transform = canonical.refine(scan, start, upper)
        apart = np.abs(
            ray_casting.cast_radius(transform.apply_to_scan(scan), directions) - expected
        )
        apart = apart[np.isfinite(apart)]
        if len(apart) >= _MIN_SHARED and np.median(apart) < best_mm:
            best, best_mm = transform, np.median(apart)
        if best_mm < _SURELY_MM:
            break
    if best_mm > _MAX_APART_MM:
        raise UserError('it does not fit the neutral face of its subject')
    return best


def _starts(scan, before):
    """Yields RigidTransforms near one of which the right one should be."""
    if before is not None:
        yield before
    located = canonical.locate(scan, template())
    yield located
    for turn in _TURNS_RAD:
        rotation = Rotation.from_rotvec([0.0, turn, 0.0]).as_matrix()
        yield ScanMotion(rotation, np.zeros(3)).compose(located)


@functools.lru_cache(maxsize=1)  # All frames of a sequence are fitted to one neutral face.
def _upper(neutral):
    """Returns the part of a canonical Scan above the mouth, and its radius in _register's map."""
    lowest = ray_casting.nose_tip(neutral)[1] - _BELOW_NOSE_MM
    inside = neutral.vertices[:, 1] > lowest
    upper = cleaning.compact(neutral, neutral.triangles[inside[neutral.triangles].all(axis=1)])
    return upper, ray_casting.cast_radius(upper, map_grid.ray_directions(_CHECKED_SIZE))


def _photo_size(frame, scan):
    """Returns (width, height) of the photo that the scan's texture coordinates are of."""
    if scan.uv is None or frame.image_path is None:
        return None
    height, width = photo_file.read(frame.image_path).shape[:2]
    return width, height


def _extent(scan):
    """Returns how far each triangle reaches in its texture, [F, 2], of width and height."""
    corners = scan.uv[scan.triangles]
    return corners.max(axis=1) - corners.min(axis=1)


def _units_per_mm(points, places):
    """Returns the scale of the photo: least squares of a camera that looks along -z.

    Args:
        points: [N, 3] mm in the scan's frame.
        places: [N, 2] in units of the crop's width, x right, y down.

    Raises:
        UserError: no such camera sees the points at these places.
    """
    flat = points[:, :2] * [1, -1]
    flat, seen = flat - flat.mean(axis=0), places - places.mean(axis=0)
    scale = (flat * seen).sum() / (flat**2).sum()
    misfit = np.sqrt(((seen - scale * flat) ** 2).sum(axis=1).mean())
    if scale <= 0 or misfit > _MAX_MISFIT:
        raise UserError(
            'its texture coordinates are not places in the photo beside it, so there is no map '
            'of this frame'
        )
    return scale
