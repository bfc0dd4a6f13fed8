"""What a person uses: photos go in one by one, the face comes out after each."""

import dataclasses
import functools

import jax
import numpy as np
from absl import logging

from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from seqface_jax.models.network import FaceNetwork
from seqface_jax.photos import crops, face_detection, people_tracking
from seqface_jax.photos.sharpness import MIN_SHARPNESS, sharpness
from seqface_jax.reconstruction import face_painter, saved_states
from seqface_jax.reconstruction.face import Face
from seqface_jax.reconstruction.photo_observation import (
    Observation,
    Rejection,
    State,
    check_photo,
)
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor

# A followed face might be none, such as a pattern on the wall: so often the whole photo is
# searched, and the largest central face wins.
SEARCH_EVERY = 16


class Reconstructor:
    """Turns photos of one person into that person's neutral face, better with every photo.

    Holds the network and nothing else: what was seen is in the states that go in and come out, so
    that one Reconstructor serves any number of people. Not for several threads at once.
    """

    def __init__(self, config, model, variables, *, min_sharpness=MIN_SHARPNESS):
        """Takes what `checkpoints.load` returns.

        Args:
            config, model, variables: of one checkpoint.
            min_sharpness: in [0, 1], photos whose face is less sharp are not used; 0: all are.
        """
        self.config = config
        self._network = FaceNetwork(config, model, variables)
        self._variables = jax.device_put(variables)
        self._step = jax.jit(self._network.step)
        self._read = jax.jit(self._network.read_state)
        self._min_sharpness = min_sharpness
        self._detector = face_detection.FaceDetector()
        self._is_compiled = False

    @classmethod
    def restore(
        cls, workdir=None, which='best_validation', *, min_sharpness=MIN_SHARPNESS, quick=False
    ):
        """Reads a run's checkpoint and its config.

        Args:
            workdir: of the run; the one that comes with the package if left out.
            which: one of checkpoints.WHICH.
            min_sharpness: as of the constructor.
            quick: for few photos, of a flagship's run: see quick_compilation.py.

        Raises:
            UserError: the workdir holds no such checkpoint.
        """
        workdir = checkpoints.pretrained() if workdir is None else workdir
        if checkpoints.read_config(workdir).model.name == checkpoints.FLAGSHIP:
            return PointReconstructor.restore(
                workdir, which, min_sharpness=min_sharpness, quick=quick
            )
        return cls(*checkpoints.load(workdir, which), min_sharpness=min_sharpness)

    @property
    def face_mask(self):
        """[S, S] bool, the pixels of a position map that a Face's vertices are, row by row.

        What FacePainter needs; None for the thesis's network, whose points have no order.
        """
        return self._network.mask

    def initial_state(self):
        """Returns the State before the first photo."""
        return State(None, None, 0)

    def compile(self):
        """Compiles the network, which the first `update` does otherwise; a second call is free.

        Some seconds; where JAX's compilation cache is on, fewer from the second program on.
        """
        if self._is_compiled:
            return
        logging.info('compiling the network, once')
        size = self.config.data.image_size
        frame = np.zeros((1, size, size, 3), np.uint8)
        jax.block_until_ready(self._step(self._variables, self._first(), frame))
        self._is_compiled = True

    blendshape_names = ()  # Names of the expression weights; only a flagship's faces have any.

    def painter(self, *, paints, delight=False):
        """Returns what gathers a face's colours, or None for a network without an order."""
        mask = self.face_mask
        if mask is None:
            return None
        return face_painter.FacePainter(mask, paints=paints, delight=delight)

    @property
    def mesh_overlay(self):
        """None: only a flagship's mesh is laid over photos."""
        return None

    def result_files(self, output, kind, rate=None):  # noqa: ARG002 - a flagship has more to show.
        """Returns None: the files of result_files.py are of a flagship's run."""
        return None

    def examine(self, state, photo, *, video=True):  # noqa: ARG002 - the state says it.
        """Looks for the face on a photo: near its old place first, then everywhere.

        Args:
            state: what `initial_state` or the last `update` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            video: unused; a state without a detection looks everywhere.

        Returns:
            An Observation.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        return self._observe(photo, self.find_face(photo, state.detection, state.num_frames))

    def update(self, state, photo, observation=None):
        """Takes one more photo into account.

        Args:
            state: what `initial_state` or the last `update` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            observation: what `examine` returned for them, where the caller has it already.

        Returns:
            state and the Face. If the photo shows no face or a blurred one, the very state that
            came in and None; `examine` says which.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        observation = observation or self.examine(state, photo)
        if observation.rejection is not None:
            return state, None
        self.compile()
        network = self._first() if state.network is None else state.network
        network, *arrays = self._step(self._variables, network, observation.frame[None])
        state = State(network, observation.detection, state.num_frames + 1)
        return state, self._face(*arrays)

    def face(self, state):
        """Returns the Face that a state stands for, without a further photo.

        Raises:
            UserError: nothing was seen yet, or the network answers to frames only.
        """
        if state.network is None:
            raise UserError('there is no face yet: update the state with a photo first')
        self._require('read_state', 'answers to a photo only: update the state with one more')
        return self._face(*self._read(self._variables, state.network))

    def merge(self, first, second):
        """Joins two states of one person, such as of the two halves of a video.

        Args:
            first, second: States of this network, of different photos.

        Returns:
            The State as if all photos had gone into one, as far as the network allows: see
            `merge_states` of the model. The next photo is searched from the second's place on.

        Raises:
            UserError: the network's states cannot be joined.
        """
        self._require('merge_states', 'cannot join two states: show it all the photos in a row')
        if first.network is None or second.network is None:
            return second if first.network is None else first
        network = self._network.model.merge_states(first.network, second.network)
        return State(network, second.detection, first.num_frames + second.num_frames)

    def save_state(self, path, state):
        """Writes a state as .npz, to be read by `load_state` of the same network."""
        saved_states.save(path, state, self._fingerprint)

    def load_state(self, path):
        """Reads a state that `save_state` wrote.

        Raises:
            UserError: the file is missing, no state, damaged, or of another network.
        """
        network = jax.eval_shape(self._first)
        network, detection, num_frames = saved_states.load(path, network, self._fingerprint)
        return State(network, detection, num_frames)

    def initial_people(self):
        """Returns the People before the first photo: nobody."""
        return people_tracking.People({}, {})

    def examine_all(self, group, photo, *, video=True):  # noqa: ARG002 - faces are told by place.
        """Looks for the faces of all people on a photo.

        Args:
            group: people.People.
            photo: [H, W, 3] uint8 RGB, any size.
            video: unused; faces are told by their places.

        Returns:
            dict of Observations by person: everyone who was on the last photo, those who came
            back to where they were last seen, and new ones under new numbers.
        """
        check_photo(photo)
        return {
            person: self._observe(photo, detection)
            for person, detection in people_tracking.find(self._detector, group, photo).items()
        }

    def update_all(self, group, photo, observations=None):
        """Takes a photo of several people into account, one state for each.

        A face is told by where it was on the photo before. Who leaves keeps their state, and goes
        on with it when a face like theirs appears at their place; elsewhere it is taken for a new
        person, whose state `merge` can join to the old one.

        Args:
            group: what `initial_people` or the last `update_all` returned.
            photo: [H, W, 3] uint8 RGB, any size.
            observations: what `examine_all` returned for them, where the caller has it already.

        Returns:
            The people.People after the photo, and a dict of Faces by person: of those whose face
            was used. All other states are the very ones that came in.
        """
        if observations is None:
            observations = self.examine_all(group, photo)
        states, faces = dict(group.states), {}
        for person, observation in observations.items():
            state = states.get(person, self.initial_state())
            state, face = self.update(state, photo, observation)
            if face is not None:
                states[person], faces[person] = state, face
        detections = {
            person: observation.detection
            for person, observation in observations.items()
            if observation.detection is not None and person in states
        }
        return people_tracking.People(states, detections), faces

    def find_face(self, photo, previous=None, num_frames=0):
        """Returns the DetectedFace of a photo, or None; `previous` is that of the photo before."""
        photo = check_photo(photo)
        if previous is not None and num_frames % SEARCH_EVERY:
            followed = self._detector.follow(photo, previous)
            if followed is not None:
                return followed
        return self._detector.find(photo, previous)

    def crop(self, photo, detection):
        """Cuts out what the network sees, as the records were cut; [size, size, 3] uint8."""
        crop = crops.cut_out(photo, crops.crop_box(detection.box))
        return self._resize(crop)

    def _observe(self, photo, detection):
        if detection is None:
            return Observation(None, None, 0.0, Rejection.NO_FACE)
        crop = crops.cut_out(photo, crops.crop_box(detection.box))
        sharp = sharpness(crop)
        rejection = Rejection.BLURRED if sharp < self._min_sharpness else None
        return Observation(detection, self._resize(crop), sharp, rejection)

    def _resize(self, crop):
        return crops.at_size(crop, self.config.data.image_size)

    def _first(self):
        return self._network.initial_state(self._variables)

    def _face(self, vertices, confidence, frame_vertices):
        vertices = np.asarray(vertices)
        face = Face(vertices, self._network.triangles_of(vertices), np.asarray(confidence))
        if frame_vertices is None:
            return face
        return dataclasses.replace(face, frame_vertices=np.asarray(frame_vertices))

    @functools.cached_property
    def _fingerprint(self):
        section = self.config.model.to_json(sort_keys=True)
        settings = f'{section} {self.config.data.image_size} {self.config.data.normalization}'
        return saved_states.fingerprint(settings, jax.device_get(self._variables))

    def _require(self, method, what):
        if not hasattr(self._network.model, method):
            raise UserError(f"the network '{self.config.model.name}' {what}")
