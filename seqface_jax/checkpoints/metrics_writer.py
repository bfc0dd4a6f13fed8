"""Where the curves go: metrics.csv, and TensorBoard events if tensorboardX is installed."""

import csv
import os

COLUMNS = ('step', 'epoch', 'kind', 'loss', 'error_mm', 'learning_rate', 'grad_norm', 'seconds')


class MetricsWriter:
    """Writes rows of metrics; a resumed run goes on without a double row.

    `kind` is 'step' (one training batch), 'training' (mean over an epoch) or 'validation'.
    """

    def __init__(self, workdir, step):
        """Opens <workdir>/metrics.csv and forgets the rows after `step`."""
        self._path = os.path.join(workdir, 'metrics.csv')
        self._keep_until(step)
        self._file = open(self._path, 'a', newline='')
        self._rows = csv.DictWriter(self._file, COLUMNS)
        self._events = _event_writer(workdir, step)

    def write(self, kind, *, step, **values):
        """Appends a row; `values` are columns, those left out stay empty."""
        self._rows.writerow({'step': step, 'kind': kind} | values)
        self._file.flush()
        if self._events is not None:
            for name in ('loss', 'error_mm', 'learning_rate', 'grad_norm'):
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
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(draft, self._path)


def read(path):
    """Returns the complete rows of a metrics.csv as dicts of str; none if there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row['seconds']]  # The last may be cut off by a kill.


def _event_writer(workdir, step):
    try:
        import tensorboardX
    except ImportError:
        return None
    return tensorboardX.SummaryWriter(workdir, purge_step=step + 1)
