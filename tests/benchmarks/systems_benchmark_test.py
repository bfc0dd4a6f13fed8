import csv
import json
import types

import pytest

from benchmarks import system_capacity, system_scores, system_table, system_training, systems
from benchmarks.system_configs import SCALES, SYSTEMS, system_config
from seqface_jax import checkpoints, evaluate, models
from seqface_jax.errors import UserError
from seqface_jax.evaluation import real_people, scan_distance
from seqface_jax.training import objective
from tests import conftest
from tests.helpers import scored_people, small_run, toy_model

_COLUMNS = ('step', 'epoch', 'kind', 'loss', 'error_mm', 'seconds')


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', SYSTEMS)
def test_every_system_has_a_network_at_every_scale(name, scale):
    config = system_config(name, scale)
    assert models.create(config.model, config.data.image_size)
    objective.check(config, None)


@pytest.mark.parametrize('name', SYSTEMS)
def test_who_trains_for_hours_is_validated_on_nobody_of_test_and_stopped_by_no_config(name):
    config = system_config(name, 'cores')
    assert (config.data.train_split, config.data.validation_split) == ('train', 'validation')
    assert config.data.test_split == 'test'
    assert config.train.early_stop_epochs == 0 and config.train.num_epochs >= 10_000


@pytest.mark.parametrize('name', SYSTEMS)
def test_capacity_is_that_of_the_same_network_on_eight_people_as_they_are(name):
    whole = system_config(name, 'cores')
    config = system_capacity.capacity_config(whole)
    assert whole.data.name != config.data.name == 'eight'
    differing = checkpoints.differing_fields(whole, config)
    assert [field for field in differing if field.startswith('model.')] in ([], ['model.dropout'])
    assert not config.data.augmentation.enabled and not config.optimizer.weight_decay


def _write_metrics(workdir, losses, hours=1.0):
    """Writes the metrics.csv of a run with an epoch of `hours` for each validation loss."""
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / 'metrics.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        for epoch, loss in enumerate(losses, 1):
            seconds = 3600 * hours * epoch
            rows.writerow([10 * epoch, epoch, 'training', loss / 2, 1.5, seconds])
            rows.writerow([10 * epoch, epoch, 'validation', loss, 2.5, seconds])


def test_a_run_improves_until_its_best_epoch_is_long_ago(tmp_path):
    assert system_training.read_state(tmp_path).improves
    assert 'no epoch' in system_training.read_state(tmp_path).sentence()
    rising = [3.0, 2.0] + [2.5] * (system_training.PATIENCE - 1)
    _write_metrics(tmp_path, rising)
    state = system_training.read_state(tmp_path)
    assert state.improves and (state.best_loss, state.best_epoch) == (2.0, 2)
    assert (state.steps, state.epochs, state.hours) == (10 * len(rising), len(rising), len(rising))
    _write_metrics(tmp_path, [*rising, 2.1])
    assert not system_training.read_state(tmp_path).improves
    assert 'no longer improving' in system_training.read_state(tmp_path).sentence()
    _write_metrics(tmp_path, [*rising, 1.9])
    assert 'still improving' in system_training.read_state(tmp_path).sentence()


def test_what_no_longer_improves_is_not_trained_again(tmp_path, monkeypatch):
    from seqface_jax import train

    monkeypatch.setattr(train, 'train_and_evaluate', lambda *args: pytest.fail('trained'))
    _write_metrics(tmp_path, [1.0] + [2.0] * system_training.PATIENCE)
    assert system_training.train_until_done(None, str(tmp_path), None).best_epoch == 1
    _write_metrics(tmp_path, [2.0, 1.0])
    assert system_training.train_until_done(None, str(tmp_path), 2.0).hours == 2.0


def test_where_the_config_says_when_to_end_a_flat_run_goes_on(tmp_path, monkeypatch):
    from seqface_jax import train

    _write_metrics(tmp_path, [1.0] + [2.0] * system_training.PATIENCE)
    asked = []
    monkeypatch.setattr(train, 'train_and_evaluate', lambda *args: asked.append(args[2]()))
    system_training.train_until_done(None, str(tmp_path), None, until_flat=False)
    assert asked == [False]


