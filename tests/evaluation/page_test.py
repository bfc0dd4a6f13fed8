import base64
import json

import numpy as np

from seqface_jax.evaluation import page


def test_what_a_part_holds_is_not_filled_again(tmp_path):
    (tmp_path / 'page.html').write_text('{{TITLE}} and {{B}}')
    parts = {'TITLE': '{{B}}', 'B': 'b'}
    assert page.fill(tmp_path / 'page.html', parts) == '{{B}} and b'


def test_a_page_runs_scripts_only_if_it_has_the_viewer(tmp_path):
    def policy(template):
        (tmp_path / 'page.html').write_text(template)
        return page.fill(tmp_path / 'page.html', {'TITLE': 'T'}).split('Security-Policy')[1][:150]

    assert 'script-src' not in policy('{{HEAD}}')
    assert "script-src 'unsafe-inline'" in policy('{{HEAD}}<script>{{VIEWER}}</script>')


def test_json_of_a_script_ends_no_element():
    text = page.script_json({'name': '</script>'})
    assert '<' not in text and json.loads(text) == {'name': '</script>'}


def test_equal_triangles_are_kept_once():
    topologies = page.Topologies()
    assert [topologies.add(t) for t in ([[0, 1, 2]], [[2, 1, 0]], [[0, 1, 2]])] == [0, 1, 0]
    assert len(topologies.texts) == 2


def test_points_are_kept_to_a_hundredth_of_a_millimetre():
    text = page.points_text([[1.234, -300.0, 400.0]])
    points = np.frombuffer(base64.b64decode(text), np.int16) / page.UNITS_PER_MM
    np.testing.assert_allclose(points, [1.23, -300, 327.67])  # 400 mm is beyond what it holds.
