#!/bin/sh
# install.sh [LOCK...]: see that .venv works, and holds what the lock files name.
#
# An environment that was interrupted, moved, or made by a Python that is gone is made anew. What
# was installed is remembered as a copy of the lock file inside .venv, so nothing is done twice.
# The last lock file given is installed; it has to contain the others.
set -eu
python=${PYTHON:-python3}
venv=.venv

fail() {
    echo "$*" >&2
    exit 1
}

works() {
    test ! -e $venv/.incomplete &&
        $venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' &&
        # Else its programs start another environment's Python, or none.
        (. $venv/bin/activate && test "$VIRTUAL_ENV" -ef $venv)
}

make_environment() {
    command -v "$python" >/dev/null ||
        fail "There is no $python. On Debian and Ubuntu: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "TaskFlow needs Python 3.11 or newer, and $python is older. Try: make run PYTHON=python3.12"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python cannot make environments. On Debian and Ubuntu: apt install python3-venv"
    test ! -L $venv || fail "$venv is a link, and no working environment is behind it. Remove it."
    rm -rf $venv
    mkdir $venv
    touch $venv/.incomplete
    "$python" -m venv $venv
    rm $venv/.incomplete
}

is_installed() {
    for lock in "$@"; do
        cmp -s "$lock" "$venv/$lock" || return 1
    done
}

install() {
    for lock in "$@"; do :; done # the last one
    echo "Installing $lock"
    trap 'exit 130' INT
    trap 'exit 143' TERM
    rm -f $venv/requirements*.lock
    touch $venv/.incomplete # stays when this is interrupted
    if ! $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"; then
        rm $venv/.incomplete
        fail "$lock could not be installed. Is the package index reachable?"
    fi
    cp "$@" $venv
    rm $venv/.incomplete
}

works 2>/dev/null || make_environment
if [ $# -gt 0 ] && ! is_installed "$@"; then
    install "$@"
fi
