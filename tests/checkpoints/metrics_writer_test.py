import csv
import glob

from seqface_jax.checkpoints import metrics_writer


def _write(workdir, step, *, terms=('masked_l1',), **values):
    writer = metrics_writer.MetricsWriter(str(workdir), step, terms)
    writer.write('training', step=step + 1, epoch=1, seconds=2.5, **values)
    writer.close()


def test_every_term_has_a_column_and_events_of_its_own(tmp_path):
    _write(tmp_path, 0, terms=('masked_l1', 'gaussian_nll'), loss=3.0, masked_l1=2.0)
    (row,) = metrics_writer.read(tmp_path / 'metrics.csv')
    assert (row['loss'], row['masked_l1'], row['gaussian_nll']) == ('3.0', '2.0', '')
    (events,) = glob.glob(f'{tmp_path}/events.out.tfevents.*')
    with open(events, 'rb') as file:
        content = file.read()
    assert b'training/masked_l1' in content and b'training/loss' in content


def test_a_run_that_goes_on_keeps_the_rows_until_its_step_and_the_clock(tmp_path):
    for step in (0, 1, 2):
        _write(tmp_path, step, loss=float(step))
    writer = metrics_writer.MetricsWriter(str(tmp_path), 2, ('masked_l1',))
    writer.close()
    assert [row['step'] for row in metrics_writer.read(tmp_path / 'metrics.csv')] == ['1', '2']
    assert writer.last_seconds == 2.5


def test_the_curves_of_an_older_program_go_on_with_a_column_for_each_term(tmp_path):
    _write(tmp_path, 0, terms=(), loss=4.0)
    _write(tmp_path, 1, loss=3.0, masked_l1=2.0)
    old, new = metrics_writer.read(tmp_path / 'metrics.csv')
    assert (old['loss'], old['masked_l1']) == ('4.0', '')
    assert (new['loss'], new['masked_l1']) == ('3.0', '2.0')


def test_a_file_with_a_row_for_each_term_is_read_and_gone_on_with(tmp_path):
    with open(tmp_path / 'metrics.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(('step', 'kind', 'term', 'value'))
        for step in (25, 50):
            writer.writerows([(step, 'training', 'loss', 9), (step, 'training', 'nll', step / 10)])
        writer.writerow((50, 'validation', 'loss', 8))
    assert len(metrics_writer.read(tmp_path / 'metrics.csv')) == 3
    _write(tmp_path, 25, terms=('nll',), loss=7.0, nll=1.0)
    old, new = metrics_writer.read(tmp_path / 'metrics.csv')
    assert (old['step'], old['kind'], old['loss'], old['nll']) == ('25', 'training', '9', '2.5')
    assert (new['step'], new['nll']) == ('26', '1.0')
    writer = metrics_writer.MetricsWriter(str(tmp_path), 25, ('nll',))
    writer.close()
    assert writer.last_seconds == 0  # The older program did not write them.
