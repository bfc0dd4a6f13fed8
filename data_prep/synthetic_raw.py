"""Writes a raw tree of synthetic people in the layout of BU-4DFE.

RAW/F001/Angry/000.wrl and 000.jpg and so on; six expressions per person, each from neutral over
its apex back to neutral. Beside it the truth, RAW/truth/F001.npz: vertices [V, 3] float32 mm of the
neutral face in the head's frame, triangles [F, 3] int32, and per frame: sequences (N,) str, frames
(N,) int, rotations [N, 3, 3], translations [N, 3] mm (scan = rotation @ vertex + translation),
expression_weights [N, 6].
"""

import dataclasses
import json
import pathlib
import shutil
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.scans import scan_io
from data_prep.scans.ray_scene import ray_scene
from data_prep.sources import splits
from data_prep.synthetic import appearance, deformation, expressions, faces, renderer, scanner
from data_prep.synthetic.person import Person, pose_over_time
from data_prep.synthetic.studio import studio_camera
from data_prep.work.worker_pool import Workers
from seqface_jax import files
from seqface_jax.errors import UserError

_MISSING = range(27, 32)  # F027-F031 are missing in many copies of BU-4DFE, and here.
_WOMEN, _MEN = 53, 43  # So many are in the first 96 ids.
SCANS = ('all', 'neutral')  # Which frames have a scan.
_JPEG_QUALITY = 92
_FAR_TURN_DEG = 45  # Beyond it heads show their backs, and the scanner stands where they look.
_SMALL_PHOTO = 500  # Pixels; up to here a coarser mesh makes the same picture.


