"""MediaPipe's face mesh as a child process: its environment, its landmarks, its triangles."""

import collections
import itertools
import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from seqface_jax import errors

VERSION = '0.10.21'
_PACKAGES = (f'mediapipe=={VERSION}', 'numpy<2')
_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'mediapipe_worker.py')
_STAMP = f'installed-{VERSION}'
_TURNED_AWAY = 0.15  # Cosine to the viewer below which a landmark is taken for hidden.


class NoPeerError(errors.UserError):
    """Raised where the peer cannot be installed or run; the benchmark goes on without it."""


class Found(NamedTuple):
    """What MediaPipe says of N pictures; NaN where it finds no face.

    Attributes:
        places: [N, 468, 2] px; depth: [N, 468] px away from the viewer.
        seconds: [N] of the CPU.
        edges: [E, 2] of its mesh.
    """

    places: np.ndarray
    depth: np.ndarray
    seconds: np.ndarray
    edges: np.ndarray

    @property
    def is_face(self):
        """[N] bool."""
        return np.isfinite(self.places).all((1, 2))


def python_of(environment, install=True):
    """Returns the interpreter of MediaPipe's environment, which is made if it is not there.

    Args:
        environment: folder.
        install: whether it may be made; that takes half a gigabyte from PyPI.

    Raises:
        NoPeerError: it cannot be made.
    """
    python = os.path.join(environment, 'bin', 'python')
    stamp = os.path.join(environment, _STAMP)
    if os.path.exists(stamp):
        return python
    if not install:
        raise NoPeerError(f'{environment} holds no MediaPipe {VERSION}')
    commands = (
        [sys.executable, '-m', 'venv', environment],
        [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', *_PACKAGES],
    )
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NoPeerError(f'{command[0]} cannot be run ({error.strerror})') from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
            raise NoPeerError(
                f'MediaPipe {VERSION} cannot be installed into {environment} ({last}): it needs '
                'PyPI and Python 3.9 to 3.12'
            )
    with open(stamp, 'w', encoding='utf-8'):
        pass
    return python


def find(python, pictures):
    """Asks MediaPipe for the landmarks of pictures.

    Args:
        python: interpreter of its environment.
        pictures: list of [H, W, 3] uint8 RGB.

    Raises:
        NoPeerError: it ends with an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = (os.path.join(folder, name) for name in ('in.npz', 'out.npz'))
        np.savez(source, **{str(index): picture for index, picture in enumerate(pictures)})
        done = subprocess.run(
            [python, _WORKER, source, target], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
            raise NoPeerError(f'MediaPipe ended with status {done.returncode}: {last}')
        with np.load(target) as file:
            return Found(file['landmarks'], file['depth'], file['seconds'], file['edges'])


def triangles_of(edges, layout):
    """Returns the triangles of a mesh that is known by its edges.

    Three edges that close a circle are a triangle of the mesh, unless each of them has two
    triangles besides: then the circle only runs around others.

    Args:
        edges: [E, 2].
        layout: [V, 2] the vertices spread flat, x right and y down.

    Returns:
        [F, 3] int32, counter-clockwise as a viewer sees them.
    """
    near = {}
    for one, other in np.asarray(edges).tolist():
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    circles = {
        tuple(sorted((one, two, three)))
        for one in near
        for two in near[one]
        for three in near[one] & near[two]
    }
    uses = collections.Counter(
        edge for circle in circles for edge in itertools.combinations(circle, 2)
    )
    triangles = np.array(
        sorted(
            circle
            for circle in circles
            if min(uses[edge] for edge in itertools.combinations(circle, 2)) < 3
        ),
        np.int32,
    )
    area = signed_areas(layout, triangles)
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    return triangles


def signed_areas(places, triangles):
    """Returns the areas of triangles [F, 3] at places [V, 2] px; positive if counter-clockwise."""
    a, b, c = np.moveaxis(places[triangles], 1, 0)
    across = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return -across / 2  # y points down.


def is_seen(places, depth, triangles):
    """Returns which vertices face the viewer, [V] bool.

    Args:
        places: [V, 2] px; depth: [V] px away from the viewer.
        triangles: [F, 3], counter-clockwise as a viewer in front of the face sees them.
    """
    points = np.column_stack([places, depth])
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    facing = signed_areas(places, triangles)
    sums = [
        np.bincount(triangles.ravel(), np.repeat(values, 3), minlength=len(places))
        for values in (facing, area)
    ]
    return sums[0] > _TURNED_AWAY * np.maximum(sums[1], 1e-9)
