#!/bin/sh
# Brings roles, databases and passwords to what roles.sql says, on the primary.
# Patroni calls it when the cluster was made, and whenever a node has started or
# changed its role: roles.sh on_role_change primary boxoffice
set -eu

case "${1:-}:${2:-}" in
on_*:primary) ;;
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
