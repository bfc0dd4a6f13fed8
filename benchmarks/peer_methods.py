"""MediaPipe's face mesh and the flagship as methods: pictures of a person in, faces out.

Used by benchmarks/peers.py, which says what is compared.
"""

import functools
import time
from typing import NamedTuple

import numpy as np

from benchmarks import landmark_model, mediapipe_mesh
from data_prep.package_files import calibrate
from seqface_jax.geometry import alignment, surface
from seqface_jax.reconstruction import flagship

_NEAR_MM = 5.0  # Template vertices so near to MediaPipe's mesh on the mean face are in its oval.


class Peer(NamedTuple):
    """MediaPipe, as it is used here.

    Attributes:
        stream: flagship.Stream whose points are the landmarks.
        model: landmark_model.LandmarkModel.
        triangles: [F, 3] of its mesh.
        mean: [468, 3] mm, its landmarks on the mean face.
    """

    stream: flagship.Stream
    model: landmark_model.LandmarkModel
    triangles: np.ndarray
    mean: np.ndarray


class Region(NamedTuple):
    """Where everybody is compared: the part of the face that MediaPipe's mesh covers.

    Attributes:
        vertices: [V] bool, of the template's face.
        triangles: [F] bool, of the template's triangles with eyes.
    """

    vertices: np.ndarray
    triangles: np.ndarray


class PeopleKind(NamedTuple):
    """Pictures of people of one kind.

    Attributes:
        name: str.
        arrays: of data_prep.hard_pictures.sequences, [N, T, ...].
        found: mediapipe_mesh.Found of the N T pictures.
        learns: whether anything may be learnt from it.
    """

    name: str
    arrays: dict
    found: mediapipe_mesh.Found
    learns: bool

    def rows(self, people):
        """Returns the pictures [M] of some people in which MediaPipe finds a face."""
        count = self.arrays['images'].shape[1]
        rows = (np.asarray(people)[:, None] * count + np.arange(count)).ravel()
        return rows[self.found.is_face[rows]]


def learn(kinds, people, run):
    """Makes the Peer out of made-up people.

    Args:
        kinds: list of PeopleKind to learn from.
        people: {name of a kind: indices of people}.
        run: (model, variables, geometry arrays) of the flagship.
    """
    model, variables, arrays = run
    base = flagship.geometry_of(arrays)
    parts = [(kind, kind.rows(people[kind.name])) for kind in kinds]

    def joined(name):
        flat = [kind.arrays[name].reshape(-1, *kind.arrays[name].shape[2:]) for kind, _ in parts]
        return np.concatenate([own[rows] for own, (_, rows) in zip(flat, parts, strict=True)])

    landmarks = np.concatenate([kind.found.places[rows] for kind, rows in parts])
    measured = landmark_model.fit(landmarks, joined('places'), joined('seen'))
    points = landmark_model.point_model(base.points, measured)
    mean = measured.mixture @ (arrays['mean'][arrays['points']])
    triangles = mediapipe_mesh.triangles_of(parts[0][0].found.edges, mean[:, :2] * [1, -1])
    geometry = base._replace(points=points)
    peer = Peer(flagship.Stream(model, variables, geometry), measured, triangles, mean)
    return _with_worth(peer, kinds, people, arrays)


def _with_worth(peer, kinds, people, arrays):
    """Returns the Peer with the tempering that is best for the people it learns from.

    It is chosen as the flagship's is, see calibrate.most_careful.
    """
    scored = []
    for tempering in calibrate.TEMPERINGS:
        geometry = peer.stream.geometry
        settings = geometry.settings.replace(tempering=np.float32(tempering))
        tried = _with_geometry(peer, geometry._replace(settings=settings))
        ratios = []
        for kind in kinds:
            for person in people[kind.name]:
                truth, near = kind.arrays['faces'][person], arrays['near']
                faces, _ = filter_faces(tried, kind, person, last_only=True)
                own = calibrate.aligned_error(faces[-1], truth, near)[0].mean()
                ratios.append(own / calibrate.aligned_error(arrays['mean'], truth, near)[0].mean())
        scored.append((np.mean(ratios), tried))
    _, best = calibrate.most_careful(scored)
    return best


