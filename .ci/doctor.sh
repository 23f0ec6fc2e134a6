#!/bin/sh
# doctor.sh: say what is missing to run TaskFlow on this machine, and what to do about each.
# Exits with 1 if something is missing. Changes nothing.
python=${PYTHON:-python3}
port=${PORT:-8000}
missing=0

ok() {
    echo "ok       $*"
}

lacks() {
    echo "missing  $*"
    missing=1
}

check_python() {
    if ! command -v "$python" >/dev/null; then
        lacks "$python. On Debian and Ubuntu: apt install python3 python3-venv"
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        lacks "Python 3.11 or newer; this is $("$python" --version). Try: make run PYTHON=python3.12"
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        lacks "the module venv of $python. On Debian and Ubuntu: apt install python3-venv"
    else
        ok "$("$python" --version) with venv"
    fi
}

check_curl() {
    if command -v curl >/dev/null; then
        ok "curl"
    else
        lacks "curl, for the examples of the README. On Debian and Ubuntu: apt install curl"
    fi
}

check_packages() {
    if ! test -d .venv; then
        ok "no packages yet: make run installs them"
    elif ! .venv/bin/python -c 'import django, granian' 2>/dev/null; then
        ok "packages that do not work: make run installs them again"
    else
        ok "the packages in .venv"
    fi
}

check_port() {
    command -v "$python" >/dev/null || return
    if "$python" - "$port" <<'END'
import socket, sys
probe = socket.socket()
probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    probe.bind(("127.0.0.1", int(sys.argv[1])))
except OSError:
    sys.exit(1)
END
    then
        ok "port $port is free"
    else
        lacks "port $port: another program listens there. Try: make run PORT=$((port + 1))"
    fi
}

check_database() {
    case ${DATABASE_URL:-} in
        postgres://* | postgresql://*) ;;
        *) ok "SQLite, since DATABASE_URL names no PostgreSQL"; return ;;
    esac
    if ! test -x .venv/bin/python; then
        ok "PostgreSQL, which is not tried before make run has installed the packages"
    elif answer=$(.venv/bin/python - 2>&1 <<'END'
import os, sys
import psycopg
from urllib.parse import urlsplit, urlunsplit
url = urlsplit(os.environ["DATABASE_URL"])
try:
    with psycopg.connect(urlunsplit(url._replace(query="")), connect_timeout=5) as connection:
        version = connection.info.server_version
except psycopg.Error as error:
    sys.exit(" ".join(str(error).split()))
print(f"PostgreSQL {version // 10000}")
sys.exit(0 if version >= 160000 else f"PostgreSQL 16 or newer; this is {version // 10000}")
END
    ); then
        ok "$answer"
    else
        lacks "the database of DATABASE_URL: $answer"
    fi
}

check_python
check_curl
check_packages
check_port
check_database
exit $missing
