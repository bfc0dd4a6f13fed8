"""The work on one subject, in two steps: what needs its raw files, what needs its final frame.

Both write one work file and return nothing: they run in worker processes.
"""

import dataclasses
import json
import os
from typing import NamedTuple

import numpy as np

from data_prep import neutral, photo_crops, sources
from data_prep.registration import canonical, ray_casting
from data_prep.registration.scan_motion import ScanMotion
from data_prep.scans import cleaning, unordered
from data_prep.scans.scan import Scan, ScanError
from data_prep.sources import Skipped, Subject
from data_prep.synthetic.registration_template import template
from data_prep.work import work_files
from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid

_MAX_APART = 0.1  # Share of the face's area that may be missing because it hangs on nothing.
_NOTED_SHARE = 0.001  # From here on what is missing is told.


class ReadTask(NamedTuple):
    """chosen: (sequence, index) of the neutral frame that a person chose, or None."""

    subject: Subject
    chosen: tuple[str, int] | None
    raw_dir: str
    key: str
    path: str


class SurfaceTask(NamedTuple):
    """transform: scan frame -> canonical; truth: as `Source.truth`; read_path: of step 1."""

    subject_id: str
    transform: ScanMotion
    truth: dict | None
    key: str
    read_path: str
    path: str


def read(task):
    """Step 1: crops of all photos, the neutral scan, clean, and its registration.

    A subject that cannot be used is written too, with the reason in `skipped`.
    """
    crops, skipped = photo_crops.crop_photos(task.subject.frames, in_time=task.subject.in_time)
    frame, scan, transform, residual_mm, notes = None, None, None, None, []
    if crops:
        for candidate in _candidates(task, crops):
            try:
                scan, transform, residual_mm, sentences = _registered(candidate)
            except sources.FAULTS_OF_A_FILE as error:
                skipped.append(Skipped.file('scan', candidate.scan_path, error))
                continue
            frame = candidate
            notes = [Skipped('scan', candidate.scan_path, why)._asdict() for why in sentences]
            break
    reason = _why_unusable(task.subject, crops, frame)
    if reason:
        skipped.append(Skipped('subject', task.subject.id, reason))
    info = {
        'usable': reason is None,
        'neutral': frame and [frame.sequence, frame.index],
        'neutral_path': frame and files.printable(os.path.relpath(frame.scan_path, task.raw_dir)),
        'residual_mm': residual_mm,
        'num_frames': len(crops),
        'skipped': [entry._asdict() for entry in skipped],
        'notes': notes,
    }
    arrays = {} if reason else _scan_arrays(scan, transform) | crop_arrays(crops)
    work_files.save(task.path, task.key, arrays | {'info': np.array(json.dumps(info))})


def read_info(path):
    """Returns what `read` says about the subject, a dict."""
    return json.loads(str(work_files.load(path, ['info'])['info']))


def load_scan(path):
    """Returns the clean neutral Scan and its ScanMotion, as `read` left them."""
    arrays = work_files.load(
        path, ['scan_vertices', 'scan_triangles', 'scan_rotation', 'scan_translation']
    )
    scan = Scan(arrays['scan_vertices'], arrays['scan_triangles'])
    return scan, ScanMotion(arrays['scan_rotation'], arrays['scan_translation'])


def load_frames(path):
    """Yields (sequence, index, jpeg bytes, crop box [4]) of every photo with a face."""
    arrays = work_files.load(path, ['sequences', 'indices', 'jpegs', 'jpeg_ends', 'boxes'])
    data = arrays['jpegs'].tobytes()
    start = 0
    for n, end in enumerate(arrays['jpeg_ends']):
        yield (
            str(arrays['sequences'][n]),
            int(arrays['indices'][n]),
            data[start:end],
            arrays['boxes'][n],
        )
        start = end


def load_transform(path):
    """Returns the ScanMotion of the neutral scan to the canonical frame, of `surface`."""
    arrays = work_files.load(path, ['canonical_rotation', 'canonical_translation'])
    return ScanMotion(arrays['canonical_rotation'], arrays['canonical_translation'])


