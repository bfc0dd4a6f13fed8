import numpy as np

from seqface_jax.geometry import face_regions, map_grid


def test_the_landmarks_are_those_of_the_scheme_and_symmetric():
    landmarks = face_regions.landmarks_deg()
    assert landmarks.shape == (68, 2)
    mirror = {0: 16, 17: 26, 31: 35, 36: 45, 39: 42, 41: 46, 48: 54, 55: 59, 60: 64, 65: 67}
    for right, left in mirror.items():
        np.testing.assert_array_equal(landmarks[right] * [-1, 1], landmarks[left])
    assert landmarks[30, 1] > landmarks[33, 1] > landmarks[51, 1] > landmarks[57, 1]


def test_landmarks_lie_on_the_features_of_the_mean_face():
    from data_prep.synthetic.embedded_face import face_model

    model = face_model()
    directions = map_grid.ray_directions()
    pixels = face_regions.landmark_pixels()
    pairs = {30: 'nose_tip', 36: 'right_eye_outer', 45: 'left_eye_outer', 48: 'mouth_right'}
    for number, name in pairs.items():
        point = model.mean[model.landmarks[name]]
        cosine = directions[tuple(pixels[number])] @ point / np.linalg.norm(point)
        assert np.degrees(np.arccos(min(cosine, 1))) < 4


def test_the_weights_are_16_4_3_0():
    weights = face_regions.training_weights()
    assert sorted(set(weights.ravel())) == [0, 3, 4, 16]
    # 14 landmarks lie in the middle: two pixels each; some of the jaw share one on the border.
    assert 68 <= (weights == 16).sum() <= 82
    np.testing.assert_array_equal(weights, weights[:, ::-1])


def test_regions_are_apart_symmetric_and_where_the_landmarks_say():
    regions = face_regions.regions()
    assert list(regions) == ['nose', 'mouth', 'eyes', 'cheeks', 'forehead', 'chin']
    assert np.max(sum(mask.astype(int) for mask in regions.values())) == 1
    for mask in regions.values():
        np.testing.assert_array_equal(mask, mask[:, ::-1])
    row, column = face_regions.landmark_pixels().T
    landmarks = {'nose': [29, 30, 33], 'mouth': range(48, 68), 'eyes': range(36, 48), 'chin': [8]}
    for name, numbers in landmarks.items():
        assert regions[name][row[list(numbers)], column[list(numbers)]].all()


def test_points_are_in_the_region_of_the_pixel_that_sees_them():
    points = 90 * map_grid.ray_directions().reshape(-1, 3)
    labels = face_regions.regions_of(points).reshape(map_grid.SIZE, -1)
    for index, mask in enumerate(face_regions.regions().values()):
        np.testing.assert_array_equal(labels == index, mask)
    assert face_regions.regions_of([[0, 0, -90.0]]) == [-1]