def test_a_training_ends_with_the_epoch_that_passes_its_hours_and_goes_on_with_more(
    tiny_records, tmp_path, monkeypatch
):
    toy_model.install(monkeypatch.setattr)

    def make_config(name):
        return toy_model.get_config(tiny_records)  # Ends by itself after 3 epochs.

    systems.train(['toy'], make_config, str(tmp_path), 1e-9)
    assert system_training.read_state(tmp_path / 'toy').epochs == 1
    systems.train(['toy'], make_config, str(tmp_path), None)
    assert system_training.read_state(tmp_path / 'toy').epochs == 3
    with open(tmp_path / 'curves.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['system'], row['epoch']) for row in rows] == [('toy', n) for n in '123']
    assert all(float(row['training_loss']) > 0 for row in rows)


def _write_run(workdir, data_dir):
    config, _, variables = small_run.make()
    config = config.copy_and_resolve_references()
    config.data.update(dir=str(data_dir), name='tiny')
    checkpoints.write_config(str(workdir), config)
    checkpoints.save(str(workdir), 'best_validation', variables, {})


def test_one_table_holds_each_kind_of_people_and_what_the_systems_cost(no_figures, tmp_path):
    few = {'train': ('F001', 'M001'), 'validation': ('F004',), 'test': ('F005', 'M005')}
    conftest.write_records(tmp_path / 'data', splits=few)
    conftest.write_records(tmp_path / 'data', 'other', {'test': ('F006',)})
    folder = tmp_path / 'runs'
    _write_run(folder / 'fusion', tmp_path / 'data')
    _write_metrics(folder / 'fusion', [2.0, 1.0])
    _write_run(tmp_path / 'further', tmp_path / 'data')
    options = evaluate.EvaluationOptions(
        (1, 99),
        ('test',),
        ('best_validation',),
        1,
        str(tmp_path / 'data'),
        'tiny',  # 99: all 7.
    )
    names, further = ['fusion', 'prnet'], [str(tmp_path / 'further')]
    text = systems.score(names, str(folder), options, held_out='other', beside=further)
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('|')]
    wanted = ('tiny: vertex_mm', 'other: vertex_mm', 'hours of training')
    places = {title: lines[0].index(title) for title in wanted}
    assert [line[0] for line in lines[2:]] == ['mean_face', 'fusion', 'further']  # prnet: no epoch.
    mean, fusion, beside = lines[2:]
    assert (mean[1], fusion[1]) == ('-', '1, 7') and fusion[-1] == '2.00' and beside[-1] == '-'
    assert '- fusion: 20 steps in 2 epochs and 2.00 h' in text
    for name in ('tiny', 'other'):
        place = places[f'{name}: vertex_mm']
        with open(folder / 'eval' / name / 'results.json') as file:
            rows = json.load(file)['rows']
        own = [row for row in rows if row['model'] == 'fusion' and not row['of']]
        expected = [f'{row["vertex_mm"]:.2f}' for row in own]
        assert fusion[place].split(', ') == beside[place].split(', ') == expected
    alone = systems.score(['prnet'], str(folder), options, beside=further)  # None is trained.
    rows = [line.strip('| ').split(' | ') for line in alone.splitlines() if line.startswith('|')]
    assert [row[0] for row in rows[2:]] == ['mean_face', 'further']


def test_where_nothing_is_trained_there_is_no_table(tmp_path):
    with pytest.raises(UserError, match='no system in'):
        systems.score(['prnet'], str(tmp_path), evaluate.EvaluationOptions())


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'systems': ['prenet']}, "no system 'prenet'"),
        ({'parts': ['test']}, "no part 'test'"),
        ({'hours': 0.0}, '--hours must be more than 0'),
        ({'frames': ['many']}, '--frames takes whole numbers'),
        ({'frames': []}, '--frames takes whole numbers'),
        ({'beside': ['{}/runs/prnet']}, 'runs/prnet is called like another run'),
        ({'beside': ['{}/absent']}, 'absent'),
        ({'held_out': 'absent'}, 'absent'),
        ({'real': '{}/absent'}, 'absent is not a folder'),
    ],
)
def test_what_cannot_be_used_is_named_before_anything_is_trained(tmp_path, changes, sentence):
    checkpoints.write_config(str(tmp_path / 'runs' / 'prnet'), system_config('prnet', 'tiny'))
    values = {'systems': ['prnet'], 'parts': ['train'], 'hours': None, 'frames': ['1']}
    values |= {'beside': [], 'held_out': None, 'real': None, 'data_dir': str(tmp_path)}
    systems.check_flags(types.SimpleNamespace(**values))
    (name, value), *_ = changes.items()
    if isinstance(value, list):
        value = [own.format(tmp_path) for own in value]
    elif isinstance(value, str):
        value = value.format(tmp_path)
    with pytest.raises(UserError, match=sentence):
        systems.check_flags(types.SimpleNamespace(**values | {name: value}))