def _with_geometry(peer, geometry):
    return peer._replace(stream=peer.stream.with_geometry(geometry))


def lens_of(arrays, person, number):
    """Returns the flagship.Lens of a made-up picture; it depends on nothing but the picture."""
    rng = np.random.default_rng([person, number])
    return calibrate.lens_of(arrays, person, number, rng)


def filter_faces(peer, kind, person, *, last_only=False):
    """Streams one person's landmarks through the filter.

    Args:
        peer: Peer; kind: PeopleKind; person: its index.
        last_only: whether only the last face is wanted; the others are then the mean face.

    Returns:
        list of the face [V, 3] mm after each picture, and seconds [T] of the filter alone. A
        picture without a face changes nothing; before the first one the face is the mean face.
    """
    lenses = functools.partial(lens_of, kind.arrays, person)
    pictures = kind.arrays['images'][person]
    first = person * len(pictures)
    rows = range(first, first + len(pictures))
    return stream_landmarks(peer, kind.found, rows, pictures, lenses, last_only=last_only)


def stream_landmarks(peer, found, rows, pictures, lenses, *, last_only=False):
    """Streams landmarks of pictures through the filter; see `filter_faces`.

    Args:
        peer: Peer.
        found: mediapipe_mesh.Found; rows: which of it the pictures are.
        pictures: list of [H, W, 3] uint8.
        lenses: function of the number of a picture that returns its flagship.Lens.
    """
    stream = peer.stream
    count = len(stream.geometry.basis.mean)  # The eyes come after the face.
    state, faces, seconds = stream.initial_state(), [], []
    face = np.asarray(stream.geometry.basis.mean)
    for number, row in enumerate(rows):
        begin = time.process_time()
        if found.is_face[row]:
            places, depth = found.places[row], found.depth[row]
            seen = mediapipe_mesh.is_seen(places, depth, peer.triangles)
            sighting = landmark_model.sighting(places, seen, peer.model)
            state, _, _ = stream.update(state, pictures[number], sighting, lenses(number), refits=0)
            if not last_only:
                face = stream.read(state)[0][:count]
        seconds.append(time.process_time() - begin)
        faces.append(face)
    if last_only and found.is_face[list(rows)].any():
        faces[-1] = stream.read(state)[0][:count]
    return faces, np.array(seconds)


def flagship_faces(stream, kind, person):
    """Streams one person's pictures through the flagship; see `filter_faces`."""
    count, state, faces, seconds = len(stream.geometry.basis.mean), stream.initial_state(), [], []
    for number, picture in enumerate(kind.arrays['images'][person]):
        begin = time.process_time()
        sighting = calibrate.sight(stream.finder, picture)
        lens = lens_of(kind.arrays, person, number)
        state, _, _ = stream.update(state, picture, sighting, lens)
        faces.append(stream.read(state)[0][:count])
        seconds.append(time.process_time() - begin)
    return faces, np.array(seconds)


def own_mesh(peer, places, depth):
    """Returns MediaPipe's mesh of one picture at the mean face's size and pose, a Surface, mm.

    Args:
        peer: Peer.
        places: [468, 2] px; depth: [468] px away from the viewer.
    """
    points = np.column_stack([places, depth])
    placed = alignment.Similarity(*alignment.umeyama(points, peer.mean)).apply(points)
    return surface.Surface(placed, peer.triangles)


def region_of(peer, mean, triangles, near):
    """Returns the Region that MediaPipe's mesh covers on the mean face.

    Args:
        peer: Peer.
        mean: [V, 3] mm, the mean face without eyes; triangles: [F, 3], with eyes.
        near: [V] bool, the template's vertices that are scored at all.
    """
    hits = surface.Surface(peer.mean, peer.triangles).closest(mean)
    covered = ~hits.on_border & (hits.distance < _NEAR_MM)
    padded = np.concatenate([covered, np.zeros(triangles.max() + 1 - len(covered), bool)])
    return Region(near & covered, padded[triangles].all(1))
