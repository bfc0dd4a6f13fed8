"""Rows against rows: over the number of frames, between models, and seen against unseen people."""

import itertools

from seqface_jax.evaluation import rows, scoring, statistics

_IDENTITY = ('model', 'of', 'checkpoint', 'split')
CURVE_METRICS = ('vertex_mm', 'scan_to_mesh_mm', 'nme_thesis')


def over_frames(scored, *, seed):
    """Follows each model's errors over the number of frames, paired by subject.

    Args:
        scored: list of rows.Scored.
        seed: of the bootstrap.

    Returns:
        list of flat dict, one per model, checkpoint, split, metric and number of frames: the
        `mean` and its interval `low`, `high`; the change from the number before, `change`,
        `change_low`, `change_high`, `change_p`; and that from the least number, `from_first`,
        ..., `from_first_share`, over the error at the least number. None at the least number.
    """
    curves = []
    for series in _series(scored):
        for metric in CURVE_METRICS:
            columns = [scoring.column(own.scores, metric) for own in series]
            if any(len(values) < len(series[0].scores) for values in columns):
                continue  # Not defined for this model, or not for every subject.
            for place, values in enumerate(columns):
                point = {name: series[place].row[name] for name in (*_IDENTITY, 'num_frames')}
                low, high = statistics.bootstrap_interval(values, seed=seed) or (None, None)
                point |= {'metric': metric, 'mean': sum(values) / len(values)}
                point |= {'low': low, 'high': high}
                point |= _named('change', values, columns[place - 1] if place else None, seed)
                point |= _named('from_first', values, columns[0] if place else None, seed)
                curves.append(point)
    return curves


def between(scored, *, seed):
    """Compares the runs with what they should beat, at equal numbers of frames, paired by subject.

    Each run with the average of its answers to single frames, with its answer to copies of the
    first frame and with its answer without expressions, and the runs of one checkpoint with each
    other.

    Returns:
        list of flat dict: split, num_frames, checkpoint, first, second, metric, and what
        `statistics.compare` says of first - second.
    """
    found = []
    for (place, one), (other_place, other) in itertools.permutations(enumerate(scored), 2):
        a, b = one.row, other.row
        same = all(a[name] == b[name] for name in ('split', 'num_frames', 'checkpoint'))
        if not same or a['num_frames'] is None or a['of'] is not None:
            continue
        if b['of'] is None and place > other_place:
            continue  # Two runs are compared once.
        if b['of'] not in (None, a['model']):
            continue
        # The same neutral faces: they differ by what they say of the frames.
        metrics = ('frame_mm',) if b['model'] == rows.NO_EXPRESSION else rows.MAIN_METRICS
        metric, values, reference = rows.paired(one.scores, other.scores, metrics)
        if metric is None:
            continue
        names = {'first': a['model'], 'second': b['model'], 'metric': metric}
        condition = {name: a[name] for name in ('split', 'num_frames', 'checkpoint')}
        found.append(condition | names | statistics.compare(values, reference, seed=seed))
    return found


def seen_and_unseen(scored, *, seed):
    """Compares the errors on people of the training split with those on people never seen.

    Returns:
        list of flat dict: model, of, checkpoint, num_frames, metric, `seen`, `unseen` (test),
        `gap`, unseen - seen, its interval `gap_low`, `gap_high`, and `share`, gap over unseen.
    """
    found = []
    names = ('model', 'of', 'checkpoint', 'num_frames')  # Rows made of a run are left out.
    for one, other in itertools.permutations(scored, 2):
        if (one.row['split'], other.row['split']) != ('train', 'test') or one.row['of']:
            continue
        if any(one.row[name] != other.row[name] for name in names):
            continue
        for metric in ('vertex_mm', 'scan_to_mesh_mm'):
            seen, unseen = (scoring.column(own.scores, metric) for own in (one, other))
            if seen and unseen:
                break
        else:
            continue
        means = sum(seen) / len(seen), sum(unseen) / len(unseen)
        low, high = statistics.gap_interval(unseen, seen, seed=seed) or (None, None)
        gap = means[1] - means[0]
        row = {name: one.row[name] for name in names}
        row |= {'metric': metric, 'seen': means[0], 'unseen': means[1]}
        row |= {'gap': gap, 'gap_low': low, 'gap_high': high}
        found.append(row | {'share': gap / means[1] if means[1] else None})
    return found


def _series(scored):
    """Returns lists of rows.Scored of one model, checkpoint and split, by number of frames."""
    groups = {}
    for own in scored:
        is_copy = own.row['model'] == rows.NO_EXPRESSION  # It equals its run in all but frame_mm.
        if own.row['num_frames'] is not None and not is_copy:
            groups.setdefault(tuple(own.row[name] for name in _IDENTITY), []).append(own)
    return [sorted(own, key=lambda one: one.row['num_frames']) for own in groups.values()]


def _named(prefix, values, reference, seed):
    """Returns what `statistics.compare` says under names that start with `prefix`."""
    names = {'difference': '', 'difference_low': '_low', 'difference_high': '_high'}
    names |= {'share': '_share', 'p_value': '_p'}
    found = {} if reference is None else statistics.compare(values, reference, seed=seed)
    return {prefix + ending: found.get(name) for name, ending in names.items()}