def load_poses(path):
    """Returns the true poses of the frames in the order of `load_frames`, as `surface` left them.

    Returns:
        rotations [N, 3, 3] and translations [N, 3] mm, canonical frame -> scan frame; NaN where
        no truth is known.
    """
    arrays = work_files.load(path, ['pose_rotations', 'pose_translations'])
    return arrays['pose_rotations'], arrays['pose_translations']


def surface(task):
    """Step 2: everything of the subject record that depends on the canonical frame."""
    scan, _ = load_scan(task.read_path)
    info = read_info(task.read_path)
    scan = task.transform.apply_to_scan(scan)
    try:
        arrays = _surface_arrays(scan, task.subject_id)
        arrays |= _truth_arrays(task.truth, info['neutral'], task.transform)
        arrays |= _pose_arrays(task, info['neutral'])
        arrays |= {
            'canonical_rotation': task.transform.rotation,
            'canonical_translation': task.transform.translation,
        }
        error = ''
    except sources.FAULTS_OF_A_FILE as caught:
        arrays, error = {}, Skipped.file('subject', '', caught).why
    work_files.save(task.path, task.key, arrays | {'error': np.array(error)})


def clean_scan(frame, *, textured):
    """Returns the Cleaned scan of a frame, and sentences about what its reader has left out.

    Args:
        frame: sources.RawFrame.
        textured: keep the texture coordinates, and the seams with them.
    """
    scan = sources.read_scan(frame)
    scan = scan if textured else dataclasses.replace(scan, uv=None)
    return cleaning.clean_parts(scan), list(scan.notes)


def missing_notes(parts, transform):
    """Returns sentences about what of the face cleaning has taken away.

    Args:
        parts: cleaning.Cleaned.
        transform: ScanMotion, scan frame -> canonical frame.

    Raises:
        ScanError: more than _MAX_APART of the face is not connected with the rest.
    """
    scan, pieces, removed = (transform.apply_to_scan(part) for part in parts)
    apart = ray_casting.share_only_of(pieces, scan)
    if apart > _MAX_APART:
        raise ScanError(
            f'{100 * apart:.0f} % of the face lies in pieces that are not connected with the rest: '
            'join them (merge vertices by distance, in any mesh editor) and export again'
        )
    torn = ray_casting.share_only_of(removed, scan)
    notes = []
    if apart > _NOTED_SHARE:
        notes.append(
            f'{100 * apart:.1f} % of the face is not connected with the rest and was left out'
        )
    if torn > _NOTED_SHARE:
        notes.append(
            f'{100 * torn:.1f} % of the face, triangles that are very long or do not fit together, '
            'was left out'
        )
    return notes


def _registered(frame):
    """Returns a frame's clean scan, its ScanMotion, the residual in mm, and notes on both."""
    parts, notes = clean_scan(frame, textured=False)
    try:
        transform, residual_mm = canonical.register(parts.scan, template())
    except canonical.RegistrationError as error:
        apart = parts.share_of_pieces()
        if apart <= _MAX_APART:
            raise
        raise canonical.RegistrationError(
            f'{error}; {100 * apart:.0f} % of its surface lies in pieces that are not connected '
            'with the largest and was left out'
        ) from None
    notes += missing_notes(parts, transform)
    if canonical.is_turned(transform):
        notes.append(
            f'it lies with {canonical.orientation(transform)}, not along +z and +y: it was turned'
        )
    return parts.scan, transform, residual_mm, notes


def _candidates(task, crops):
    frames = neutral.rank_frames(task.subject.frames, crops)
    if task.chosen is not None:
        frames.sort(key=lambda frame: (frame.sequence, frame.index) != tuple(task.chosen))
    return frames


