"""A condition's scores to a row of results.json: means, intervals, tests."""

from typing import NamedTuple

from seqface_jax.evaluation import reported_metrics, scoring, statistics

NO_EXPRESSION = 'no_expression'  # The row of a run's neutral faces, taken for those of the frames.
MAIN_METRICS = ('vertex_mm', 'scan_to_mesh_mm')


class Scored(NamedTuple):
    """A row and what it averages.

    Attributes:
        row: dict, as in results.json.
        scores: list of S dicts, one per subject, what `scoring.score` returned.
    """

    row: dict
    scores: list


def make_row(answers, scores, reference, *, seed):
    """Makes the row of one condition.

    Args:
        answers: streaming.Answers.
        scores: list of S dicts, what `scoring.score` returned.
        reference: the scores of mean_face on the same subjects, or `scores` itself.
        seed: of the bootstrap.

    Returns:
        dict, as in results.json.
    """
    row = answers.condition._asdict() | {'num_subjects': len(scores)}
    row['fewest_frames'] = answers.fewest_frames
    for metric in reported_metrics.METRICS + reported_metrics.REGIONS:
        row[metric.name] = scoring.mean([own[metric.name] for own in scores])
    row['seconds_per_sequence'] = answers.seconds
    row['intervals'] = {}
    for metric in reported_metrics.METRICS:
        values = scoring.column(scores, metric.name)
        interval = statistics.bootstrap_interval(values, seed=seed) if values else None
        row['intervals'][metric.name] = interval
    row['p_value'], row['p_metric'] = _p_value(scores, reference, seed)
    row['protocol'] = {
        'alignment': 'rigid, trimmed point-to-plane ICP of the scan crop from the canonical '
        'frame; nme_thesis: its own point ICP; vertex_mm: rigid by the true pairs',
        'target': 'raw scan, cleaned, 95 mm crop',
        'selection': answers.condition.selection,
        'ordered': answers.ordered,
    }
    return row


def _p_value(scores, reference, seed):
    """Tests against the mean face on vertex_mm where both have it, else on scan_to_mesh_mm."""
    if scores is reference:
        return None, None
    name, own, other = paired(scores, reference)
    return (statistics.paired_p_value(own, other, seed=seed), name) if name else (None, None)


def paired(scores, reference, names=MAIN_METRICS):
    """Returns the first of `names` that is known of every subject in both, and its columns.

    Returns:
        name, values [S], values of reference [S]; three times None if there is none.
    """
    for name in names:
        own, other = scoring.column(scores, name), scoring.column(reference, name)
        if len(own) == len(scores) == len(other):
            return name, own, other
    return None, None, None
