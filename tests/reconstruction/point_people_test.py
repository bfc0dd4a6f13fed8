"""Several people told apart by the packaged run, on pictures of people who do not exist."""

import re

import cv2
import numpy as np
import pytest

from seqface_jax import demo, samples
from seqface_jax.photos import photo_file
from seqface_jax.reconstruct import Reconstructor, Rejection
from seqface_jax.reconstruction import point_people
from seqface_jax.reconstruction.people_assignment import Decision
from tests.commands.readme_test import blocks, output_files

_KINDS = ('ict', 'embedded')


@pytest.fixture(scope='module')
def reconstructor(packaged):
    return packaged


@pytest.fixture(scope='module')
def people():
    """Returns four pictures of each of two made-up people."""
    return [
        [photo_file.read(f'{samples.FOLDER}/made_up_{kind}/{number}.jpg') for number in range(1, 5)]
        for kind in _KINDS
    ]


def _beside(left, right, shift=0):
    """Returns one photo of two people, moved to the right by some pixels."""
    photo = np.full((260, 520, 3), 100, np.uint8)
    photo[20:228, 20 + shift : 228 + shift] = left
    photo[20:228, 290 + shift : 498 + shift] = right
    return photo


def _sides(observations):
    """Returns which side each person is on, of those who are credited."""
    return {
        person: 'left' if own.detection.crop.center[0] < 260 else 'right'
        for person, own in observations.items()
        if own.rejection is None
    }


@pytest.fixture(scope='module')
def after_first(reconstructor, people):
    one, other = people
    photo = _beside(one[0], other[0])
    observations = reconstructor.examine_all(reconstructor.initial_people(), photo)
    group, faces = reconstructor.update_all(reconstructor.initial_people(), photo, observations)
    return group, faces, _sides(observations)


def test_two_people_on_a_photo_are_two_people_with_a_state_each(after_first):
    group, faces, sides = after_first
    assert sorted(faces) == sorted(group.states) == [0, 1]
    assert sorted(sides.values()) == ['left', 'right']
    assert all(state.num_frames == 1 for state in group.states.values())


def test_in_a_video_people_who_stay_are_credited_frame_by_frame(reconstructor, people, after_first):
    group, _, sides = after_first
    photo = _beside(people[0][0], people[1][0], shift=3)
    observations = reconstructor.examine_all(group, photo, video=True)
    assert _sides(observations) == sides
    after, _ = reconstructor.update_all(group, photo, observations)
    assert after.states[0].num_frames == after.states[1].num_frames == 2
    assert group.states[0].num_frames == 1


@pytest.mark.parametrize('video', [False, True])
def test_who_changes_places_is_never_credited_to_the_other(
    reconstructor, people, after_first, video
):
    group, _, sides = after_first
    swapped = {person: {'left': 'right', 'right': 'left'}[side] for person, side in sides.items()}
    photo = _beside(people[1][0], people[0][0])
    observations = reconstructor.examine_all(group, photo, video=video)
    credited = _sides(observations)
    assert set(credited.items()) <= set(swapped.items()), 'credited to the wrong person'
    for own in observations.values():
        if own.rejection is not None:
            assert own.rejection is Rejection.UNSURE and 'person ' in own.reason
    after, faces = reconstructor.update_all(group, photo, observations)
    assert set(faces) == set(credited)
    for person in set(sides) - set(credited):
        assert after.states[person] is group.states[person]


def test_a_doubt_names_both_people():
    decision = Decision(0, 1, 0.5, is_sure=False)
    assert point_people.named(decision, [0, 1], 2) == (0, 'person 1 or person 2')
    decision = Decision(2, 0, 0.5, is_sure=False)
    assert point_people.named(decision, [0, 1], 2) == (2, 'somebody new or person 1')


def test_the_block_on_several_people_of_the_python_page_runs(
    reconstructor, people, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {'reconstructor': reconstructor, 'photo': _beside(people[0][0], people[1][0])}
    (block,) = (text for _, text in blocks('docs/PYTHON.md') if 'update_all' in text)
    exec(compile(block, 'docs/PYTHON.md', 'exec'), names)
    assert sorted(names['faces']) == [0, 1]
    assert (tmp_path / 'head.glb').exists()


def test_everybody_on_photos_gets_a_page_and_each_face_a_row(
    reconstructor, people, tmp_path, monkeypatch
):
    monkeypatch.setattr(Reconstructor, 'restore', lambda *args, **options: reconstructor)
    folder = tmp_path / 'photos'
    folder.mkdir()
    photo = _beside(people[0][0], people[1][0])
    cv2.imwrite(str(folder / '1.png'), photo[..., ::-1])
    cv2.imwrite(str(folder / '2.png'), people[1][1][..., ::-1])
    (folder / '0_read_me.txt').write_text('no photo, and the first by name')
    output = tmp_path / 'out'
    demo.run_people('all', None, str(folder), str(output), animate=True, head=True)
    rows = (output / 'people_frames.csv').read_text().splitlines()
    assert len(rows) == 1 + 3  # Two faces on the first photo, one on the second.
    page = (output / 'index.html').read_text()
    for name in ('person_01', 'person_02'):
        assert (output / name / 'face_rigged.glb').exists()
        assert f'href="{name}/face.html"' in page
        made = {path.name + '/' * path.is_dir() for path in (output / name).iterdir()}
        assert made <= output_files(), made - output_files()
        offered = re.findall(
            r'"name":\s*"([\w.]+)", "bytes"', (output / name / 'face.html').read_text()
        )
        files = {
            'face.obj',
            'face.mtl',
            'face_texture.png',
            'frames.csv',
            'head.glb',
            'face_animated.glb',
            'face_expressions.glb',
        }
        assert files <= set(offered)
    made = {path.name for path in output.iterdir() if path.is_file()}
    assert made <= output_files()