def _why_unusable(subject, crops, neutral_frame):
    """Returns one sentence, or None if the subject can be used."""
    if not subject.frames:
        return 'its folder holds no photos and no scans'
    if not any(frame.image_path for frame in subject.frames):
        return 'it has no photos'
    if not crops:
        return 'no face was found in any of its photos'
    if not any(frame.scan_path for frame in subject.frames):
        return 'it has no scans'
    if neutral_frame is None:
        return 'none of its scans could be used'
    return None


def _scan_arrays(scan, transform):
    return {
        'scan_vertices': scan.vertices,
        'scan_triangles': scan.triangles,
        'scan_rotation': transform.rotation,
        'scan_translation': transform.translation,
    }


def crop_arrays(crops):
    """Returns what `load_frames` reads, a dict of arrays, of a list of photo_crops.PhotoCrop."""
    return {
        'sequences': np.array([crop.sequence for crop in crops]),
        'indices': np.array([crop.index for crop in crops], np.int32),
        'jpegs': np.frombuffer(b''.join(crop.jpeg for crop in crops), np.uint8),
        'jpeg_ends': np.cumsum([len(crop.jpeg) for crop in crops]),
        'boxes': np.stack([crop.box for crop in crops]),
    }


def _surface_arrays(scan, subject_id):
    points, mask = ray_casting.position_map(scan)
    face = ray_casting.crop(scan, ray_casting.nose_tip(scan))
    seed = int(work_files.key_of(subject_id)[:8], 16)  # The same wherever the subject stands.
    return {
        'position_map': points,
        'mask': mask,
        'points': unordered.sample_points(scan, seed=seed),  # Hair and collar too: the thesis's.
        'scan_vertices': face.vertices,
        'scan_triangles': face.triangles,
    }


def _pose_arrays(task, neutral_frame):
    """Returns the true pose of every frame, from the canonical frame to the frame's own."""
    frames = work_files.load(task.read_path, ['sequences', 'indices'])
    keys = list(zip(frames['sequences'].tolist(), frames['indices'].tolist(), strict=True))
    rotations = np.full((len(keys), 3, 3), np.nan)
    translations = np.full((len(keys), 3), np.nan)
    if task.truth is not None:
        heads = {
            (str(sequence), int(index)): ScanMotion(rotation, translation)
            for sequence, index, rotation, translation in zip(
                *(
                    task.truth[name]
                    for name in ('sequences', 'frames', 'rotations', 'translations')
                ),
                strict=True,
            )
        }
        to_head = task.transform.compose(heads[tuple(neutral_frame)]).inverse()
        for n, key in enumerate(keys):
            if key in heads:
                rotations[n], translations[n] = heads[key].compose(to_head)
    return {'pose_rotations': rotations, 'pose_translations': translations}


def _truth_arrays(truth, neutral_frame, transform):
    """Returns the true neutral surface, carried to the canonical frame with its scan."""
    if truth is None:
        return {
            'has_truth': np.array(False),
            'true_position_map': np.zeros((map_grid.SIZE, map_grid.SIZE, 3), np.float32),
            'true_mask': np.zeros((map_grid.SIZE, map_grid.SIZE), bool),
            'true_vertices': np.zeros((0, 3), np.float32),
            'true_triangles': np.zeros((0, 3), np.int32),
        }
    sequence, index = neutral_frame
    matches = (truth['sequences'] == sequence) & (truth['frames'] == index)
    if not matches.any():
        raise UserError(f'its truth does not know the frame {sequence} {index:03d}')
    frame = np.flatnonzero(matches)[0]
    head = ScanMotion(truth['rotations'][frame], truth['translations'][frame])
    true_scan = Scan(np.float32(truth['vertices']), np.int32(truth['triangles']))
    true_scan = transform.compose(head).apply_to_scan(true_scan)
    points, mask = ray_casting.position_map(true_scan)
    face = ray_casting.crop(true_scan, ray_casting.nose_tip(true_scan))
    return {
        'has_truth': np.array(True),
        'true_position_map': points,
        'true_mask': mask,
        'true_vertices': face.vertices,
        'true_triangles': face.triangles,
    }
