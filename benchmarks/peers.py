"""The flagship beside what a person would take today: MediaPipe's face mesh.

python -m benchmarks.peers --sequences=ict.npz,makehuman.npz --test=embedded.npz [--real=FOLDER]

Same people, same pictures, same metric, and CPU seconds of a frame from the same run, which do not
depend on who else uses the machine:

    mean_face            looks at no picture
    mediapipe            its 468 points of one picture as a mesh, at the mean face's size; the mean
                         over four pictures
    mediapipe + filter   its landmarks of n pictures through this project's geometric filter, with
                         the covariance of their errors as measured on made-up people
    flagship             the run of --workdir

The files are of data_prep.hard_pictures.sequences. Of `--sequences` the landmarks' model is learnt
(mixtures, covariance, how much they are worth): of every other person, and scored on the rest, and
the other way round. Of `--test` and `--real` nothing is learnt. MediaPipe runs as a child process
in the environment --environment, which is made if it is not there (half a gigabyte from PyPI);
where that fails, a sentence says so and nothing is measured.
"""

import functools
import json
import os
import pathlib
import sys
import time
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging

from benchmarks import mediapipe_mesh, peer_methods
from data_prep.package_files import calibrate
from seqface_jax import checkpoints, errors, files
from seqface_jax.evaluation import real_people, scan_distance, statistics, tables
from seqface_jax.geometry import alignment, surface
from seqface_jax.reconstruction import flagship

COUNTS = (1, 2, 4, 8, 16)
MEAN, MESH, FILTER, FLAGSHIP = 'mean_face', 'mediapipe', 'mediapipe + filter', 'flagship'
MESHES = 4  # Pictures of each person whose mesh by MediaPipe alone is scored.
METRICS = ('scan_to_mesh_mm', 'vertex_mm')


class PeerScore(NamedTuple):
    """One person's error by one method.

    Attributes:
        kind, person, method: str.
        count: number of pictures; None where it does not matter.
        metric: one of METRICS.
        value: mm.
    """

    kind: str
    person: str
    method: str
    count: int | None
    metric: str
    value: float


def to_surface_mm(points, face):
    """Returns the mean distance of points [N, 3] mm to a Surface after rigid alignment."""
    # The face is near already; from the mean face's pose the search is short.
    moved = alignment.align_to_surface(points, face).apply(points)
    return float(face.closest(moved).distance.mean())


def score_person(kind, person, methods, region, triangles):
    """Scores all methods on one made-up person; returns a list of PeerScore.

    Args:
        kind: peer_methods.PeopleKind; person: its index.
        methods: {(method, count): face [V, 3] mm of the template, or list of Surface}.
        region: peer_methods.Region; triangles: [F, 3] of the template's face.
    """
    truth = kind.arrays['faces'][person].astype(np.float64)
    points, found = truth[region.vertices], []
    for (method, count), own in methods.items():
        score = functools.partial(PeerScore, kind.name, str(person), method, count)
        if isinstance(own, list):  # MediaPipe's meshes have other vertices.
            value = np.mean([to_surface_mm(points, mesh) for mesh in own])
            found.append(score('scan_to_mesh_mm', float(value)))
            continue
        face = np.asarray(own, np.float64)
        placed = alignment.kabsch(face[region.vertices], points).apply(face)
        value = to_surface_mm(points, surface.Surface(placed, triangles))
        found.append(score('scan_to_mesh_mm', value))
        value = np.linalg.norm(placed[region.vertices] - points, axis=1).mean()
        found.append(score('vertex_mm', float(value)))
    return found


def run_kind(kind, peer_of, stream, region, triangles):
    """Scores all people of a kind.

    Args:
        kind: peer_methods.PeopleKind.
        peer_of: function of a person's index that returns the Peer that has not learnt from them.
        stream: flagship.Stream.
        region: peer_methods.Region; triangles: [F, 3] of the template's face.

    Returns:
        list of PeerScore, and {method: seconds of each frame}.
    """
    scores, seconds = [], {MESH: [], FILTER: [], FLAGSHIP: []}
    count = kind.arrays['images'].shape[1]
    for person in range(len(kind.arrays['images'])):
        peer = peer_of(person)
        own, own_seconds = peer_methods.flagship_faces(stream, kind, person)
        other, other_seconds = peer_methods.filter_faces(peer, kind, person)
        rows = _spread(kind.rows([person]))
        meshes = [
            peer_methods.own_mesh(peer, kind.found.places[row], kind.found.depth[row])
            for row in rows
        ]
        methods = {(MEAN, None): np.asarray(stream.geometry.basis.mean)}
        methods |= {(MESH, 1): meshes} if meshes else {}
        for number in (number for number in COUNTS if number <= count):
            methods[FILTER, number] = other[number - 1]
            methods[FLAGSHIP, number] = own[number - 1]
        scores += score_person(kind, person, methods, region, triangles)
        found = kind.found.seconds[person * count : (person + 1) * count]
        seconds[MESH] += found.tolist()
        seconds[FILTER] += (found + other_seconds).tolist()
        seconds[FLAGSHIP] += own_seconds.tolist()
    return scores, seconds


