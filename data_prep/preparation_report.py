"""The report of a preparation: what was used and what was not, for a file and for a person."""

import contextlib
import datetime
import importlib.metadata
import json
import os

import numpy as np

import seqface_jax
from data_prep.sources import splits
from seqface_jax.errors import UserError

_LIBRARIES = ('numpy', 'opencv-python-headless', 'open3d-cpu', 'open3d', 'tensorflow-datasets')
PARTS = ('frames', 'subjects', 'frame_maps')  # Record sets; the last only if asked for.
_SUMMARY_LINES = 20  # Most skipped things in the summary; report.json has all.


class Ledger:
    """What a preparation leaves out, and what it uses but not as it is.

    Attributes:
        skipped: list of {'what', 'where', 'why'}, in the order of the stages.
        notes: list of the same.
    """

    def __init__(self, raw_dir):
        self._raw_dir = raw_dir
        self.skipped = []
        self.notes = []

    def keep(self, good, skipped):
        """Notes the Skipped of a stage and returns what it did not skip.

        Raises:
            UserError: nothing is left.
        """
        self.skip(skipped)
        if not good:
            raise UserError(_nothing_left(self._raw_dir, self.skipped))
        return good

    def skip(self, skipped):
        """Notes Skipped."""
        self.skipped += [entry._asdict() for entry in skipped]


def _nothing_left(raw_dir, skipped):
    reasons = [entry for entry in skipped if entry['what'] == 'subject']
    details = [entry for entry in skipped if entry['what'] != 'subject']
    first = f'; {reasons[0]["where"]}: {reasons[0]["why"]}' if reasons else ''
    first += f' ({details[0]["where"]}: {details[0]["why"]})' if details else ''
    return f'no subject of {raw_dir} can be used{first}'


def make(inputs, key, candidates, ledger):
    """Returns the report of a preparation, a dict for report.json.

    Args:
        inputs: preparation_inputs.Inputs.
        key: digest of all that the records depend on.
        candidates: list of stages.Candidate, after all stages.
        ledger: Ledger.
    """
    members = {}
    for candidate in candidates:
        info = candidate.info
        members[candidate.id] = {
            'split': inputs.assignment[candidate.id],
            'num_frames': info['num_frames'],
            'neutral': info['neutral'],
            'residual_mm': round(info['residual_mm'], 3),
            'deviation_mm': _rounded(candidate.deviation_mm),
        }
    counts = {}
    for split in splits.SPLITS:
        rows = [row for row in members.values() if row['split'] == split]
        counts[split] = {'subjects': len(rows), 'frames': sum(row['num_frames'] for row in rows)}
    versions = {'seqface_jax': seqface_jax.__version__}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        'dataset': inputs.dataset,
        'source': os.path.abspath(inputs.raw_dir),
        'folder': inputs.folder,
        'prepared': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': versions,
        'counts': counts,
        'missing': inputs.missing,
        'skipped': ledger.skipped,
        'notes': ledger.notes,
        'passed_over': [entry._asdict() for entry in inputs.passed_over],
        'splits_by_rule': inputs.by_rule,
        'frame_maps': inputs.with_maps,
        'subjects': members,
        'key': key,
    }


def _rounded(millimetres):
    """Returns a number for JSON, None for one that nobody knows."""
    return round(millimetres, 3) if np.isfinite(millimetres) else None


def summary(report, up_to_date):
    """Returns what a person wants to know of a report, a few lines."""
    folder = report['folder']
    head = f'{folder} is up to date' if up_to_date else f'prepared {report["dataset"]} in {folder}'
    counts = ', '.join(
        f'{split} {_count(count["subjects"], "subject")} / {_count(count["frames"], "frame")}'
        for split, count in report['counts'].items()
    )
    lines = [f'{head}: {counts}']
    if report['missing']:
        named = report['missing'][:_SUMMARY_LINES]
        more = len(report['missing']) - len(named)
        rest = f' and {more} more' if more else ''
        lines.append(f'missing in the raw tree: {", ".join(named)}{rest}')
    if report['splits_by_rule']:
        number = _count(len(report['splits_by_rule']), 'subject')
        lines.append(f'not in the table of splits, placed by its rule: {number}')
    for title, entries in (
        ('skipped', report['skipped']),
        ('used, but not as they are', report['notes']),
        ('passed over in the raw tree', report['passed_over']),
    ):
        lines += _listed(title, entries, os.path.join(folder, 'report.json'))
    return '\n'.join(lines) + '\n'


def _listed(title, entries, path):
    """Returns lines that count entries of the report, and name the first of them."""
    if not entries:
        return []
    kinds = [entry['what'] for entry in entries]
    counts = ', '.join(_count(kinds.count(kind), kind) for kind in sorted(set(kinds)))
    lines = [f'{title}: {counts} (all of them in {path})']
    entries = sorted(entries, key=lambda entry: entry['what'] != 'subject')  # These first.
    for entry in entries[:_SUMMARY_LINES]:
        lines.append(f'  {entry["what"]} {entry["where"]}: {entry["why"]}')
    if len(entries) > _SUMMARY_LINES:
        lines.append(f'  ... and {len(entries) - _SUMMARY_LINES} more')
    return lines


def _count(number, noun):
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def read(folder):
    """Returns the report of finished records in data_dir/<dataset>, or None."""
    try:
        with open(os.path.join(folder, 'report.json'), encoding='utf-8') as file:
            report = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(report, dict) or 'key' not in report:
        return None
    parts = PARTS if report.get('frame_maps') else PARTS[:2]
    whole = all(os.path.isdir(os.path.join(folder, part)) for part in parts)
    return report if whole else None
