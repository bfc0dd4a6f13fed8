"""The template that scans are registered to."""

import numpy as np

from data_prep.synthetic.registration_template import template


def test_the_template_covers_the_face_within_100_mm_of_the_nose_tip():
    face = template()
    tip = face.vertices[np.argmax(face.vertices[:, 2])]
    np.testing.assert_allclose(tip, [0.0, 0.0, 90.0], atol=3.0)
    distance = np.linalg.norm(face.vertices - tip, axis=1)
    assert 95.0 < distance.max() < 102.0


def test_every_vertex_is_used_and_every_triangle_is_inside():
    face = template()
    np.testing.assert_array_equal(np.unique(face.triangles), np.arange(len(face.vertices)))


def test_triangles_face_outwards():
    face = template()
    corners = face.vertices[face.triangles].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = (normals * (corners.mean(axis=1) - [0.0, 0.0, -20.0])).sum(axis=1)
    assert (outward > 0).mean() > 0.97
