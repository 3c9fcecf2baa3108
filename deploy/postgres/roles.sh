#!/bin/sh
# Brings roles, databases and passwords to what roles.sql says, on the primary,
# and tells the others that there is one.
# Patroni calls it when the cluster was made, and whenever a node has started or
# changed its role: roles.sh on_role_change primary boxoffice
set -eu

# A node that found itself behind while nobody led looks again after Patroni's
# loop_wait, and no commit is acknowledged until one follows: they are told. A
# change that changes nothing wakes Patroni, and needs no more than that.
wake() {
    for node in postgres-1 postgres-2 postgres-3; do
        curl -s -m 1 -o /dev/null -X PATCH -d '{"wake":null}' "http://$node:8008/config" &
    done
}

case "${1:-}:${2:-}" in
on_*:primary) wake ;;
on_*) exit 0 ;;
esac

psql() {
    command psql --no-psqlrc --quiet --host=/run/postgresql --username=postgres --dbname=postgres \
        --set=ON_ERROR_STOP=1 "$@"
}

# A node is called primary a moment before it takes writes.
tries=0
until [ "$(psql --tuples-only --no-align --command='SELECT pg_is_in_recovery()')" = f ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "roles: not a primary after 20 s" >&2; exit 1; }
    sleep 0.2
done

for role in superuser identity booking worker exporter replicator rewinder; do
    export "${role}_password=$(cat "/run/secrets/postgres/${role}_password")"
done
psql --file=/etc/boxoffice/roles.sql
