"""Writes a raw tree of synthetic people in the layout of BU-4DFE.

RAW/F001/Angry/000.wrl and 000.jpg and so on; six expressions per person, each from neutral over
its apex back to neutral. Beside it the truth, RAW/truth/F001.npz: vertices [V, 3] float32 mm of the
neutral face in the head's frame, triangles [F, 3] int32, and per frame: sequences (N,) str, frames
(N,) int, rotations [N, 3, 3], translations [N, 3] mm (scan = rotation @ vertex + translation),
expression_weights [N, 6].
"""

import pathlib
import shutil

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import scan_io
from data_prep.synthetic import appearance, expressions, renderer, scanner
from data_prep.synthetic.camera import studio_camera
from data_prep.synthetic.face import face_model
from data_prep.synthetic.person import Person, pose_over_time
from data_prep.workers import Workers
from seqface_jax.errors import UserError

_MISSING = range(27, 32)  # F027-F031 are missing in many copies of BU-4DFE, and here.
_WOMEN, _MEN = 53, 43  # So many are in the first 96 ids.
_JPEG_QUALITY = 92
_SMALL_PHOTO = 500  # Pixels; up to here a coarser mesh makes the same picture.


def subject_ids(count):
    """Returns `count` ids: F001, M001, F002, ... without F027 to F031, then F059, M044, ..."""
    women = [f'F{k:03d}' for k in range(1, 59) if k not in _MISSING]
    men = [f'M{k:03d}' for k in range(1, _MEN + 1)]
    ids = [name for pair in zip(women, men, strict=False) for name in pair] + women[_MEN:]
    further = range((max(count - len(ids), 0) + 1) // 2)
    ids += [f'{sex}{first + k:03d}' for k in further for sex, first in (('F', 59), ('M', 44))]
    return ids[:count]


def write(out_dir, num_subjects, frames, seed, scan_vertices, photo_height, workers, turn_deg=0):
    """Writes the tree; people that are complete on disk are kept.

    A person depends on the seed and the id only, whatever the number of people or workers.

    Args:
        out_dir: folder, made where needed.
        num_subjects: how many people.
        frames: of each of the six sequences.
        seed: int.
        scan_vertices: of a scan, about.
        photo_height: pixels; the width follows.
        workers: processes.
        turn_deg: how far heads turn to their sides, besides small sways; 0 as in BU-4DFE.

    Raises:
        UserError: the folder holds people written with other settings.
    """
    out_dir = pathlib.Path(out_dir)
    (out_dir / 'truth').mkdir(parents=True, exist_ok=True)
    settings = np.array([frames, seed, scan_vertices, photo_height, turn_deg])
    tasks = []
    for name in subject_ids(num_subjects):
        truth = out_dir / 'truth' / f'{name}.npz'
        if truth.exists():
            with np.load(truth) as written:
                if not np.array_equal(written['settings'], settings):
                    raise UserError(
                        f'{truth}: was written with other frames, seed, scan_vertices, '
                        'photo_height or turn_deg; choose another --out_dir or remove it.'
                    )
        else:
            tasks.append((str(out_dir), name, *settings.tolist()))
    bar = tqdm(total=len(tasks) * 6 * frames, unit='frame', desc='synthetic people')
    with Workers(min(workers, max(len(tasks), 1))) as pool, bar:
        for task, _, death in pool.run(_write_subject, tasks):
            if death is not None:
                raise UserError(f'{task[1]}: {death}; run the same command again to go on.')
            bar.update(6 * frames)


def _write_subject(task):
    """Writes one person into a temporary folder and moves it into place when complete."""
    out_dir, name, frames, seed, scan_vertices, photo_height, turn_deg = task
    cv2.setNumThreads(1)  # There is one process per core.
    out_dir = pathlib.Path(out_dir)
    partial = out_dir / f'.{name}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    key = [seed, 'FM'.index(name[0]), int(name[1:])]
    rng = np.random.default_rng(key)
    looks = appearance.sample_appearance(rng, name[0])
    identity = face_model().sample_identity(rng, name[0])
    person = Person(identity, looks, fine=photo_height > _SMALL_PHOTO)
    camera = studio_camera(photo_height, rng)
    recording = scanner.sample_scanner(scan_vertices, looks.scanned_extras, rng)
    photographer = renderer.Renderer(person, camera, rng)
    truth = {'sequences': [], 'frames': [], 'rotations': [], 'translations': [],
             'expression_weights': []}  # fmt: skip
    for number, sequence in enumerate(expressions.NAMES):
        folder = partial / sequence
        folder.mkdir(parents=True)
        rng = np.random.default_rng([*key, number])
        moves = frames, np.radians(turn_deg)
        _write_sequence(folder, number, moves, person, photographer, recording, truth, rng)
    shutil.rmtree(out_dir / name, ignore_errors=True)  # A folder without truth is not complete.
    partial.rename(out_dir / name)
    _write_truth(out_dir / 'truth', name, person, truth, task[2:])


def _write_sequence(folder, number, moves, person, photographer, recording, truth, rng):
    """Writes the photos and scans of one expression and notes their truth."""
    frames, turn_rad = moves
    weights = np.zeros((frames, len(expressions.NAMES)), np.float32)
    weights[:, number] = expressions.weights_over_time(frames, rng)
    blink = expressions.blinks_over_time(frames, rng)
    rotations, translations = pose_over_time(frames, rng, turn_rad)
    lights = renderer.sample_lights(rng)
    for k in range(frames):
        surface = person.surface(weights[k], blink[k], rotations[k], translations[k])
        scene = renderer.make_scene(surface, person.triangles)
        photo = photographer.photo(scene, surface, lights, rng)
        path = folder / f'{k:03d}.jpg'
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        path.write_bytes(cv2.imencode('.jpg', photo[..., ::-1], quality)[1].tobytes())
        raw = scanner.scan(
            person, scene, surface, rotations[k], translations[k], recording,
            photographer.camera, path.name, rng,
        )  # fmt: skip
        scan_io.write_vrml(path.with_suffix('.wrl'), raw)
    truth['sequences'] += [folder.name] * frames
    truth['frames'] += list(range(frames))
    truth['rotations'].append(rotations)
    truth['translations'].append(translations + recording.offset)
    truth['expression_weights'].append(weights)


def _write_truth(folder, name, person, truth, settings):
    """Writes one person's truth at once; it marks the person as complete."""
    partial = folder / f'.{name}.partial.npz'
    np.savez_compressed(
        partial,
        vertices=person.neutral,
        triangles=person.model.triangles,
        identity=person.identity,
        identity_names=np.array(person.model.identity_names),
        sequences=np.array(truth['sequences']),
        frames=np.array(truth['frames']),
        rotations=np.concatenate(truth['rotations']),
        translations=np.concatenate(truth['translations']),
        expression_weights=np.concatenate(truth['expression_weights']),
        settings=np.array(settings),
    )
    partial.rename(folder / f'{name}.npz')
