#!/bin/sh
# reset.sh: delete the local data, after saying what that is and asking. YES=1 answers for you.
set -eu
directory=${TASKFLOW_DATA_DIR:-var}
for name in secret_key taskflow.sqlite3 taskflow.sqlite3-wal taskflow.sqlite3-shm; do
    if [ -e "$directory/$name" ]; then
        set -- "$@" "$directory/$name"
    fi
done
if [ $# -eq 0 ]; then
    echo "There is no local data in $directory."
    exit
fi
echo "This deletes the local data for ever:"
du -h "$@"
if [ -n "${DATABASE_URL:-}" ]; then
    echo "The database that DATABASE_URL names is not touched."
fi
if [ "${YES:-}" != 1 ]; then
    if [ ! -t 0 ]; then
        echo "Nothing was deleted: nobody can be asked. Give YES=1 to delete it." >&2
        exit 1
    fi
    printf "Delete it? Type yes: "
    read -r answer
    if [ "$answer" != yes ]; then
        echo "Nothing was deleted."
        exit 1
    fi
fi
rm -f "$@"
echo "Deleted."
