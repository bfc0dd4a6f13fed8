"""The systems side by side as a table: a column for each group of people, and what it cost."""

from seqface_jax.evaluation import statistics

VIEWS = {'front_only': 1, 'rotate_render': 1, 'front_side': 2}  # Frames of Lium's and Kwon's.
_ERRORS = ('vertex_mm', 'scan_to_mesh_mm')
_COLUMNS = (*_ERRORS, 'p', 'at best')


def markdown(people, costs):
    """Returns the table, without columns in which nothing is told, and how far each system is.

    Args:
        people: {title of a column: {system: [system_scores.Score]}}; the first has everybody.
        costs: {system: (number of parameters, sentence of system_training.State or None, hours or
            None)}.
    """
    head = ['system', 'frames']
    for title in people:
        head += [f'{title}: {column}' for column in _COLUMNS]
    head += ['parameters', 'ms a face', 'hours of training']
    lines = []
    first = next(iter(people.values()))
    for name, scores in first.items():
        counts = [str(score.frames) for score in scores if score.frames is not None]
        cells = [name, ', '.join(counts) or '-']
        for own in people.values():
            cells += _cells(own.get(name, []))
        parameters, _, hours = costs.get(name, (None, None, None))
        cells.append(_text(parameters, ',d'))
        cells.append(_text(scores[-1].ms_per_face if scores else None, '.1f'))
        lines.append([*cells, _text(hours, '.2f')])
    told = [n for n in range(len(head)) if any(line[n] != '-' for line in lines)]
    lines = [[line[n] for n in told] for line in (head, ['---'] * len(head), *lines)]
    text = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n\n'
    for name, (_, sentence, _) in costs.items():
        if sentence:
            text += f'- {name}: {sentence}\n'
    return text + worth_of_the_drawn_view(first)


def worth_of_the_drawn_view(scores):
    """Says in mm what a drawn side view gives, beside the true one and none; '' if not known.

    Args:
        scores: {system: [system_scores.Score]}.
    """
    found = {
        name: score.scan_to_mesh_mm
        for name, count in VIEWS.items()
        for score in scores.get(name, ())
        if score.frames == count
    }
    if len(found) < len(VIEWS):
        return ''
    alone, drawn, true = (found[name] for name in VIEWS)
    return (
        f'\nThe drawn side view is worth {alone - drawn:.2f} mm of scan_to_mesh_mm '
        f'({alone:.2f} from the front alone, {drawn:.2f} with it); the true one '
        f'{alone - true:.2f} mm ({true:.2f}).\n'
    )


def _cells(scores):
    """Returns the two errors after each number of frames, p after the most, and the oracle's."""
    if not scores:
        return ['-'] * len(_COLUMNS)
    p_value = statistics.show_p(scores[-1].p_value, scores[-1].num_people)
    cells = []
    for name in _ERRORS:
        values = [_text(getattr(score, name), '.2f') for score in scores]
        cells.append('-' if set(values) == {'-'} else ', '.join(values))
    errors = [getattr(scores[-1].oracle, name, None) for name in _ERRORS]
    told = [_text(value, '.2f') for value in errors if value is not None]
    return [*cells, p_value, ', '.join(told) or '-']


def _text(value, digits):
    return '-' if value is None else format(value, digits)
