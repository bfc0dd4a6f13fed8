#!/bin/sh
# Sets this project up in .venv and, if asked, runs its main job or its tests.
#
#   ./setup.sh              installs what a face from photos needs
#   ./setup.sh quickstart   the same; makes faces of sample photographs with the packaged run
#   ./setup.sh train        installs all; makes synthetic faces, prepares, trains, evaluates
#   ./setup.sh test         installs all; lints and tests
#
# PYTHON=python3.12 chooses the interpreter (3.11 or newer), VENV=DIR the environment's folder.
set -eu
cd "$(dirname "$0")"

fail() { echo "error: $*" >&2; exit 1; }

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
JOB=${1:-install}
case "$JOB" in install|quickstart|train|test) ;; *) fail "unknown job '$JOB'; say quickstart, train or test, or nothing to install only" ;; esac

command -v "$PYTHON" >/dev/null || fail "$PYTHON not found; install Python 3.11 or 3.12, or set PYTHON="
VERSION=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "$PYTHON is Python $VERSION; 3.11 or newer is needed, set PYTHON="

# Open3D's wheel, which only data preparation needs, wants three shared libraries of the system.
missing=
libraries=
case "$JOB" in train|test) libraries='libEGL.so.1:libegl1 libGL.so.1:libgl1 libusb-1.0.so.0:libusb-1.0-0' ;; esac
for pair in $libraries; do
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q "${pair%%:*}" || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing Debian packages:$missing"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    else
        fail "system libraries are missing; run 'sudo apt-get install$missing' (or your system's equivalent) and try again"
    fi
fi

if [ -x "$VENV/bin/python" ]; then
    MADE_WITH=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' || echo 'an unknown version')
    [ "$MADE_WITH" = "$VERSION" ] \
        || fail "$VENV was made with Python $MADE_WITH, not $VERSION; remove it, or set VENV= to another folder"
else
    "$PYTHON" -m venv "$VENV"
fi
case "$JOB" in
train) EXTRA='[data]' SIZE='1.8 GB' ;;
test) EXTRA='[test]' SIZE='2.1 GB' ;;
*) EXTRA='' SIZE='1.1 GB' ;;
esac
STAMP="$VENV/.installed-${EXTRA:-demo}"
if ! cmp -s pyproject.toml "$STAMP"; then
    echo "installing Python packages into $VENV (about $SIZE, a few minutes)"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check -e ".$EXTRA"
    cp pyproject.toml "$STAMP"
fi

python() { echo "+ python $*"; "$VENV/bin/python" "$@"; }

case "$JOB" in
test)
    python -m ruff check .
    python -m ruff format --check .
    python -m pytest -q -n auto -m ''
    ;;
quickstart)
    python -m seqface_jax.samples --output=out/samples
    python run_demo.py --people=folders --input=out/samples --output=out/quickstart
    echo "open out/quickstart/index.html in a browser: the astronaut, and three people who do not exist"
    echo "now your own photos of one person: $VENV/bin/python run_demo.py --input=FOLDER --output=out/me"
    ;;
train)
    python -m data_prep synthetic_raw --out_dir=raw/quickstart --num_subjects=160 --frames=3 \
        --scan_vertices=4000 --photo_height=348 --turn_deg=30
    python -m data_prep bu4dfe --raw_dir=raw/quickstart --data_dir=data/quickstart
    python run_train.py --config=configs/quickstart.py
    python run_eval.py --workdir=runs/quickstart
    python run_demo.py --workdir=runs/quickstart --input=raw/quickstart/F003/Happy --output=out/train
    ;;
esac
