"""What was measured on each frame: rows of frames.csv, expression.csv, landmarks.json."""

import csv
import io
import json

import numpy as np

from seqface_jax.reconstruction import frame_fit

# Columns of frames.csv about the fit; each is empty for a frame that was not used.
FIT_COLUMNS = (
    *(f'rotation_{row}{column}' for row in range(3) for column in range(3)),
    *(f'translation_{axis}_mm' for axis in 'xyz'),
    *('yaw_deg', 'pitch_deg', 'roll_deg'),
    *('focal_px', 'center_x_px', 'center_y_px'),
    *('reprojection_px', 'score', 'band_mm'),
)
LANDMARK_CONVENTION = 'iBUG 68, from 0: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67'


def fit_row(fit, band_mm):
    """Returns the values of FIT_COLUMNS as str.

    Args:
        fit: frame_fit.FrameFit, or None for a frame that was not used.
        band_mm: stated_band.half_width_mm of the face after the frame; or None.
    """
    if fit is None:
        return [''] * len(FIT_COLUMNS)
    values = [*np.ravel(fit.rotation), *fit.translation, *frame_fit.angles_deg(fit)]
    values += [fit.focal_px, *fit.center_px, fit.reprojection_px, fit.score]
    return [f'{value:.6g}' for value in values] + ['' if band_mm is None else f'{band_mm:.4f}']


def weight_columns(names):
    """Returns the columns of frames.csv that hold the blendshape weights."""
    return tuple(f'weight_{name}' for name in names)


def weight_row(fit, names):
    """Returns the blendshape weights of a fit as str; empty ones for None."""
    if fit is None:
        return [''] * len(names)
    return [f'{weight:.4f}' for weight in fit.expression]


def expression_csv(names, frames):
    """Returns the text of expression.csv: a row for each used frame, a column per blendshape.

    Args:
        names: [E], of the blendshapes.
        frames: iterable of (seconds, frame name, weights [E]).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('seconds', 'photo', *names))
    for seconds, name, weights in frames:
        writer.writerow((f'{seconds:.4f}', name, *(f'{weight:.4f}' for weight in weights)))
    return text.getvalue()


def landmark_entry(name, fit, landmark_indices):
    """Returns the 68 landmarks of a used frame as plain values, for `landmarks`.

    Args:
        name: str, of the photo.
        fit: frame_fit.FrameFit.
        landmark_indices: [68] vertices.

    Returns:
        dict of `photo`, `px` [68][2] in the photo, and `mm` [68][3] with the frame's expression.
    """
    points = np.asarray(fit.vertices)[np.asarray(landmark_indices)]
    places = frame_fit.project(fit, points)
    return {'photo': name, 'px': _rounded(places, 2), 'mm': _rounded(points, 3)}


def landmarks(vertices, landmark_indices, entries):
    """Returns the 68 landmarks of the neutral face and of all frames, for landmarks.json.

    Args:
        vertices: [V, 3] mm, the neutral face.
        landmark_indices: [68] vertices.
        entries: list of what `landmark_entry` returned.
    """
    chosen = np.asarray(landmark_indices)
    return {
        'convention': LANDMARK_CONVENTION,
        'unit': 'mm',
        'frame_of_reference': "canonical: +x to the person's left, +y up, +z out of the face",
        'pixels': 'x to the right, y down; (0, 0) is the upper left corner of the photo',
        'vertices': chosen.tolist(),
        'neutral_mm': _rounded(np.asarray(vertices)[chosen], 3),
        'frames': entries,
    }


def json_text(values):
    """Returns plain values as JSON, one dict of a list on a line."""
    text = json.dumps(values, allow_nan=False)
    return text.replace('{"photo"', '\n{"photo"') + '\n'


def _rounded(array, digits):
    return np.round(np.asarray(array, np.float64), digits).tolist()
