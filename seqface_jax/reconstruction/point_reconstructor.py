"""The Reconstructor of the flagship: every answer comes out of the geometric filter's state."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import belief
from seqface_jax.geometry import quadrilaterals
from seqface_jax.photos.sharpness import MIN_SHARPNESS, sharpness
from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction import (
    flagship,
    full_head,
    mouth,
    overlay,
    overlay_video,
    point_people,
    result_files,
    saved_states,
)
from seqface_jax.reconstruction.face import Face
from seqface_jax.reconstruction.frame_fit import FrameFit
from seqface_jax.reconstruction.photo_observation import (
    Observation,
    Rejection,
    State,
    check_photo,
)
from seqface_jax.reconstruction.sighting import MIN_CONFIDENCE, Sighting
from seqface_jax.reconstruction.template_painter import TemplatePainter

# A fit whose points are off by more than this share of the face's width is of something else.
MAX_ERROR = 0.08
MIN_INLIERS = 0.25  # Share of the points that lie where the fitted face has them.
_COMPARED = 3  # Faces of one photo that are compared with the person.
_LESSER = 0.45  # Least size of another face that is compared, as a share of the largest face's.


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

    @property
    def has_pose(self):
        """Whether the fitted face lies where the network has seen its points."""
        width = np.ptp(self.sighting.places[:, 0]) + 1e-6
        is_near = float(self.fit.error_px) <= MAX_ERROR * width
        return is_near and float(self.fit.inlier_share) >= MIN_INLIERS

    @property
    def is_convincing(self):
        """Whether the photo can be used, blurred or not."""
        return self.has_pose and self.confidence >= MIN_CONFIDENCE

    @property
    def confidence(self):
        """In [0, 1], how far the photo can be believed; see Sighting."""
        return self.sighting.confidence


class PointReconstructor:
    """Turns photos of one person into that person's neutral face; see reconstruct.Reconstructor.

    Holds the network and the geometry and nothing else: what was seen is in the states.
    """

    face_mask = None

    def __init__(
        self,
        config,
        model,
        variables,
        geometry,
        *,
        min_sharpness=MIN_SHARPNESS,
        lens_of=flagship.usual_lens,
        quick=False,
    ):
        """Takes what `checkpoints.load` returns, and the run's flagship.Geometry.

        `lens_of` is usual_lens for whole photos or crop_lens for squares cut out around a face.
        `quick` is for few photos, see quick_compilation.py.
        """
        self.config, self.geometry = config, geometry
        self._variables = variables
        self._stream = flagship.Stream(model, variables, geometry, lens_of, quick=quick)
        self._min_sharpness = min_sharpness
        self._quads = quadrilaterals.joined(geometry.triangles).astype(np.int32)
        self._is_compiled = False

    @classmethod
    def restore(cls, workdir, which, **options):
        """Reads a run's checkpoint, its config and its geometry.npz; options of the constructor.

        Raises:
            UserError: one of them is missing or cannot be read.
        """
        loaded = checkpoints.load(workdir, which)
        geometry = flagship.read_geometry(flagship.geometry_path(workdir))
        return cls(*loaded, geometry, **options)

    def initial_state(self):
        """Returns the State before the first photo."""
        return State(None, None, 0)

    def compile(self):
        """Compiles the network and the filter, which the first photo does otherwise."""
        if self._is_compiled:
            return
        size = self.config.data.image_size
        photo = np.zeros((size, size, 3), np.uint8)
        sighting = self._stream.finder.look(photo, Crop(np.full(2, size / 2), float(size)))
        state, fit, _ = self._stream.update(self._stream.initial_state(), photo, sighting)
        self._stream.vertices(self._stream.posterior(state))
        self._stream.expression(fit)
        self._is_compiled = True

    def examine(self, state, photo, *, video=False):
        """Finds the person on a photo and fits the face; changes nothing.

        Args:
            state: what `initial_state` or the last `update` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            video: the photo follows the last one in time: the face is first looked for there.

        Returns:
            Observation, whose `outcome` is an Outcome if the photo can be used.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        check_photo(photo)
        network, outcome = self._network(state), None
        for sightings in self._stream.finder.ways(photo, state.detection if video else None):
            other = self._of_person(network, photo, sightings, state.num_frames)
            if outcome is None or other.confidence > outcome.confidence:
                outcome = other
            if outcome.is_convincing:
                break
        if outcome is None:
            return Observation(None, None, 0.0, Rejection.NO_FACE)
        return self._observation(photo, outcome)

    def _observation(self, photo, outcome):
        """Returns the Observation of an Outcome: whether it can be used."""
        crop = outcome.sighting.crop
        sharp, rejection = sharpness(crop.cut(photo, 256)), None
        if not outcome.has_pose:
            rejection = Rejection.NO_POSE
        elif not outcome.is_convincing:
            rejection = Rejection.DOUBTFUL
        elif sharp < self._min_sharpness:
            rejection = Rejection.BLURRED
        frame = crop.cut(photo, self.config.data.image_size)
        return Observation(outcome.sighting, frame, sharp, rejection, outcome)

    def update(self, state, photo, observation=None):
        """Takes one more photo into account; see reconstruct.Reconstructor.update."""
        observation = observation or self.examine(state, photo)
        if observation.rejection is not None:
            return state, None
        outcome = observation.outcome
        state = State(outcome.state, outcome.sighting, state.num_frames + 1)
        return state, self._face(outcome.state, outcome, photo.shape[:2])

    def initial_people(self):
        """Returns the point_people.Group before the first photo: nobody."""
        return point_people.Group({}, {}, {})

    def examine_all(self, group, photo, *, video=False):
        """Finds all faces on a photo and whose they are; changes nothing.

        Args:
            group: what `initial_people` or the last `update_all` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            video: the photo follows the last one in time: places count too.

        Returns:
            dict of Observation by person; numbers beyond those of `group` are new
            people, negative ones faces of nobody known that cannot be used. A face that may be
            another person's as well is rejected as UNSURE, and says whose.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        check_photo(photo)
        old = list(group.detections.values()) if video else []
        nothing = self._stream.initial_state()
        looked = [
            self._outcome(nothing, *self._stream.fit(photo, sighting))
            for sighting in self._stream.finder.find_all(photo, old)
        ]
        seen = [self._observation(photo, outcome) for outcome in looked]
        usable = [own for own in seen if own.rejection is None]
        refused = [own for own in seen if own.rejection is not None]
        people = sorted(group.states)
        decisions = point_people.decide(self._stream, group, photo, usable, video=video)
        first_new = max(people, default=-1) + 1
        result = dict(zip(range(-1, -len(refused) - 1, -1), refused, strict=True))
        for observation, decision in zip(usable, decisions, strict=True):
            person, doubt = point_people.named(decision, people, first_new)
            if person == first_new and decision.is_sure:
                first_new += 1
            if not decision.is_sure:
                observation = observation._replace(rejection=Rejection.UNSURE, doubt=doubt)
                person = person if person in people else min(0, *result, 0) - 1
            result[person] = self._again(group, person, observation)
        return result

    def update_all(self, group, photo, observations=None, *, video=False):
        """Takes a photo of several people into account, one state for each.

        Args:
            group: what `initial_people` or the last `update_all` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            observations: what `examine_all` returned for them, where the caller has it already.
            video: as of `examine_all`.

        Returns:
            The point_people.Group after the photo, and a dict of Faces by person: of those whose
            face was used. All other states are the very ones that came in.
        """
        if observations is None:
            observations = self.examine_all(group, photo, video=video)
        states, looks, places, faces = dict(group.states), dict(group.looks), {}, {}
        for person, observation in observations.items():
            state = states.get(person, self.initial_state())
            state, face = self.update(state, photo, observation)
            if face is not None:
                states[person], faces[person] = state, face
                places[person] = observation.detection
                looks[person] = point_people.remembered(
                    looks.get(person), self._stream, photo, observation.detection
                )
        return point_people.Group(states, places, looks), faces

    def _again(self, group, person, observation):
        """Returns an Observation with the Outcome that it has for a known person's state."""
        if observation.rejection is not None or person not in group.states:
            return observation
        _, fit, sighting = observation.outcome
        outcome = self._outcome(group.states[person].network, fit, sighting)
        return observation._replace(outcome=outcome)

    def mean_face(self):
        """Returns the Face before the first photo: the likeliest of all people."""
        return self._face(self._stream.initial_state())

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
        if first.network is None or second.network is None:
            return second if first.network is None else first
        own = self.geometry
        network = belief.merge(first.network, second.network, own.shared, own.settings)
        return State(network, second.detection, first.num_frames + second.num_frames)

    def added(self, state, observation):
        """Returns a State with what an Observation says, whatever state that was examined for.

        Raises:
            UserError: the photo cannot be used.
        """
        if observation.rejection is not None:
            raise UserError(f'the photo cannot be added: {observation.reason}')
        _, fit, sighting = observation.outcome
        outcome = self._outcome(self._network(state), fit, sighting)
        return State(outcome.state, outcome.sighting, state.num_frames + 1)

    def log_odds_of_one_person(self, first, second):
        """Returns how much likelier two States are of one person than of two, a log.

        By their shapes, see belief.log_odds_of_one_person; 0 where one of them is empty.

        Args:
            first, second: States of this run, of different photos.
        """
        if first.network is None or second.network is None:
            return 0.0
        own = self.geometry
        states = first.network, second.network
        return float(belief.log_odds_of_one_person(*states, own.shared, own.settings))

    def save_state(self, path, state):
        """Writes a state as .npz, to be read by `load_state` of the same run."""
        saved_states.save(path, state._replace(detection=None), self._fingerprint)

    def load_state(self, path):
        """Reads a state that `save_state` wrote.

        Raises:
            UserError: the file is missing, no state, damaged, or of another run.
        """
        network = jax.eval_shape(self._stream.initial_state)
        return State(*saved_states.load(path, network, self._fingerprint))

    @property
    def blendshape_names(self):
        """ARKit's names of the weights of `Face.frame.expression`."""
        return self.geometry.blendshape_names

    def painter(self, *, paints, delight=False):
        """Returns a TemplatePainter; one that gathers nothing if `paints` is False."""
        own = self.geometry
        openings = {'eye_rims': own.eyes.rims, 'mouth': own.mouth}
        return TemplatePainter(own.uv, own.triangles, **openings, paints=paints, delight=delight)

    @functools.cached_property
    def mesh_overlay(self):
        """The overlay.MeshOverlay that lays this run's meshes over photos."""
        own = self.geometry
        return overlay.MeshOverlay(own.triangles, own.landmarks, self._quads)

    def result_files(self, output, kind, rate=None):
        """Returns the ResultFiles of a source of kind 'photos', 'video' or 'camera'.

        Args:
            output: folder.
            kind: of video.FrameSource; rate: its frames a second, or None.
        """
        names = self.geometry.blendshape_names
        rate = None if kind == 'photos' else overlay_video.plausible_rate(rate)
        return result_files.ResultFiles(output, self.mesh_overlay, names, frames_per_second=rate)

    def final_face(self, face):
        """Returns the result_files.FinalFace of a Face."""
        shifts, own = self.geometry.blendshapes, self.geometry.mouth
        whole = mouth.closed(face)
        return result_files.FinalFace(
            whole.vertices,
            whole.triangles,
            whole.confidence,
            shifts if own is None else own.moved(shifts),
            uv=whole.uv,
            texture=whole.texture,
            texture_light=whole.texture_light,
            topology=whole.topology,
            mouth=own,
        )

    def _network(self, state):
        return self._stream.initial_state() if state.network is None else state.network

    def _of_person(self, network, photo, sightings, num_frames):
        """Returns the Outcome of the largest central face, or of the one most like the person's."""
        largest = sightings[0].crop.side
        rivals = [s for s in sightings if s.crop.side > _LESSER * largest][:_COMPARED]
        if not num_frames or len(rivals) == 1:
            return self._outcome(network, *self._stream.fit(photo, rivals[0]))
        known = self._stream.coefficients(network)
        looked = [self._stream.fit(photo, sighting) for sighting in rivals]
        apart = [self._stream.distance(fit, known) for fit, _ in looked]
        return self._outcome(network, *looked[int(np.argmin(apart))])

    def _outcome(self, network, fit, sighting):
        """Returns the Outcome of a fitted Sighting for what a belief.Belief knows."""
        return Outcome(*self._stream.add(network, fit), sighting)

    def _face(self, network, outcome=None, size=None):
        own = self.geometry
        posterior = self._stream.posterior(network)
        vertices = self._stream.vertices(posterior)
        frame, moved = None, None
        if outcome is not None:
            frame = self._frame_fit(vertices, outcome, size)
            moved = frame.vertices
        return Face(
            vertices.astype(np.float32),
            own.triangles,
            lambda: (1 / (1 + self._stream.deviation(posterior))).astype(np.float32),
            uv=own.uv,
            quads=self._quads,
            topology=full_head.TOPOLOGY,
            mouth=own.mouth,
            frame_vertices=moved,
            frame=frame,
        )

    def _frame_fit(self, vertices, outcome, size):
        fit = outcome.fit
        weights, displacement = self._stream.expression(fit)
        moved = vertices + displacement
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
            confidence=outcome.confidence,
        )

    @functools.cached_property
    def _fingerprint(self):
        settings = self.config.model.to_json(sort_keys=True)
        # What is known of a person is told in the basis: another one makes another face of it.
        own = self._variables, self.geometry.basis
        return saved_states.fingerprint(settings, jax.device_get(own))
