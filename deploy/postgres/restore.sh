#!/bin/sh
# Brings Postgres back to a moment: `make restore AT='2026-11-30 12:00:00'`. Without AT it says
# from when on that is possible. Nothing that was written after the moment is there afterwards,
# and what the other stores have of that time stays with them (docs/operations.md).
set -eu
cd "$(dirname "$0")/../.."

at=${1:-}
timeline=${2:-latest}
nodes='postgres-1 postgres-2 postgres-3'
clients='identity booking worker'

step() { printf 'restore: %s\n' "$*"; }
# Progress of the engine's client goes to a file, and what is no progress is shown where it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
complain() { grep -v '^ *\(Container\|time=\)' "$log" >&2 || :; }
quietly() { "$@" >"$log" 2>&1 </dev/null || { complain; return 1; }; }
# A container with a node's data and nothing of the node running.
beside() { # <node> <command …>
    node=$1
    shift
    docker compose run --rm --no-deps -T --entrypoint sh "$node" /etc/boxoffice/recover.sh "$@" </dev/null
}
is_standby() {
    [ "$(docker compose exec -T "$1" psql -h /run/postgresql -qAtX -U postgres -c 'SELECT pg_is_in_recovery()' </dev/null)" = t ]
}

if [ -z "$at" ]; then
    echo "restore: say the moment in UTC, as in: make restore AT='$(date -u '+%Y-%m-%d %H:%M:%S')'"
    echo 'restore: a restore can begin at each of these backups, and go on to any moment after it:'
    docker compose exec -T backup sh /etc/boxoffice/backup.sh list </dev/null
    exit 64
fi
# Before anything is stopped.
beside postgres-1 backup "$at" >/dev/null 2>"$log" || { complain; exit 1; }

step "the shop closes: $clients and the nodes of Postgres stop"
# shellcheck disable=SC2086
quietly docker compose stop $clients backup
# The primary is last: it hands the end of its WAL to the archive, and no other takes its place.
standbys=
for node in $nodes; do
    if is_standby "$node" 2>/dev/null; then standbys="$standbys $node"; fi
done
# shellcheck disable=SC2086
[ -z "$standbys" ] || quietly docker compose stop $standbys
# shellcheck disable=SC2086
quietly docker compose stop $nodes

back() {
    step 'nothing was changed: the nodes are started again'
    # shellcheck disable=SC2086
    quietly docker compose start $nodes backup $clients
}
beside postgres-1 to "$at" "$timeline" 2>"$log" || {
    complain
    back
    exit 1
}
for node in postgres-2 postgres-3; do
    step "$node forgets its data"
    quietly beside "$node" forget
done

# What etcd has of the cluster is of the time after the moment: which nodes have every commit,
# and how far they were. A lease may last some seconds longer than its node.
step 'Patroni forgets the cluster'
tries=0
until printf 'boxoffice\nYes I am aware\n' \
    | docker compose run --rm --no-deps -T --entrypoint patronictl postgres-1 \
        -c /etc/boxoffice/patroni.yml remove boxoffice >"$log" 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 15 ] || { complain; exit 1; }
    sleep 3
done

step 'postgres-1 starts, and the others copy its data'
quietly docker compose up --detach --no-deps --no-build --no-recreate --wait postgres-1
quietly docker compose up --detach --no-deps --no-build --no-recreate --wait postgres-2 postgres-3
# A message points at a row; which rows are to be sent again, the outbox says.
step 'the queue is emptied, and the shop opens'
quietly docker compose restart localstack
# shellcheck disable=SC2086
quietly docker compose up --detach --no-deps --no-build --no-recreate --wait localstack backup $clients
step "Postgres is as it was at $at"
