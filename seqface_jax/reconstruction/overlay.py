"""The reconstructed mesh laid over a photo: edges, the 68 landmarks and the axes of the pose."""

import functools

import cv2
import numpy as np

from seqface_jax.geometry import surface
from seqface_jax.reconstruction import frame_fit

# iBUG's 68 points as chains: jaw, brows, bridge and base of the nose, lids, outer and inner lip.
CHAINS = (
    range(0, 17),
    range(17, 22),
    range(22, 27),
    range(27, 31),
    range(31, 36),
    (*range(36, 42), 36),
    (*range(42, 48), 42),
    (*range(48, 60), 48),
    (*range(60, 68), 60),
)
NOSE_TIP = 30  # Index among the 68 landmarks.
AXIS_COLORS = ((224, 49, 49), (47, 158, 68), (34, 110, 240))  # x, y, z: RGB.
LANDMARK_COLOR, HIDDEN_COLOR = (255, 214, 10), (150, 130, 60)
EDGE_COLOR = (60, 230, 235)
# Share of the edges' colour in the picture, for each pixel between edges; a fine mesh stays clear.
_EDGE_STRENGTH_PER_PX, _MAX_EDGE_STRENGTH = 0.1, 0.5
_AXIS_MM = 45.0
_MIN_FACING = 0.05  # Cosine between normal and view, below which a vertex is hidden.
_CELL_EDGES = 3.0  # Width of a cell of the depth grid, in median edges of the mesh.
_BEHIND_MM = 14.0  # A vertex so far behind the nearest one in its cell is hidden.
_FRACTION_BITS = 4  # Sub-pixel digits of OpenCV's drawing.
_MARGIN = 1.25  # Side of a close-up, in sides of the face.