def subject_ids(count):
    """Returns `count` ids: F001, M001, F002, ... without F027 to F031, then F059, M044, ..."""
    women = [f'F{k:03d}' for k in range(1, 59) if k not in _MISSING]
    men = [f'M{k:03d}' for k in range(1, _MEN + 1)]
    ids = [name for pair in zip(women, men, strict=False) for name in pair] + women[_MEN:]
    further = range((max(count - len(ids), 0) + 1) // 2)
    ids += [f'{sex}{first + k:03d}' for k in further for sex, first in (('F', 59), ('M', 44))]
    return ids[:count]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a tree is made of, the same for all its people.

    Attributes:
        frames: of each of the six sequences.
        seed: another seed, other people.
        scan_vertices: of a scan, about.
        photo_height: pixels; the width follows.
        turn_deg: how far heads turn to their sides, besides small sways; 0 as in BU-4DFE.
        face: the kind of face, one of faces.NAMES.
        face_dir: folder of that face's files; None for the embedded face.
        scans: 'all' frames have a scan, or only the 'neutral' first frame of every sequence,
            whose other frames are photos; a sequence then ends before it is neutral again.
        test_frames: of each sequence of the people whose split is test; None: as the others.
        sequences: how many of the six sequences a person has, drawn for each; None: all.
        spread: how much further than usual identities lie from the mean face; None: no further.
        deform_mm: standard deviation of a smooth random displacement of every coordinate of the
            face; None: none.
    """

    frames: int
    seed: int
    scan_vertices: int
    photo_height: int
    turn_deg: int = 0
    face: str = faces.EMBEDDED
    face_dir: str | None = None
    scans: str = SCANS[0]
    test_frames: int | None = None
    sequences: int | None = None
    spread: float | None = None
    deform_mm: float | None = None

    @property
    def few_or_far(self):
        """Scans are few, or heads turn far: then the scanner must see the whole face."""
        return self.scans == 'neutral' or self.turn_deg > _FAR_TURN_DEG

    def frames_of(self, split):
        """Returns how many frames a sequence of a person of this split has."""
        return self.test_frames if split == 'test' and self.test_frames else self.frames


def write(out_dir, num_subjects, workers, settings, first=1, only_split=None):
    """Writes the tree; people that are complete on disk are kept.

    A person depends on the settings and the id only, whatever the number of people or workers.

    Args:
        out_dir: folder, made where needed.
        num_subjects: how many people.
        workers: processes.
        settings: Settings.
        first: which of them, counted from 1, is the first to write; those before are not looked at,
            and may have other settings.
        only_split: 'train', 'validation' or 'test': only the people of this split.

    Raises:
        UserError: the folder holds people written with other settings, or the settings name a
            face that cannot be opened.
    """
    faces.open_face(settings.face, settings.face_dir)  # Its errors belong before any work.
    out_dir = pathlib.Path(out_dir)
    (out_dir / 'truth').mkdir(parents=True, exist_ok=True)
    ids = subject_ids(num_subjects)[first - 1 :]
    split_of, _ = splits.assign(ids, splits.read_csv(splits.default_csv('bu4dfe')))
    if only_split is not None:
        ids = [name for name in ids if split_of[name] == only_split]
    sequences = settings.sequences or len(expressions.NAMES)
    tasks = []
    for name in ids:
        truth = out_dir / 'truth' / f'{name}.npz'
        if truth.exists():
            _check_settings(truth, settings)
        else:
            tasks.append((str(out_dir), name, settings.frames_of(split_of[name]), settings))
    total = sequences * sum(task[2] for task in tasks)
    bar = tqdm(total=total, unit='frame', desc='synthetic people')
    with Workers(min(workers, max(len(tasks), 1))) as pool, bar:
        for task, _, death in pool.run(_write_subject, tasks):
            if death is not None:
                raise UserError(f'{task[1]}: {death}; run the same command again to go on.')
            bar.update(sequences * task[2])


def _recorded(settings):
    """Returns the settings as they are kept in the truth; a face's folder may move."""
    values = dataclasses.asdict(settings)
    values.pop('face_dir')
    return values


def _check_settings(truth, settings):
    """Raises UserError if a person was written with other settings."""
    try:
        with np.load(truth) as arrays:
            written = json.loads(str(arrays['settings']))
    except (OSError, *files.DAMAGED_ARRAYS):
        written = None
    if not isinstance(written, dict):
        raise UserError(
            f'{truth}: was written by another version, or is damaged; choose another --out_dir.'
        )
    wanted = _recorded(settings)
    other = [name for name in wanted if written.get(name) != wanted[name]]
    if other:
        raise UserError(
            f'{truth}: was written with other {", ".join(other)}; choose another --out_dir, '
            'or the same options to go on with this one.'
        )


def _write_subject(task):
    """Writes one person into a temporary folder and moves it into place when complete."""
    out_dir, name, frames, settings = task
    cv2.setNumThreads(1)  # There is one process per core.
    out_dir = pathlib.Path(out_dir)
    partial = out_dir / f'.{name}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    face = faces.open_face(settings.face, settings.face_dir)
    key = [settings.seed, 'FM'.index(name[0]), int(name[1:])]
    rng = np.random.default_rng(key)
    looks = appearance.sample_appearance(rng, name[0])
    identity = face.sample_identity(rng, name[0])
    if settings.spread is not None:
        identity *= np.float32(settings.spread)
    person = Person(
        identity,
        looks,
        face,
        fine=settings.photo_height > _SMALL_PHOTO,
        all_round=settings.turn_deg > _FAR_TURN_DEG,
        deformation=_deformation(settings.deform_mm, key),
    )
    camera = studio_camera(settings.photo_height, rng)
    recording = scanner.sample_scanner(
        settings.scan_vertices,
        looks.scanned_extras,
        rng,
        turns_along=settings.few_or_far,
    )
    photographer = renderer.Renderer(person, camera, rng)
    truth = {'sequences': [], 'frames': [], 'rotations': [], 'translations': [],
             'expression_weights': []}  # fmt: skip
    for number in _sequence_numbers(settings.sequences, key):
        sequence = expressions.NAMES[number]
        folder = partial / sequence
        folder.mkdir(parents=True)
        moves = _moves(number, frames, settings, np.random.default_rng([*key, number]))
        _write_sequence(folder, moves, photographer, recording)
        truth['sequences'] += [sequence] * frames
        truth['frames'] += list(range(frames))
        truth['rotations'].append(moves.rotations)
        truth['translations'].append(moves.translations + recording.offset)
        truth['expression_weights'].append(moves.weights)
    shutil.rmtree(out_dir / name, ignore_errors=True)  # A folder without truth is not complete.
    partial.rename(out_dir / name)
    _write_truth(out_dir / 'truth', name, person, truth, settings)


def _deformation(deviation_mm, key):
    """Returns a person's own deformation, or None."""
    if deviation_mm is None:
        return None
    # Smaller numbers are taken: by each sequence, and by the choice of sequences.
    rng = np.random.default_rng([*key, len(expressions.NAMES) + 1])
    return deformation.sample_deformation(rng, deviation_mm)


def _sequence_numbers(count, key):
    """Returns which of the six sequences a person has, in their order."""
    number = len(expressions.NAMES)
    if count is None:
        return range(number)
    drawn = np.random.default_rng([*key, number]).permutation(number)
    return sorted(drawn[:count].tolist())


class _Moves(NamedTuple):
    """What a person does in one sequence of N frames, and the sequence's random numbers.

    weights: [N, 6]; blink: [N]; rotations: [N, 3, 3]; translations: [N, 3] mm; scanned: [N] bool.
    """

    weights: np.ndarray
    blink: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    scanned: np.ndarray
    rng: np.random.Generator


def _moves(number, frames, settings, rng):
    """Draws one sequence: expression `number` from neutral over its apex and back."""
    neutral_only = settings.scans == 'neutral'
    moments = frames + 1 if neutral_only else frames  # The last, neutral again, is left out.
    weights = np.zeros((moments, len(expressions.NAMES)), np.float32)
    weights[:, number] = expressions.weights_over_time(moments, rng)
    blink = expressions.blinks_over_time(moments, rng)
    turn_rad = np.radians(settings.turn_deg)
    rotations, translations = pose_over_time(
        moments, rng, turn_rad, starts_ahead=settings.few_or_far
    )
    scanned = np.arange(frames) == 0 if neutral_only else np.ones(frames, bool)
    return _Moves(
        weights[:frames], blink[:frames], rotations[:frames], translations[:frames], scanned, rng
    )


def _write_sequence(folder, moves, photographer, recording):
    """Writes the photos and scans of one expression."""
    person, rng = photographer.person, moves.rng
    lights = renderer.sample_lights(rng)
    for k, rotation in enumerate(moves.rotations):
        translation = moves.translations[k]
        surface = person.surface(moves.weights[k], moves.blink[k], rotation, translation)
        scene = ray_scene(surface, person.triangles)
        photo = photographer.photo(scene, surface, lights, rng)
        path = folder / f'{k:03d}.jpg'
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        path.write_bytes(cv2.imencode('.jpg', photo[..., ::-1], quality)[1].tobytes())
        if moves.scanned[k]:
            raw = scanner.scan(
                person, scene, surface, rotation, translation, recording, photographer.camera,
                path.name, rng,
            )  # fmt: skip
            scan_io.write_vrml(path.with_suffix('.wrl'), raw)


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
        settings=np.array(json.dumps(_recorded(settings))),
    )
    partial.rename(folder / f'{name}.npz')
