#!/bin/sh
# Prints which node of Postgres is the primary.
set -eu
cd "$(dirname "$0")/../.."

for node in postgres-1 postgres-2 postgres-3; do
    is_standby=$(docker compose exec -T "$node" psql -h /run/postgresql -qAtX -U postgres \
        -c 'SELECT pg_is_in_recovery()' </dev/null 2>/dev/null) || continue
    [ "$is_standby" != f ] || { echo "$node"; exit; }
done
echo 'no node of Postgres is the primary' >&2
exit 1
