"""An image map as users of PRNet know it: in the photo's own pixels."""

import cv2
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from flax import linen as nn
from scipy.spatial.transform import Rotation

from configs import prnet
from seqface_jax import dense_alignment, image_map, models
from seqface_jax.errors import UserError
from seqface_jax.models import Prediction
from seqface_jax.models.sequence_model import FrameModel
from tests import bumpy_face, small_raw_tree, small_run

BOX = np.float32([30, 10, 130, 110])  # 100 pixels wide, in a photo of 160 x 120.
MEAN = bumpy_face.position_map_of(0)
WEIGHTS = np.ones(MEAN.shape[:2], np.float32)
MASK = bumpy_face.mask_of(MEAN)


class CentredMeanFace(FrameModel, kw_only=True):
    """Sees the mean face in the middle of every frame: PRNet takes a while to compile."""

    GIVES = 'image_map'

    @nn.compact
    def answer(self, frames, *, train):
        mean_map, _ = self.mean_face()
        placed = mean_map * jnp.array([1, -1, 1]) / 250 + jnp.array([0.5, 0.5, 0])
        both = (
            jnp.broadcast_to(array, (len(frames), *array.shape)) for array in (mean_map, placed)
        )
        position_map, found = both
        return Prediction(position_map, image_map=found)


@pytest.fixture(scope='module')
def aligned():
    """A face turned by 20 degrees in the middle of the crop, and its map."""
    turn = Rotation.from_euler('Y', 20, degrees=True).as_matrix()
    pose = image_map.Pose(jnp.float32(0.004), jnp.float32(turn), jnp.float32([0.5, -0.5, 0.1]))
    found = np.asarray(pose.place(jnp.asarray(MEAN)))
    photo = np.zeros((120, 160, 3), np.uint8)
    photo[..., 0] = np.arange(160)  # Red tells the column, green the row.
    photo[..., 1] = np.arange(120)[:, None]
    return dense_alignment.from_image_map(found, photo, BOX, MASK, MEAN, WEIGHTS), found


def test_vertices_landmarks_and_camera_are_in_pixels_of_the_photo(aligned):
    found, crop_map = aligned
    np.testing.assert_allclose(found.angles_deg, [20, 0, 0], atol=0.05)
    # The origin of the face lies in the middle of the crop, at 30 + 50 and 10 + 50 pixels.
    np.testing.assert_allclose(found.camera[:, 3], [80, 60, 10], atol=0.05)
    # A millimetre is 0.4 pixels; the face's own left looks to the right, its up is up.
    turn = np.radians(20)
    np.testing.assert_allclose(found.camera[0, :3], 0.4 * np.array([np.cos(turn), 0, np.sin(turn)]),
                               atol=1e-3)  # fmt: skip
    np.testing.assert_allclose(found.camera[1, :3], [0, -0.4, 0], atol=1e-3)
    in_mm = MEAN[MASK] @ found.camera[:, :3].T + found.camera[:, 3]
    np.testing.assert_allclose(found.vertices, in_mm, atol=0.05)
    expected = image_map.landmarks(crop_map)
    np.testing.assert_allclose(found.landmarks[:, :2], expected[:, :2] * 100 + [30, 10], atol=0.01)
    assert found.triangles.max() == len(found.vertices) - 1


def test_colours_and_depth_are_those_of_the_photo_s_pixels(aligned):
    found, _ = aligned
    np.testing.assert_allclose(found.colors[:, 0], found.vertices[:, 0] - 0.5, atol=1.1)
    np.testing.assert_allclose(found.colors[:, 1], found.vertices[:, 1] - 0.5, atol=1.1)
    assert found.depth.shape == (120, 160) and np.isnan(found.depth[0, 0])
    nose = found.landmarks[30]
    assert found.depth[int(nose[1]), int(nose[0])] == pytest.approx(nose[2], abs=1.5)


def test_a_map_finer_than_the_mask_has_more_vertices(aligned):
    fine = np.asarray(aligned[1]).repeat(2, axis=0).repeat(2, axis=1)
    photo = np.zeros((120, 160, 3), np.uint8)
    found = dense_alignment.from_image_map(fine, photo, BOX, MASK, MEAN, WEIGHTS)
    assert len(found.vertices) == 4 * MASK.sum()
    np.testing.assert_allclose(found.camera, aligned[0].camera, atol=0.01)


def test_a_photo_becomes_the_files_that_users_know(tmp_path):
    config = prnet.get_config()
    config.data.image_size = 32
    config.model = ml_collections.ConfigDict({'name': f'{__name__}:CentredMeanFace'})
    model = models.create(config.model, 32)
    people = {'position_map': MEAN[None], 'mask': MASK[None], 'points': MEAN.reshape(1, -1, 3)}
    constants = models.constants(config.model, people)
    variables = {'constants': {name: np.float32(value) for name, value in constants.items()}}
    align = dense_alignment.Aligner(config, model, variables)
    assert align(np.full((90, 90, 3), 128, np.uint8)) is None
    found = align(small_raw_tree.draw_face(180, 140, (70, 90), 45))
    found.save(str(tmp_path / 'me'))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'me.obj', 'me_depth.npy', 'me_depth.png', 'me_kpt.txt', 'me_pose.txt'
    ]  # fmt: skip
    assert np.loadtxt(tmp_path / 'me_kpt.txt').shape == (68, 3)
    lines = (tmp_path / 'me_pose.txt').read_text().splitlines()
    assert [len(line.split()) for line in lines] == [3, 4, 4, 4]
    assert cv2.imread(str(tmp_path / 'me_depth.png'), cv2.IMREAD_GRAYSCALE).shape == (180, 140)
    first = (tmp_path / 'me.obj').read_text().splitlines()[0].split()
    place = np.float64(first[1:4]) * [1, -1, 1] + [0, 180, 0]
    np.testing.assert_allclose(place, found.vertices[0], atol=0.01)


def test_a_network_of_another_kind_is_told():
    with pytest.raises(UserError, match="'fusion' does not tell where a face lies"):
        dense_alignment.Aligner(*small_run.make())