class MeshOverlay:
    """Draws one mesh topology over photos.

    Attributes:
        landmark_indices: [68] vertices, iBUG's order; None draws no landmarks.
    """

    def __init__(self, triangles, landmark_indices=None, quads=None):
        """Takes a topology.

        Args:
            triangles: [F, 3].
            landmark_indices: [68] vertices, iBUG's order, or None.
            quads: [Q, 4] polygons whose edges are drawn; the triangles' edges if left out.
        """
        self.triangles = np.asarray(triangles)
        self.landmark_indices = landmark_indices
        edges = polygon_edges(self.triangles if quads is None else np.asarray(quads))
        self._edge_begins, self._edge_ends = np.ascontiguousarray(edges.T)
        trails = edge_trails(edges)
        self._trail = np.concatenate(trails)  # The vertices of all, one after the other,
        self._goes_on = np.ones(len(self._trail) - 1, bool)  # and whether an edge follows each.
        self._goes_on[np.cumsum([len(trail) for trail in trails])[:-1] - 1] = False

    def draw(self, picture, fit):
        """Draws the face of a fit.

        Args:
            picture: [H, W, 3] uint8 RGB.
            fit: frame_fit.FrameFit for this picture.

        Returns:
            [H, W, 3] uint8 RGB, a new picture.
        """
        places = frame_fit.project(fit, fit.vertices)
        lengths = self._edge_lengths(places)
        visible = self._visible(fit, places, lengths)
        width = max(1, round(max(picture.shape[:2]) / 900))
        lines = np.ascontiguousarray(picture).copy()
        _draw_lines(lines, self._visible_trails(_fixed(places), visible), EDGE_COLOR, width)
        lengths = lengths[visible[self._edge_begins] & visible[self._edge_ends]]
        strength = min(_EDGE_STRENGTH_PER_PX * _typical(lengths) / width, _MAX_EDGE_STRENGTH)
        drawn = cv2.addWeighted(lines, strength, picture, 1 - strength, 0)
        if self.landmark_indices is not None:
            self._draw_landmarks(drawn, places, visible, width)
        self._draw_axes(drawn, fit, 2 * width)
        return drawn

    def visible(self, fit):
        """Returns which vertices face the camera and lie behind no other part, [V] bool.

        A coarse depth grid decides; a vertex near the silhouette may be taken for hidden.
        """
        places = frame_fit.project(fit, fit.vertices)
        return self._visible(fit, places, self._edge_lengths(places))

    def _visible(self, fit, places, lengths):
        seen = frame_fit.camera_points(fit, fit.vertices)
        normals = surface.vertex_normals(np.asarray(fit.vertices, np.float64), self.triangles)
        normals = normals @ np.asarray(fit.rotation).T
        towards = -seen / np.linalg.norm(seen, axis=1, keepdims=True)
        facing = (normals * towards).sum(1) > _MIN_FACING
        facing &= seen[:, 2] > 0
        cell = _CELL_EDGES * _typical(lengths)
        grid = np.floor((places - places.min(0)) / max(cell, 1e-6)).astype(np.int64)
        number = grid[:, 1] * (grid[:, 0].max() + 1) + grid[:, 0]
        _, number = np.unique(number, return_inverse=True)
        nearest = np.full(number.max() + 1, np.inf)
        np.minimum.at(nearest, number[facing], seen[facing, 2])
        return facing & (seen[:, 2] < nearest[number] + _BEHIND_MM)

    def _edge_lengths(self, places):
        x, y = places.T
        begins, ends = self._edge_begins, self._edge_ends
        return np.hypot(x[begins] - x[ends], y[begins] - y[ends])

    def _visible_trails(self, places, visible):
        """Returns the parts of all trails whose vertices are visible, a list of [N, 2] places."""
        seen = visible[self._trail]
        runs = np.pad((seen[:-1] & seen[1:] & self._goes_on).astype(np.int8), 1)
        begins, ends = (np.flatnonzero(np.diff(runs) == step) for step in (1, -1))
        along = places[self._trail]
        return [along[begin : end + 1] for begin, end in zip(begins, ends, strict=True)]

    def _draw_landmarks(self, picture, places, visible, width):
        landmarks = _fixed(places[self.landmark_indices])
        is_seen = visible[self.landmark_indices]
        chains = [landmarks[list(chain)] for chain in CHAINS]
        _draw_lines(picture, chains, LANDMARK_COLOR, width)
        for place, seen in zip(landmarks, is_seen, strict=True):
            color = LANDMARK_COLOR if seen else HIDDEN_COLOR
            radius = int((1.6 if seen else 1.2) * width * 2**_FRACTION_BITS)
            cv2.circle(picture, place, radius, color, -1, cv2.LINE_AA, _FRACTION_BITS)

    def _draw_axes(self, picture, fit, width):
        indices = self.landmark_indices
        start = fit.vertices.mean(0) if indices is None else fit.vertices[indices[NOSE_TIP]]
        ends = start + _AXIS_MM * np.eye(3)
        places = _fixed(frame_fit.project(fit, np.concatenate([[start], ends])))
        for place, color in zip(places[1:], AXIS_COLORS, strict=True):
            _draw_lines(picture, [np.stack([places[0], place])], color, width)


