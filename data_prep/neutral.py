"""Chooses the frame that shows a subject's neutral face; the thesis chose it by hand.

Sequences of expressions begin and end near neutral, but not exactly, and nothing says which end
is best. The candidates are the first and last few frames of every sequence that have a scan. Each
is compared with every other by the correlation of their face crops, the best over small shifts
and scales (the detector's box is not exact). Neutral is what the ends of different expressions
have in common: the medoid, the candidate nearest to its nearer half of the others, is chosen.
Where ends are missing, a faint expression in the commonest pose can win over neutral: look at
what report.json says was chosen; a CSV (subject,sequence,frame) overrules.
"""

import cv2
import numpy as np

from data_prep import photo_crops
from data_prep.sources import splits
from seqface_jax.errors import UserError

END_SHARE = 0.03  # Share of a sequence's frames, at each end, that are candidates ...
MAX_END_FRAMES = 3  # ... but at least one and at most this many.
THUMBNAIL_SIZE = 64  # Pixels; of the crops that are compared.
BORDER = 8  # Pixels of a thumbnail that are left out: hair, collar and background move.
SHIFT = 6  # Pixels, each way, ...
SCALES = (0.94, 1.0, 1.06)  # ... and sizes that are searched for the best match.


def rank_frames(frames, crops):
    """Returns the frames that have a scan, the most likely neutral first.

    Args:
        frames: tuple of RawFrame of one subject, sorted by sequence and index.
        crops: list of PhotoCrop of the same subject.

    Returns:
        list of RawFrame: the candidates by their medoid score, then the rest by their distance
        from the nearer end of their sequence.
    """
    distance_from_end = {}
    sequences = {}
    for frame in frames:
        if frame.scan_path is not None:
            sequences.setdefault(frame.sequence, []).append(frame)
    candidates, rest = [], []
    for members in sequences.values():
        count = int(np.clip(round(END_SHARE * len(members)), 1, MAX_END_FRAMES))
        for place, frame in enumerate(members):
            distance_from_end[frame] = min(place, len(members) - 1 - place)
            (candidates if distance_from_end[frame] < count else rest).append(frame)
    jpegs = {(crop.sequence, crop.index): crop.jpeg for crop in crops}
    seen = [frame for frame in candidates if (frame.sequence, frame.index) in jpegs]
    unseen = [frame for frame in candidates if (frame.sequence, frame.index) not in jpegs]
    thumbnails = [
        photo_crops.decode_gray(jpegs[frame.sequence, frame.index], THUMBNAIL_SIZE)
        for frame in seen
    ]
    order = np.argsort(medoid_scores(thumbnails), kind='stable')
    rest.sort(key=distance_from_end.get)  # Stable: within a distance the order stays.
    return [seen[i] for i in order] + unseen + rest


def medoid_scores(thumbnails):
    """Scores how far each picture is from the nearer half of the others; the medoid is least.

    Args:
        thumbnails: list of N [H, W] uint8 pictures.

    Returns:
        [N] float: mean of (1 - correlation) over the nearer half; 0 for a single picture.
    """
    count = len(thumbnails)
    distances = np.zeros((count, count))
    for i, picture in enumerate(thumbnails):
        inner = picture[BORDER + SHIFT : -BORDER - SHIFT, BORDER + SHIFT : -BORDER - SHIFT]
        inners = [cv2.resize(inner, None, fx=scale, fy=scale) for scale in SCALES]
        for j, other in enumerate(thumbnails):
            if i != j:
                other = other[BORDER:-BORDER, BORDER:-BORDER]
                best = max(_correlation(other, inner) for inner in inners)
                distances[i, j] = 1 - best
    distances = np.sort((distances + distances.T) / 2, axis=1)[:, 1:]  # Less its own 0.
    nearer_half = max(1, count // 2)
    return distances[:, :nearer_half].mean(axis=1) if count > 1 else np.zeros(count)


def _correlation(picture, part):
    """Returns the best normalised correlation of a part with any place of a picture."""
    best = cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED).max()
    return np.nan_to_num(best, posinf=0.0)


def read_csv(path):
    """Reads {subject: (sequence, frame index)}.

    Raises:
        UserError: no such file, another header, a frame that is no number, a subject twice.
    """
    table = {}
    for line, row in splits.read_table(path, ('subject', 'sequence', 'frame')):
        if not row['frame'].isdecimal():
            raise UserError(f'{path} line {line}: {row["frame"]!r} is not a frame number')
        if row['subject'] in table:
            raise UserError(f'{path} line {line}: subject {row["subject"]} is listed twice')
        table[row['subject']] = (row['sequence'], int(row['frame']))
    return table


def check_csv(path, table, subjects):
    """Raises UserError if the table names a frame without a scan of one of `subjects`."""
    for subject in subjects:
        scans = {(frame.sequence, frame.index) for frame in subject.frames if frame.scan_path}
        if subject.id in table and table[subject.id] not in scans:
            sequence, index = table[subject.id]
            raise UserError(f'{path}: there is no scan of {subject.id} in {sequence} {index:03d}')
