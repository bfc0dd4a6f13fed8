"""The Reconstructor of the flagship: every answer comes out of the geometric filter's state."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from seqface_jax import checkpoints
from seqface_jax.correspondence.sighting import Sighting
from seqface_jax.correspondence.turned_crops import Crop
from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import belief
from seqface_jax.photos.sharpness import MIN_SHARPNESS, sharpness
from seqface_jax.reconstruction import flagship, overlay, result_files, saved_states
from seqface_jax.reconstruction.frame_fit import FrameFit
from seqface_jax.reconstruction.template_painter import TemplatePainter

# A fit whose points are off by more than this share of the face's width is of something else.
MAX_ERROR = 0.08
MIN_INLIERS = 0.25  # Share of the points that lie where the fitted face has them.
TOPOLOGY = 'ICT-FaceKit face (vertices 0 to 9408), then the fronts of both eyeballs'
_FRAMES_PER_SECOND = 30.0  # Of overlay.mp4.
_COMPARED = 3  # Faces of one photo that are compared with the person.
_LESSER = 0.45  # Of the largest face's size, from which on another face is compared.


class Outcome(NamedTuple):
    """What a photo would change.

    Attributes:
        state: the belief.Belief after it.
        fit: geometric_filter.point_fit.PointFit.
        sighting: Sighting that was fitted.
    """

    state: Any
    fit: Any
    sighting: Sighting


class PointReconstructor:
    """Turns photos of one person into that person's neutral face; see reconstruct.Reconstructor.

    Holds the network and the geometry and nothing else: what was seen is in the states.
    """

    face_mask = None

    def __init__(self, config, model, variables, geometry, *, min_sharpness=MIN_SHARPNESS):
        """Takes what `checkpoints.load` returns, and the run's flagship.Geometry."""
        self.config, self.geometry = config, geometry
        self._variables = variables
        self._stream = flagship.Stream(model, variables, geometry)
        self._min_sharpness = min_sharpness
        self._is_compiled = False

    @classmethod
    def restore(cls, workdir, which, *, min_sharpness=MIN_SHARPNESS):
        """Reads a run's checkpoint, its config and its geometry.npz.

        Raises:
            UserError: one of them is missing or cannot be read.
        """
        loaded = checkpoints.load(workdir, which)
        geometry = flagship.read_geometry(flagship.geometry_path(workdir))
        return cls(*loaded, geometry, min_sharpness=min_sharpness)

    def initial_state(self):
        """Returns the State before the first photo."""
        from seqface_jax.reconstruct import State

        return State(None, None, 0)

    def compile(self):
        """Compiles the network and the filter, which the first `update` does otherwise."""
        if self._is_compiled:
            return
        size = self.config.data.image_size
        photo = np.zeros((size, size, 3), np.uint8)
        sighting = self._stream.finder.look(photo, Crop(np.full(2, size / 2), float(size)))
        state, _, _ = self._stream.update(self._stream.initial_state(), photo, sighting)
        self._stream.read(state)
        self._is_compiled = True

    def examine(self, state, photo, *, video=False):
        """Finds the person on a photo and fits the face; changes nothing.

        Args:
            state: what `initial_state` or the last `update` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            video: the photo follows the last one in time: the face is first looked for there.

        Returns:
            reconstruct.Observation, whose `outcome` is an Outcome if the photo can be used.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        from seqface_jax import reconstruct

        reconstruct.check_photo(photo)
        self.compile()
        network = self._network(state)
        sightings = self._stream.finder.find(photo, state.detection if video else None)
        if not sightings:
            return reconstruct.Observation(None, None, 0.0, reconstruct.Rejection.NO_FACE)
        outcome = self._of_person(network, photo, sightings, state.num_frames)
        sighting, fit = outcome.sighting, outcome.fit
        frame = sighting.crop.cut(photo, self.config.data.image_size)
        sharp = sharpness(sighting.crop.cut(photo, 256))
        rejection = None
        width = np.ptp(sighting.places[:, 0]) + 1e-6
        if float(fit.error_px) > MAX_ERROR * width or float(fit.inlier_share) < MIN_INLIERS:
            rejection = reconstruct.Rejection.NO_POSE
        elif sharp < self._min_sharpness:
            rejection = reconstruct.Rejection.BLURRED
        return reconstruct.Observation(sighting, frame, sharp, rejection, outcome)

    def update(self, state, photo, observation=None):
        """Takes one more photo into account; see reconstruct.Reconstructor.update."""
        from seqface_jax.reconstruct import State

        observation = observation or self.examine(state, photo)
        if observation.rejection is not None:
            return state, None
        outcome = observation.outcome
        state = State(outcome.state, outcome.sighting, state.num_frames + 1)
        return state, self._face(outcome.state, outcome, photo.shape[:2])

    def face(self, state):
        """Returns the Face that a state stands for, without a further photo.

        Raises:
            UserError: nothing was seen yet.
        """
        if state.network is None:
            raise UserError('there is no face yet: update the state with a photo first')
        return self._face(state.network)

    def merge(self, first, second):
        """Joins two states of one person, such as of the two halves of a video."""
        from seqface_jax.reconstruct import State

        if first.network is None or second.network is None:
            return second if first.network is None else first
        own = self.geometry
        network = belief.merge(first.network, second.network, own.shared, own.settings)
        return State(network, second.detection, first.num_frames + second.num_frames)

    def save_state(self, path, state):
        """Writes a state as .npz, to be read by `load_state` of the same run."""
        saved_states.save(path, state._replace(detection=None), self._fingerprint)

    def load_state(self, path):
        """Reads a state that `save_state` wrote.

        Raises:
            UserError: the file is missing, no state, damaged, or of another run.
        """
        from seqface_jax.reconstruct import State

        network = jax.eval_shape(self._stream.initial_state)
        return State(*saved_states.load(path, network, self._fingerprint))

    @property
    def blendshape_names(self):
        """ARKit's names of the weights of `Face.frame.expression`."""
        return self.geometry.blendshape_names

    def painter(self, *, paints):
        """Returns a TemplatePainter; one that gathers nothing if `paints` is False."""
        return TemplatePainter(self.geometry.uv, self.geometry.triangles, paints=paints)

    def result_files(self, output, kind):
        """Returns the ResultFiles of a source of kind 'photos', 'video' or 'camera'."""
        own = self.geometry
        drawn = overlay.MeshOverlay(own.triangles, own.landmarks)
        rate = None if kind == 'photos' else _FRAMES_PER_SECOND
        return result_files.ResultFiles(output, drawn, own.blendshape_names, frames_per_second=rate)

    def final_face(self, face):
        """Returns the result_files.FinalFace of a Face."""
        return result_files.FinalFace(
            face.vertices,
            face.triangles,
            face.confidence,
            self.geometry.blendshapes,
            uv=face.uv,
            texture=face.texture,
            topology=TOPOLOGY,
        )

    def _network(self, state):
        return self._stream.initial_state() if state.network is None else state.network

    def _of_person(self, network, photo, sightings, num_frames):
        """Returns the Outcome of the largest central face, or of the one most like the person's."""
        largest = sightings[0].crop.side
        rivals = [s for s in sightings if s.crop.side > _LESSER * largest][:_COMPARED]
        if not num_frames or len(rivals) == 1:
            return Outcome(*self._stream.update(network, photo, rivals[0]))
        nothing = self._stream.initial_state()
        known = self._stream.coefficients(network)
        looked = [self._stream.update(nothing, photo, sighting) for sighting in rivals]
        apart = [self._stream.distance(fit, known) for _, fit, _ in looked]
        _, _, nearest = looked[int(np.argmin(apart))]
        # It has been looked at again already.
        return Outcome(*self._stream.update(network, photo, nearest, refits=0))

    def _face(self, network, outcome=None, size=None):
        from seqface_jax.reconstruct import Face

        own = self.geometry
        vertices, deviation = self._stream.read(network)
        frame, moved = None, None
        if outcome is not None:
            frame = self._frame_fit(vertices, outcome, size)
            moved = frame.vertices
        return Face(
            vertices.astype(np.float32),
            own.triangles,
            (1 / (1 + deviation)).astype(np.float32),
            uv=own.uv,
            frame_vertices=moved,
            frame=frame,
        )

    def _frame_fit(self, vertices, outcome, size):
        fit = outcome.fit
        weights = self._stream.weights(fit)
        moved = vertices + np.tensordot(weights, self.geometry.blendshapes, 1)
        height, width = size
        return FrameFit(
            rotation=np.asarray(fit.rotation, np.float64),
            translation=np.asarray(fit.translation, np.float64),
            focal_px=float(fit.focal_px),
            center_px=np.array([width / 2, height / 2]),
            vertices=moved.astype(np.float32),
            expression=weights,
            reprojection_px=float(fit.error_px),
            score=outcome.sighting.score,
        )

    @functools.cached_property
    def _fingerprint(self):
        settings = self.config.model.to_json(sort_keys=True)
        return saved_states.fingerprint(settings, jax.device_get(self._variables))