def polygon_edges(polygons):
    """Returns the edges [E, 2] of polygons [F, K], each once."""
    pairs = np.stack([polygons, np.roll(polygons, -1, axis=1)], axis=-1).reshape(-1, 2)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def edge_trails(edges):
    """Joins edges to lines of many edges, of which OpenCV draws far more in the same time.

    Args:
        edges: [E, 2] vertices, each edge once.

    Returns:
        list of [N], the vertices of each line in order; each edge is in one of them, once.
    """
    vertex = edges.ravel()  # Edge e begins at number 2 e and ends at 2 e + 1.
    order = np.argsort(vertex, kind='stable')
    first = np.searchsorted(vertex[order], vertex[order])
    is_even = (np.arange(len(order)) - first) % 2 == 0
    meets = is_even[:-1] & (vertex[order[:-1]] == vertex[order[1:]])  # Two of one vertex each.
    next_of = np.full(len(vertex), -1)
    next_of[order[:-1][meets]], next_of[order[1:][meets]] = order[1:][meets], order[:-1][meets]
    starts = np.argsort(next_of >= 0, kind='stable').tolist()  # The ends of lines come first.
    vertex, next_of = vertex.tolist(), next_of.tolist()
    is_used, trails = bytearray(len(edges)), []
    for at in starts:
        if is_used[at >> 1]:
            continue
        trail = [vertex[at]]
        while at >= 0 and not is_used[at >> 1]:
            is_used[at >> 1] = True
            trail.append(vertex[at ^ 1])  # The other end of this edge.
            at = next_of[at ^ 1]
        trails.append(np.array(trail))
    return trails


def face_square(fit, size_px):
    """Returns the square around the face of a fit, [4] x0, y0, x1, y1 px of the photo.

    It lies inside the photo of `size_px` (width, height) as far as all of the face that the photo
    shows is inside the square.
    """
    places = frame_fit.project(fit, fit.vertices)
    low, high = places.min(0), places.max(0)
    shown = np.minimum(high, size_px) - np.maximum(low, 0)
    side = min(_MARGIN * (high - low).max(), max(*shown, min(size_px)))
    start, room = (low + high - side) / 2, np.subtract(size_px, side)
    start = np.where(room < 0, room / 2, np.clip(start, 0, np.maximum(room, 0)))
    return np.concatenate([start, start + side])


def close_up(photo, fit, side_px):
    """Cuts out the face; what is beyond the border of a photo that is too narrow is black.

    Args:
        photo: [H, W, 3] uint8 RGB.
        fit: frame_fit.FrameFit of the photo.
        side_px: of the picture.

    Returns:
        [side_px, side_px, 3] uint8 RGB, and the FrameFit for it.
    """
    height, width = photo.shape[:2]
    square = face_square(fit, (width, height))
    zoom = side_px / (square[2] - square[0])
    if zoom < 0.5:  # Shrink first: bilinear sampling alone would leave out pixels.
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        scale = np.array([small.shape[1] / width, small.shape[0] / height])
    else:
        small, scale = photo, np.ones(2)
    x, y = ((np.arange(side_px) + 0.5) / zoom + square[k] for k in (0, 1))
    x, y = np.meshgrid(x * scale[0] - 0.5, y * scale[1] - 0.5)
    cut = functools.partial(cv2.remap, interpolation=cv2.INTER_LINEAR)
    picture = cut(small, x.astype(np.float32), y.astype(np.float32))
    return picture, frame_fit.in_crop(fit, square, side_px)


def whole(photo, fit, longest_px):
    """Returns the photo with its longer side at most `longest_px`, and the FrameFit for it."""
    height, width = photo.shape[:2]
    zoom = min(1.0, longest_px / max(height, width))
    if zoom == 1:
        return photo, fit
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    picture = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    square = np.array([0, 0, size[0] / zoom, size[0] / zoom])
    return picture, frame_fit.in_crop(fit, square, size[0])


def _typical(lengths):
    """Returns the median; 0 if there is none."""
    return float(np.median(lengths)) if len(lengths) else 0.0


def _draw_lines(picture, lines, color, width):
    """Draws lines, each [N, 2] in OpenCV's fixed-point numbers, into a picture."""
    cv2.polylines(picture, lines, False, color, width, cv2.LINE_AA, _FRACTION_BITS)


def _fixed(places):
    """Returns places in OpenCV's fixed-point numbers, whose pixel middles are whole."""
    limit = 2**14  # Beyond any picture, and small enough for OpenCV's arithmetic.
    places = np.clip(np.nan_to_num(places) - 0.5, -limit, limit)
    return np.rint(places * 2**_FRACTION_BITS).astype(np.int32)