def _spread(rows):
    """Returns at most MESHES of some pictures, evenly spread."""
    return rows[:: max(1, -(-len(rows) // MESHES))]


def run_real(people, python, peer, reconstructor, region):
    """Scores all methods on scans of real people; see `run_kind`.

    Args:
        people: list of functions that return a data_prep.scanned_people.RealPerson.
        python: interpreter of MediaPipe's environment.
        peer: peer_methods.Peer; reconstructor: of the flagship; region: peer_methods.Region.
    """
    own = reconstructor.geometry
    scores, seconds = [], {MESH: [], FILTER: [], FLAGSHIP: []}
    reconstructor.compile()
    mean = real_people.mean_face(own)
    for load in people:
        person = load()
        pictures = _photos(person.photos)
        points = scan_distance.scan_points(person.vertices, person.triangles, person.nose_tip)
        on_mean = scan_distance.fit(
            surface.Surface(mean.vertices, own.triangles), points, person.nose_tip
        )
        points = points[region.triangles[on_mean.hits.triangle]]
        found = mediapipe_mesh.find(python, pictures)
        lenses = [flagship.usual_lens(picture.shape[:2]) for picture in pictures]
        rows = range(len(pictures))
        other, other_seconds = peer_methods.stream_landmarks(
            peer, found, rows, pictures, lenses.__getitem__
        )
        faces, own_seconds = _reconstructed(reconstructor, pictures, mean.vertices)
        methods = {(MEAN, None): [surface.Surface(mean.vertices, own.triangles)]}
        meshes = [
            peer_methods.own_mesh(peer, found.places[row], found.depth[row])
            for row in _spread(np.flatnonzero(found.is_face))
        ]
        methods |= {(MESH, 1): meshes} if meshes else {}
        for count in sorted({n for n in COUNTS if n <= len(pictures)} | {len(pictures)}):
            face = own.eyes.joined(other[count - 1])
            methods[FILTER, count] = [surface.Surface(face, own.triangles)]
            methods[FLAGSHIP, count] = [surface.Surface(faces[count - 1], own.triangles)]
        for (method, count), surfaces in methods.items():
            gaps = [scan_distance.fit(one, points, person.nose_tip).distance for one in surfaces]
            value = float(np.mean([gap.mean() for gap in gaps]))
            scores.append(PeerScore('real', person.name, method, count, 'scan_to_mesh_mm', value))
        seconds[MESH] += found.seconds.tolist()
        seconds[FILTER] += (found.seconds + other_seconds).tolist()
        seconds[FLAGSHIP] += own_seconds.tolist()
    return scores, seconds


def _photos(folder):
    from seqface_jax.photos import video

    return [one.photo for one in video.open_source(folder).frames if one.photo is not None]


def _reconstructed(reconstructor, pictures, mean):
    """Returns the flagship's face after each photo, finding included, and the seconds of each."""
    state, faces, seconds, vertices = reconstructor.initial_state(), [], [], mean
    for picture in pictures:
        begin = time.process_time()
        state, face = reconstructor.update(state, picture)
        seconds.append(time.process_time() - begin)
        vertices = vertices if face is None else face.vertices
        faces.append(vertices)
    return faces, np.array(seconds)


def rows_of(scores):
    """Returns a dict for each kind, metric, method and number of pictures.

    `p_value` is of the paired test against the flagship at as many pictures (of what looks at one
    picture or none: against the flagship's most pictures).
    """
    groups = {}
    for own in scores:
        key = own.kind, own.metric, own.method, own.count
        groups.setdefault(key, {})[own.person] = own.value
    rows = []
    for (kind, metric, method, count), own in groups.items():
        values = list(own.values())
        low, high = statistics.bootstrap_interval(values) or (None, None)
        counts = [key[3] for key in groups if key[:3] == (kind, metric, FLAGSHIP)]
        same = count if method == FILTER else max(counts, default=None)
        rival = groups.get((kind, metric, FLAGSHIP, same), {})
        p_value = None
        if method != FLAGSHIP and set(own) <= set(rival):
            p_value = statistics.paired_p_value(values, [rival[name] for name in own])
        row = {'kind': kind, 'metric': metric, 'method': method, 'count': count}
        row |= {'people': len(own), 'mean_mm': float(np.mean(values))}
        rows.append(row | {'low_mm': low, 'high_mm': high, 'p_value': p_value})
    return rows


def markdown(rows, seconds):
    """Returns the tables of peers.md."""
    head = ('kind', 'people', 'metric', 'method', 'pictures', 'mm [95 %]', 'p against flagship')
    lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
    for row in rows:
        interval = '' if row['low_mm'] is None else f' [{row["low_mm"]:.2f}, {row["high_mm"]:.2f}]'
        cells = [row['kind'], str(row['people']), row['metric'], row['method']]
        cells.append('-' if row['count'] is None else str(row['count']))
        cells.append(f'{row["mean_mm"]:.2f}{interval}')
        cells.append(statistics.show_p(row['p_value'], row['people']))
        lines.append('| ' + ' | '.join(cells) + ' |')
    lines += ['', '| kind | method | CPU ms a frame, median |', '|---|---|---|']
    for kind, methods in seconds.items():
        for method, values in methods.items():
            if values:
                lines.append(f'| {kind} | {method} | {1e3 * np.median(values):.0f} |')
    return '\n'.join(lines) + '\n'


def read_kinds(paths, learns, python):
    """Reads files of sequences and asks MediaPipe for their landmarks; a list of Kind."""
    kinds = []
    for path in paths:
        arrays = calibrate.read_sequences(path)
        pictures = arrays['images'].reshape(-1, *arrays['images'].shape[2:])
        found = mediapipe_mesh.find(python, pictures)
        kinds.append(peer_methods.PeopleKind(pathlib.Path(path).stem, arrays, found, learns))
    return kinds


def measure(python, sequences, test, real, workdir):
    """Runs everything; returns a list of PeerScore, and {kind: {method: seconds of each frame}}."""
    from seqface_jax.reconstruct import Reconstructor

    workdir = workdir or checkpoints.pretrained()
    _, model, variables = checkpoints.load(workdir, 'best_validation')
    arrays = files.read_arrays(flagship.geometry_path(workdir), flagship.GEOMETRY_ADVICE)
    run = model, variables, arrays
    kinds = read_kinds(sequences, True, python)
    tested = read_kinds(test, False, python)
    halves = []
    for half in (0, 1):  # Scored on those whose number is even, or odd: learnt from the others.
        people = {k.name: np.arange(len(k.arrays['images']))[1 - half :: 2] for k in kinds}
        halves.append(peer_methods.learn(kinds, people, run))
    everybody = peer_methods.learn(
        kinds, {k.name: np.arange(len(k.arrays['images'])) for k in kinds}, run
    )
    reconstructor = Reconstructor.restore(workdir)
    triangles, mean = arrays['triangles'], arrays['mean']
    with_eyes = reconstructor.geometry.triangles
    region = peer_methods.region_of(everybody, mean, with_eyes, arrays['near'])
    stream = flagship.Stream(model, variables, flagship.geometry_of(arrays))
    scores, seconds = [], {}
    for kind in kinds + tested:
        peer_of = _chooser(halves) if kind.learns else lambda person: everybody
        own, seconds[kind.name] = run_kind(kind, peer_of, stream, region, triangles)
        scores += own
    if real:
        own, seconds['real'] = run_real(_people(real), python, everybody, reconstructor, region)
        scores += own
    return scores, seconds


def _chooser(halves):
    return lambda person: halves[person % 2]


def _people(folder):
    from data_prep import scanned_people

    return [
        functools.partial(scanned_people.read, path)
        for path in scanned_people.find(folder).values()
    ]


def write(folder, scores, seconds, about):
    """Writes peers.json and peers.md; returns the text of the latter."""
    os.makedirs(folder, exist_ok=True)
    rows = rows_of(scores)
    text = markdown(rows, seconds)
    medians: dict[str, Any] = {
        kind: {name: float(np.median(own)) for name, own in methods.items() if own}
        for kind, methods in seconds.items()
    }
    results = about | {'rows': rows, 'median_seconds': medians}
    results['scores'] = [own._asdict() for own in scores]
    written = json.dumps(results, indent=1, allow_nan=False) + '\n'
    tables.write_text(os.path.join(folder, 'peers.json'), written)
    tables.write_text(os.path.join(folder, 'peers.md'), text)
    return text


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_list('sequences', [], 'Files of sequences.py to learn from and, in turn, score.')
    flags.DEFINE_list('test', [], 'Files of sequences.py to score on only.')
    flags.DEFINE_string('real', None, 'Folder of real people, as of run_eval.py --real.')
    flags.DEFINE_string('workdir', None, "The flagship's run; the package's if left out.")
    flags.DEFINE_string('environment', 'runs/mediapipe', "Folder of MediaPipe's environment.")
    flags.DEFINE_bool('install', True, 'Make the environment where it is not there.')
    flags.DEFINE_string('output', 'runs/peers', 'Folder of the tables.')


@errors.exit_on_user_error
def main(argv):
    """Measures, writes the tables and prints them."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    values = flags.FLAGS
    if not values.sequences:
        raise errors.UserError('--sequences is missing: give files of made-up people to learn from')
    from seqface_jax.commands import compilation_cache

    compilation_cache.turn_on()
    try:
        python = mediapipe_mesh.python_of(values.environment, install=values.install)
        scores, seconds = measure(
            python, values.sequences, values.test, values.real, values.workdir
        )
    except mediapipe_mesh.NoPeerError as error:
        sys.stdout.write(f'skipped: {error}\n')
        return
    about = {'mediapipe': mediapipe_mesh.VERSION, 'workdir': values.workdir or 'packaged run'}
    sys.stdout.write(write(values.output, scores, seconds, about))
    sys.stderr.write(f'wrote {values.output}\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
