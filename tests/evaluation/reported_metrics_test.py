"""A metric is declared once."""

import csv
import json

import numpy as np

from seqface_jax import models
from seqface_jax.evaluation import reported_metrics, rows, scoring, streaming, tables
from tests.helpers import bumpy_face


def _rows():
    """Returns the row of a perfect answer about one person."""
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    points = bumpy_face.sample(face, 500)
    subjects = scoring.Subjects(
        ['F001'], [bumpy_face.scan_of(face)], points[None], face[None], mask[None], [np.arange(1)]
    )
    condition = streaming.Condition('ours', 'latest', 'test', 1)
    answers = streaming.Answers(condition, models.Prediction(face[None]), True, mask, 0.5)
    scores = [scoring.score(subjects, 0, answers.of(0))]
    return [rows.make_row(answers, scores, scores, seed=0)], scores


def test_a_metric_declared_here_is_computed_averaged_and_shown(monkeypatch, tmp_path):
    width = reported_metrics.Metric(
        'width_mm',
        title='width, mm',
        digits='.1f',
        sentence='width of the answer',
        function=lambda case: float(np.ptp(case.answer.vertices[:, 0])),
        optional=True,
    )
    monkeypatch.setattr(reported_metrics, 'METRICS', (*reported_metrics.METRICS, width))
    made, scores = _rows()
    tables.write(str(tmp_path), tables.Results({}, made, [], [], []), [], [])
    expected = scores[0]['width_mm']
    assert expected > 50
    assert json.loads((tmp_path / 'results.json').read_text())['rows'][0]['width_mm'] == expected
    with open(tmp_path / 'table.csv', newline='') as file:
        assert float(next(csv.DictReader(file))['width_mm']) == expected
    head, row = tables.tables(tables.Results({}, made, [], [], []))['Rows']
    assert row[head.index('width, mm')] == f'{expected:.1f}'
    assert 'width_mm' in made[0]['intervals']


def test_names_titles_and_sentences_are_there_and_no_two_are_alike():
    for declared in (reported_metrics.METRICS, reported_metrics.REGIONS):
        for field in ('name', 'title', 'sentence'):
            values = [getattr(metric, field) for metric in declared]
            assert all(values) and len(set(values)) == len(values)
        for metric in declared:
            assert float(f'{0.5:{metric.digits}}') == 0.5


def test_every_value_has_the_kind_that_its_declaration_says():
    made, scores = _rows()
    for metric in reported_metrics.METRICS:
        value = scores[0][metric.name]
        assert value is None or isinstance(value, scoring.metrics.Summary) == metric.summary
        assert metric.optional or value is not None, metric.name
    assert all(isinstance(scores[0][metric.name], dict) for metric in reported_metrics.REGIONS)
