import numpy as np
import pytest

from data_prep import neutral, sources, synthetic_raw
from data_prep.photo_crops import PhotoCrop, crop_photos, encode_jpeg
from data_prep.sources import RawFrame, Subject
from seqface_jax.errors import UserError
from tests.helpers.small_raw_tree import draw_face

BOX = np.zeros(4, np.float32)


def _sequence(name, openings, rng):
    """Returns frames and crops of a drawn face whose mouth opens as told."""
    frames, crops = [], []
    for index, opening in enumerate(openings):
        center = 128 + rng.uniform(-5, 5, 2)  # The detector's box is not exact.
        photo = draw_face(256, 256, center, 100, opening)
        frames.append(RawFrame('F001', name, index, 'photo', f'{name}/{index:03d}.wrl'))
        crops.append(PhotoCrop(name, index, encode_jpeg(photo), BOX))
    return frames, crops


def test_the_neutral_frame_is_what_the_ends_of_the_sequences_have_in_common():
    rng = np.random.default_rng(0)
    openings = {
        'Angry': (0.02, 0.5, 1, 0.5, 0.45),  # Does not come back to neutral.
        'Fear': (0.5, 1, 1, 0.6, 0.0),  # Does not begin there.
        'Happy': (0.0, 0.5, 1, 1, 0.9),
        'Sad': (0.0, 0.4, 0.9, 0.5, 0.1),
    }
    frames, crops = [], []
    for name, values in openings.items():
        members = _sequence(name, values, rng)
        frames += members[0]
        crops += members[1]
    ranked = neutral.rank_frames(frames, crops)
    assert len(ranked) == len(frames)
    values = [openings[frame.sequence][frame.index] for frame in ranked]
    assert max(values[:4]) <= 0.1
    assert min(values[8:]) >= 0.4  # What is no end of a sequence comes last.


def test_the_choice_has_no_expression_on_synthetic_people(tmp_path):
    settings = synthetic_raw.Settings(frames=4, seed=5, scan_vertices=500, photo_height=232)
    synthetic_raw.write(str(tmp_path), 1, 1, settings)
    source = sources.open_source('bu4dfe', str(tmp_path))
    (subject,) = source.subjects()
    late = {('Angry', 0), ('Happy', 3), ('Sad', 0)}  # These sequences lose an end.
    frames = [frame for frame in subject.frames if (frame.sequence, frame.index) not in late]
    crops, skipped = crop_photos(frames)
    assert not skipped
    truth = source.truth(subject.id)
    weights = {
        (str(sequence), int(index)): weight.max()
        for sequence, index, weight in zip(
            truth['sequences'], truth['frames'], truth['expression_weights'], strict=True
        )
    }
    ranked = neutral.rank_frames(frames, crops)
    assert [weights[frame.sequence, frame.index] for frame in ranked[:2]] == [0, 0]
    assert max(weights[frame.sequence, frame.index] for frame in ranked[:12]) > 0.3


def test_frames_without_scan_are_never_chosen_and_those_without_face_late():
    frames, crops = _sequence('Sad', (0, 0, 0), np.random.default_rng(0))
    frames[0] = frames[0]._replace(scan_path=None)
    ranked = neutral.rank_frames(frames, crops[:2])
    assert [frame.index for frame in ranked] == [1, 2]


def test_the_score_of_the_picture_in_the_middle_is_least():
    pictures = [
        draw_face(256, 256, (128, 128), 100, mouth)[::4, ::4, 0]
        for mouth in (0.0, 0.35, 0.5, 0.65, 1.0)
    ]
    assert np.argmin(neutral.medoid_scores(pictures)) == 2
    assert neutral.medoid_scores(pictures[:1]) == [0]
    assert len(neutral.medoid_scores([])) == 0


def test_flat_pictures_do_not_break_the_score():
    assert np.isfinite(neutral.medoid_scores([np.zeros((64, 64), np.uint8)] * 3)).all()


def test_the_table_gives_the_chosen_frame_of_each_subject(tmp_path):
    path = tmp_path / 'neutral.csv'
    path.write_text('subject,sequence,frame\nF001,Sad,003\nM001,Happy,0\n')
    assert neutral.read_csv(path) == {'F001': ('Sad', 3), 'M001': ('Happy', 0)}


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('subject,frame\nF001,3\n', 'first line must be subject,sequence,frame'),
        ('subject,sequence,frame\nF001,Sad,x\n', "line 2: 'x' is not a frame number"),
        (
            'subject,sequence,frame\nF001,Sad,1\nF001,Sad,2\n',
            'line 3: subject F001 is listed twice',
        ),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, sentence):
    path = tmp_path / 'neutral.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        neutral.read_csv(path)


def test_a_table_that_names_a_scan_that_is_not_there_is_refused():
    subject = Subject('F001', (RawFrame('F001', 'Sad', 3, 'photo', None),))
    with pytest.raises(UserError, match='no scan of F001 in Sad 003'):
        neutral.check_csv('n.csv', {'F001': ('Sad', 3), 'M009': ('Sad', 1)}, [subject])
