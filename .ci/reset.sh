#!/bin/sh
# reset.sh: list the local data, and delete it after a confirmation. YES=1 confirms.
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
echo "This deletes the local data permanently:"
du -h "$@"
if [ -n "${DATABASE_URL:-}" ]; then
    echo "The database of DATABASE_URL is not deleted."
fi
if [ "${YES:-}" != 1 ]; then
    if [ ! -t 0 ]; then
        echo "Nothing was deleted, because there is no terminal to confirm it. Set YES=1 to delete the data." >&2
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
