"""Kwon's system: one frontal frame, turned to the side by machine, then Lium's network.

Kwon, 2021, with Rotate-and-Render (Zhou et al., 2020, arXiv:2003.08124): a face is fitted to the
frame (as 3DDFA does: a pose and the coefficients of a linear face), its texture lifted, drawn as
seen from the side, and what the frame does not show is filled in by a network. There the filling
is learnt without views of the same person, by a generative adversarial network; here the training
data has them, so a real view of the person from the side is the teacher. Each of the three
networks has its own teacher, and no gradient passes from one to another.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax.geometry import image_space, map_grid
from seqface_jax.models.front_side import FrontSideNetwork
from seqface_jax.models.layers import warping
from seqface_jax.models.layers.conv import Conv
from seqface_jax.models.layers.decoders import ResizeConv
from seqface_jax.models.layers.mobilenet import ConvBlock, InvertedResidual
from seqface_jax.models.linear_face import principal_components
from seqface_jax.models.prediction import Prediction
from seqface_jax.models.prnet import check_image_size
from seqface_jax.models.sequence_model import SequenceModel, unfold

_FACE_SHARE = 0.25  # A pixel is face if this share of the training subjects has it.
# Start and step sizes of the pose fit: yaw, pitch, roll in radians, log of the scale, x, y, z.
_START_POSE = np.array([0, 0, 0, np.log(1 / 260), 0.5, -0.5, 0.1], np.float32)
_POSE_STEP = np.array([0.5, 0.3, 0.3, 0.2, 0.1, 0.1, 0.1], np.float32)
_FIT_HIDDEN = 128


class RotateRender(SequenceModel, kw_only=True):
    """Predicts the face from a frontal frame and the side view that it draws of it.

    Every frame is answered by itself. Where only the last answer is asked for, in training, the
    frames are a pair: the first is answered, the last is what the drawn view is compared with.
    `Prediction.views` then holds fitted [B, T, S, S, 3], the image maps of the fitted faces, and
    drawn and true [B, 1, H, W, 3], the first frame as seen from where the last was taken, and the
    last.

    Attributes:
        code_size: directions of the fitted linear face.
        fit_features: channels of the fit's first layer.
        fill_features: channels of the filling network's first layer.
        side_yaw_deg: how far the face is turned for the drawn view; to the side that the frame
            shows more of.
        width, features: as of FrontSide.
    """

    READS = 'front'

    code_size: int = 40
    fit_features: int = 16
    fill_features: int = 32
    side_yaw_deg: float = 60.0
    width: float = 1.2
    features: int = 16

    @staticmethod
    def make_constants(values, table, sample_frames):
        """Computes mean_map, mean_mask and basis, see linear_face.principal_components."""
        del sample_frames
        return principal_components(table, values.get('code_size', RotateRender.code_size))

    def setup(self):
        """Makes the layers."""
        self.fit = FitNetwork(self.code_size, self.fit_features, self.axis_name)
        self.fill = FillNetwork(self.fill_features, self.axis_name)
        self.network = FrontSideNetwork(self.width, self.features, self.axis_name)
        shape = (map_grid.SIZE, map_grid.SIZE, 3)
        self.mean_map = self.constant('mean_map', shape)
        self.mean_mask = self.constant('mean_mask', shape[:2])
        self.basis = self.constant('basis', (self.code_size, *shape))

    def _run(self, state, frames, *, train, last_only):
        del state
        check_image_size(self.image_size)
        poses, faces, fitted = self._fit_faces(frames, train)

        def answered(tree):
            return jax.tree.map(lambda leaf: leaf[:, :1], tree) if last_only else tree

        fronts, pose, face = answered((frames, poses, faces))
        targets = [self._turn(pose).place(face)]
        if last_only:  # The first frame's face in the pose of the last.
            targets.append(jax.tree.map(lambda leaf: leaf[:, -1:], poses).place(face))
        side, *checked = self._draw(fronts, answered(fitted), targets, train)
        pairs = jnp.concatenate([fronts, jax.lax.stop_gradient(side)], axis=-1)
        image_map = self.network(pairs.reshape(-1, *pairs.shape[2:]), train=train)
        position_map = image_space.canonical(image_map, self.mean_map, self.mean_mask)
        prediction = unfold(Prediction(position_map, image_map=image_map), *fronts.shape[:2])
        if last_only:
            views = {'fitted': fitted, 'drawn': checked[0], 'true': frames[:, -1:]}
            prediction = prediction._replace(views=views)
        return {}, prediction

    def _fit_faces(self, frames, train):
        """Returns the Pose, the face [B, T, S, S, 3] mm and the image map of each frame."""
        numbers = self.fit(frames.reshape(-1, *frames.shape[2:]), train=train)
        numbers = numbers.reshape(*frames.shape[:2], -1)
        angles, log_scale, translation, code = jnp.split(numbers, (3, 4, 7), axis=-1)
        rotation = image_space.rotation(angles)
        pose = image_space.ImagePose(jnp.exp(log_scale[..., 0]), rotation, translation)
        face = self.mean_map + jnp.einsum('btk,khwc->bthwc', code, self.basis)
        return pose, face, pose.place(face)

    def _turn(self, pose):
        """Returns the Pose of the face turned to the side about its middle."""
        angles = jnp.radians(pose.angles_deg())
        sign = jnp.where(angles[..., :1] >= 0, 1.0, -1.0)
        yaw = sign * np.radians(self.side_yaw_deg)
        rotation = image_space.rotation(jnp.concatenate([yaw, angles[..., 1:]], axis=-1))
        weights = self.mean_mask[..., None]
        middle = (self.mean_map * weights).sum((0, 1)) / jnp.maximum(weights.sum(), 1)
        moved = (pose.rotation - rotation) @ middle
        return image_space.ImagePose(
            pose.scale, rotation, pose.translation + pose.scale[..., None] * moved
        )

    def _draw(self, fronts, own_map, targets, train):
        """Draws the fronts [B, T, H, W, 3] at each of the image maps `targets`, and fills them."""

        def flat(array):
            return array.reshape(-1, *array.shape[2:])

        draw = jax.vmap(warping.draw, in_axes=(0, 0, 0, None))
        mask = self.mean_mask >= _FACE_SHARE
        drawn = [draw(flat(fronts), flat(own_map), flat(target), mask) for target in targets]
        filled = self.fill(jax.tree.map(lambda *parts: jnp.concatenate(parts), *drawn), train=train)
        return [part.reshape(fronts.shape) for part in jnp.split(filled, len(targets))]


class FitNetwork(nn.Module):
    """Says of frames how a face lies in them and which: seven numbers of a pose, and a code.

    Attributes:
        code_size, axis_name: as of RotateRender.
        features: channels of the first layer.
    """

    code_size: int
    features: int
    axis_name: str | None

    @nn.compact
    def __call__(self, frames, *, train):
        """Returns [N, 7 + code_size]: yaw, pitch, roll, log of the scale, x, y, z, code."""
        x = ConvBlock(self.features, stride=2, axis_name=self.axis_name, name='stem')(
            frames - 0.5, train=train
        )
        for i, factor in enumerate((2, 4, 8, 8)):
            block = InvertedResidual(
                factor * self.features, stride=2, axis_name=self.axis_name, name=f'block_{i}'
            )
            x = block(x, train=train)
        x = x.reshape(len(x), -1)  # Where a feature is matters: no pooling.
        x = nn.silu(nn.Dense(_FIT_HIDDEN, name='hidden')(x / np.sqrt(x.shape[-1])))
        zeros = nn.initializers.zeros  # Starts at the mean face in the middle of the frame.
        numbers = nn.Dense(7 + self.code_size, kernel_init=zeros, name='numbers')(x)
        start = np.concatenate([_START_POSE, np.zeros(self.code_size, np.float32)])
        step = np.concatenate([_POSE_STEP, np.ones(self.code_size, np.float32)])
        return start + step * numbers


class FillNetwork(nn.Module):
    """Fills what a drawn view does not know; what is known stays as it is.

    Attributes:
        features: channels of the first layer.
        axis_name: as of RotateRender.
    """

    features: int
    axis_name: str | None

    @nn.compact
    def __call__(self, drawn, *, train):
        """Returns pictures [N, H, W, 3] in [0, 1] of warping.Drawn."""

        def block(x, factor, stride, name):
            layer = ConvBlock(
                factor * self.features, stride=stride, axis_name=self.axis_name, name=name
            )
            return layer(x, train=train)

        x = jnp.concatenate([drawn.picture - 0.5 * drawn.known, drawn.known, drawn.face], axis=-1)
        levels = [block(x, 1, 2, 'down_0')]
        for i, factor in ((1, 2), (2, 4), (3, 4)):
            levels.append(block(levels[-1], factor, 2, f'down_{i}'))
        x = block(levels.pop(), 4, 1, 'middle')
        for i, factor in ((2, 4), (1, 2), (0, 1)):
            x = ResizeConv(factor * self.features, stride=2, name=f'up_{i}')(x)
            x = block(jnp.concatenate([nn.relu(x), levels.pop()], axis=-1), factor, 1, f'join_{i}')
        x = nn.relu(ResizeConv(self.features, stride=2, name='up')(x))
        x = nn.sigmoid(Conv(3, name='colour')(x))
        return drawn.picture + (1 - drawn.known) * x
