#!/bin/sh
# A full disk: runs the test of the writers on a tmpfs of 2 MB. Needs root, or user namespaces.
#
#   sh benchmarks/torture/full_disk.sh
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python}
folder=$(mktemp -d)
trap 'rmdir "$folder"' EXIT
SEQFACE_SMALL_DISK=$folder PYTHON=$PYTHON unshare --mount --map-root-user sh -c '
    mount -t tmpfs -o size=2m tmpfs "$SEQFACE_SMALL_DISK"
    exec "$PYTHON" -m pytest -q tests/commands/errors_test.py
'