@pytest.mark.parametrize(
    ('name', 'expected'),
    [('prnet', (1,)), ('front_only', (1,)), ('front_side', (1, 2)), ('thesis_ordered', (1, 2, 8))],
)
def test_no_system_is_scored_on_more_frames_than_it_reads(tmp_path, name, expected):
    checkpoints.write_config(str(tmp_path), system_config(name, 'cores'))
    assert system_scores.frames_of(str(tmp_path), (1, 2, 8)) == expected


def test_a_system_is_scored_on_as_many_real_photos_as_it_reads(tmp_path, monkeypatch):
    scored_people.write_real(tmp_path / 'people')
    checkpoints.write_config(str(tmp_path / 'front_side'), system_config('front_side', 'cores'))
    mean = real_people.ScoredFace(*scored_people.mesh(1), None, None)
    monkeypatch.setattr(scan_distance, 'NUM_POINTS', 2000)
    monkeypatch.setattr(evaluate, '_restore', lambda *args: {'front_side': scored_people.Rote()})
    monkeypatch.setattr(real_people, 'mean_face', lambda geometry: mean)
    workdirs, output = {'front_side': str(tmp_path / 'front_side')}, str(tmp_path / 'out')
    found = system_scores.score_real(workdirs, str(tmp_path / 'people'), output, (1, 2, 8))
    assert [score.frames for score in found['mean_face']] == [None]
    one, two = found['front_side']  # `Rote` comes nearer with each photo.
    assert (one.frames, two.frames, two.num_people) == (1, 2, 2)
    with open(tmp_path / 'out' / 'real.json') as file:
        rows = [row for row in json.load(file)['rows'] if row['photos'] == 2]
    assert two.scan_to_mesh_mm == pytest.approx(sum(row['mean_mm'] for row in rows) / 2)


def _score(frames, mm, **changes):
    return system_scores.Score(frames, None, mm, 20)._replace(**changes)


def test_the_table_says_errors_size_hours_and_what_a_drawn_view_is_worth():
    ict = {
        'mean_face': [_score(None, 1.6, vertex_mm=2.0)],
        'front_only': [_score(1, 1.5)],
        'rotate_render': [_score(1, 1.45)],
        'front_side': [
            _score(1, 1.7, vertex_mm=1.9),
            _score(2, 1.3, vertex_mm=1.8, p_value=0.03, ms_per_face=10.0)._replace(
                oracle=_score(None, 0.7, vertex_mm=1.1)
            ),
        ],
    }
    people = {'ICT': ict, 'real': {'front_side': [_score(2, 1.2)]}}
    text = system_table.markdown(people, {'front_side': (13_451_091, 'still improving', 2.0)})
    head = '| system | frames | ICT: vertex_mm | ICT: scan_to_mesh_mm | ICT: p | ICT: at best '
    assert head + '| real: scan_to_mesh_mm | parameters | ms a face | hours of training |' in text
    assert '| mean_face | - | 2.00 | 1.60 | - | - | - | - | - | - |' in text
    row = '| front_side | 1, 2 | 1.90, 1.80 | 1.70, 1.30 | 0.03 | 1.10, 0.70 | 1.20 '
    assert row + '| 13,451,091 | 10.0 | 2.00 |' in text
    assert '- front_side: still improving' in text
    assert 'The drawn side view is worth 0.05 mm' in text and 'the true one 0.20 mm' in text
    assert system_table.worth_of_the_drawn_view({'front_only': ict['front_only']}) == ''
