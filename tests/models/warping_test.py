import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.geometry import image_space
from seqface_jax.models.layers import warping
from tests.helpers import bumpy_face
from tests.helpers.compiling import quick_jit

SIZE = 64


@functools.cache
def _draw(yaw_deg):
    """Draws a frontal face's texture, its image place as red and green, turned by an angle."""
    face = bumpy_face.position_map_of(0)
    translation = np.float32([0.5, -0.5, 0.0])

    @quick_jit
    def place(degrees):
        angles = jnp.radians(jnp.float32([degrees, 0, 0]))
        rotation = image_space.rotation(angles)
        return image_space.ImagePose(jnp.float32(1 / 260), rotation, translation).place(face)

    steps = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    picture = np.stack([*np.meshgrid(steps, steps), np.ones((SIZE, SIZE), np.float32)], axis=-1)
    mask = bumpy_face.mask_of(face)
    front, turned = place(0.0), place(yaw_deg)
    drawn = jax.jit(warping.draw)(picture, front, turned, mask)
    return picture, front, turned, mask, jax.tree.map(np.asarray, drawn)


def test_a_face_drawn_where_it_lies_is_the_picture_of_it():
    picture, _, _, _, drawn = _draw(0.0)
    inside = drawn.known[..., 0] > 0.99
    assert inside.mean() > 0.15
    np.testing.assert_allclose(drawn.picture[inside], picture[inside], atol=0.02)


@pytest.mark.parametrize('yaw_deg', [-50.0, 50.0])
def test_a_turned_face_shows_each_point_in_its_own_colour(yaw_deg):
    _, front, turned, mask, drawn = _draw(yaw_deg)
    mask = mask & (quick_jit(warping.facing)(turned) > 0.2)  # Not where places are a smear.
    is_nearest = quick_jit(warping.is_nearest, static_argnums=2)
    visible = is_nearest(turned.reshape(-1, 3), mask, SIZE)
    places = np.asarray(turned).reshape(-1, 3)[np.asarray(visible)]
    colours = np.asarray(front).reshape(-1, 3)[np.asarray(visible), :2]
    column, row = (places[:, :2] * SIZE).astype(int).T
    known = drawn.known[row, column, 0] > 0.99
    error = np.abs(drawn.picture[row, column, :2] - colours)[known]
    assert known.mean() > 0.3 and np.median(error) < 0.02


def test_what_the_picture_does_not_show_is_face_but_not_known():
    _, _, _, _, drawn = _draw(50.0)
    assert (drawn.known <= drawn.face + 1e-6).all()
    hidden = (drawn.face > 0.99) & (drawn.known < 0.01)
    assert hidden.sum() > 0.05 * drawn.face.sum()  # The far side of nose and cheek.
    assert not drawn.picture[hidden[..., 0]].any()
