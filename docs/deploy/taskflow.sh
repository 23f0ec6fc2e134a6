#!/bin/sh
# Install as /usr/local/sbin/taskflow. Runs a command of TaskFlow as the user and with the settings of
# the service, whatever the shell has set:
#   taskflow backup /var/lib/taskflow/monday.backup
# With another release than the one that runs:
#   RELEASE=/srv/taskflow/releases/2 taskflow check
set -eu
for name in $(env | sed -n 's/^\(TASKFLOW_[A-Z_]*\|DATABASE_URL\)=.*/\1/p'); do
  unset "$name"
done
export TASKFLOW_DATA_DIR=/var/lib/taskflow
# As systemd reads the file. A shell would take & and $ in the URL of a database for its own.
while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    [A-Z]*=*) ;;
    *) continue ;;
  esac
  value=${line#*=}
  case $value in
    \'*\' | \"*\") value=${value#?} value=${value%?} ;;
  esac
  export "${line%%=*}=$value"
done < /etc/taskflow/environment
release=${RELEASE:-/srv/taskflow/current}
exec runuser -u taskflow -- "$release/.venv/bin/python" "$release/manage.py" "$@"
