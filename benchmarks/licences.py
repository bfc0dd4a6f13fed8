"""Lists the licences of everything that an installation brings along.

    python -m benchmarks.licences            # a table; exit status 1 if one is unknown

Known weaknesses of the same packages: `pip install pip-audit && pip-audit --skip-editable` asks the
advisory database of PyPI about each of them (needs the network).
"""

import importlib.metadata
import re
import sys

ROOT = 'seqface-jax'
EXTRAS = ('data', 'keras', 'view')


def closure(name, extras=()):
    """Returns the names of an installed package and of all that it needs here, sorted."""
    found, seen, left = set(), set(), [(name, tuple(extras))]
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # For another system, or an extra that is not installed.
        key = distribution.name.lower().replace('_', '-')
        found.add(key)
        for line in distribution.requires or ():
            requirement, _, marker = line.partition(';')
            asked = re.findall(r'extra == [\'"]([^\'"]+)[\'"]', marker)
            if asked and not set(asked) & set(extras):
                continue
            match = re.match(r'([\w.-]+)(?:\[([^\]]*)\])?', requirement.strip())
            inner = tuple(filter(None, (match.group(2) or '').replace(' ', '').split(',')))
            left.append((match.group(1), inner))  # An extra may ask for another of its package.
    return sorted(found)


def licence(name):
    """Returns the licence that a package declares, in a few words, or None."""
    metadata = importlib.metadata.metadata(name)
    if metadata.get('License-Expression'):
        return metadata['License-Expression']
    classifiers = [
        entry.split(' :: ')[-1]
        for entry in metadata.get_all('Classifier') or ()
        if entry.startswith('License :: ') and entry.split(' :: ')[-1] != 'OSI Approved'
    ]
    text = (metadata.get('License') or '').strip().splitlines()
    return ', '.join(classifiers) or (text[0][:60] if text else None)


def main():
    """Prints the licence of every package that the extras bring along."""
    names = [name for name in closure(ROOT, EXTRAS) if name != ROOT]
    known = {name: licence(name) for name in names}
    for name in names:
        version = importlib.metadata.version(name)
        sys.stdout.write(f'{name:28} {version:16} {known[name] or "UNKNOWN"}\n')
    unknown = [name for name in names if not known[name]]
    if unknown:
        sys.exit(f'error: no licence is declared by {", ".join(unknown)}')


if __name__ == '__main__':
    main()
