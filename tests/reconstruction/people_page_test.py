import csv
import os
import re
import urllib.parse

import numpy as np

from seqface_jax.reconstruction import people_page
from seqface_jax.reconstruction.face import Face
from tests.helpers import small_fit


def test_the_page_leads_to_folders_of_any_name(tmp_path):
    vertices, triangles, _ = small_fit.mesh()
    face = Face(vertices, triangles, np.full(len(vertices), 0.5, np.float32))
    names = ['Zoë & 1 #2? 50%41', os.fsdecode(b'caf\xe9')]  # The last is no UTF-8.
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'face.html').write_text('a page')
    rows = [people_page.PersonRow(name, name, face=face) for name in names]
    people_page.write(str(tmp_path), f'2 people of {names[1]}', rows)
    links = re.findall(r'href="([^"]*)"', (tmp_path / 'index.html').read_text())
    for link in links:
        assert not set('#?') & set(link)  # They end the path of an address.
        path = os.fsdecode(urllib.parse.unquote_to_bytes(link))
        assert (tmp_path / path).read_text() == 'a page'
    with open(tmp_path / 'people.csv', newline='', encoding='utf-8') as file:
        assert [row['person'] for row in csv.DictReader(file)] == [names[0], 'caf\ufffd']
    assert len(links) == 2
