#!/bin/sh
# install.sh [LOCK...]: make sure that .venv works and contains the packages of the lock files.
#
# The environment is created again if its installation was interrupted, if it was moved, or if its
# Python is gone. A copy of each installed lock file in .venv shows that nothing has to be done.
# Only the last lock file is installed; it has to contain the others.
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
        # In an environment that was moved, programs start another Python, or none.
        (. $venv/bin/activate && test "$VIRTUAL_ENV" -ef $venv)
}

make_environment() {
    command -v "$python" >/dev/null ||
        fail "$python was not found. On Debian and Ubuntu: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "TaskFlow needs Python 3.11 or newer; $python is older. Try: make run PYTHON=python3.12"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python cannot create virtual environments. On Debian and Ubuntu: apt install python3-venv"
    test ! -L $venv || fail "$venv is a link to something that is not a working environment. Remove it."
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
    touch $venv/.incomplete # stays if the installation is interrupted
    if ! $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"; then
        rm $venv/.incomplete
        fail "$lock could not be installed. Check the connection to the package index."
    fi
    cp "$@" $venv
    rm $venv/.incomplete
}

works 2>/dev/null || make_environment
if [ $# -gt 0 ] && ! is_installed "$@"; then
    install "$@"
fi
