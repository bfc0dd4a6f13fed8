"""Where the curves go: metrics.csv, and TensorBoard events if tensorboardX is installed."""

import csv
import math
import os

_PLACE = ('step', 'epoch', 'kind')
_VALUES = ('loss', 'error_mm', 'learning_rate', 'grad_norm')
# Header of the correspondence network's runs by an older program: a row for each term.
_LONG = ('step', 'kind', 'term', 'value')


class MetricsWriter:
    """Writes rows of metrics; a resumed run goes on without a double row.

    `kind` is 'step' (one training batch), 'training' (a mean over an epoch, or over the steps since
    the row before) or 'validation'. Every term of the loss has a column of its own.

    Attributes:
        last_seconds: `seconds` of the last row that was kept; 0 where that is not known.
    """

    def __init__(self, workdir, step, terms):
        """Opens <workdir>/metrics.csv and forgets the rows after `step`.

        Args:
            workdir: of the run.
            step: from which it goes on.
            terms: names of the terms of the loss.
        """
        self._path = os.path.join(workdir, 'metrics.csv')
        self._values = (*_VALUES, *(name for name in terms if name not in _VALUES))
        self._columns = (*_PLACE, *self._values, 'seconds')
        self._keep_until(step)
        self._file = open(self._path, 'a', newline='')
        self._rows = csv.DictWriter(self._file, self._columns)
        self._events = _event_writer(workdir, step)

    def write(self, kind, *, step, **values):
        """Appends a row; `values` are columns, those left out stay empty."""
        self._rows.writerow({'step': step, 'kind': kind} | values)
        self._file.flush()
        if self._events is not None:
            for name in self._values:
                if name in values:
                    self._events.add_scalar(f'{kind}/{name}', values[name], step)

    def close(self):
        """Closes the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def _keep_until(self, step):
        rows = [row for row in read(self._path) if int(row['step']) <= step]
        draft = self._path + '.tmp'
        with open(draft, 'w', newline='') as file:
            # A term that this program does not know is of a loss that it cannot go on with.
            writer = csv.DictWriter(file, self._columns, extrasaction='ignore')
            writer.writeheader()
            writer.writerows(rows)
        last = float(rows[-1]['seconds']) if rows else 0.0
        self.last_seconds = last if math.isfinite(last) else 0.0
        os.replace(draft, self._path)


def read(path):
    """Returns the complete rows of a metrics.csv as dicts of str; none if there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, newline='') as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) == _LONG:
        return _widen(rows)
    return [row for row in rows if row['seconds']]  # The last may be cut off by a kill.


def _widen(rows):
    """Returns one row for each step and kind of a file with a row for each term."""
    wide = {}
    for row in rows:
        if row['value']:
            place = {'step': row['step'], 'kind': row['kind'], 'seconds': 'nan'}  # Not known.
            wide.setdefault((row['step'], row['kind']), place)[row['term']] = row['value']
    return list(wide.values())


def _event_writer(workdir, step):
    try:
        import tensorboardX
    except ImportError:
        return None
    return tensorboardX.SummaryWriter(workdir, purge_step=step + 1)
