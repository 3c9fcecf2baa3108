#!/bin/sh
# Serves with the settings of the instance named first (redis or cache), or,
# with `ping` after it, asks the instance beside it whether it serves. The
# password is passed by standard input and by environment, so that it shows in
# no list of processes.
set -eu

instance=$1
password=$(cat "/run/secrets/redis/${instance}_password")

if [ "${2:-}" = ping ]; then
    REDISCLI_AUTH=$password timeout 4 redis-cli --no-auth-warning ping | grep -q PONG
    exit
fi
exec redis-server - <<SETTINGS
include /etc/boxoffice/$instance.conf
requirepass $password
SETTINGS
