#!/bin/sh
# Brings Postgres back to a moment: `make restore AT='2026-11-30 12:00:00'`. Without AT it says
# from when on that is possible. Nothing that was written after the moment is there afterwards,
# and what the other stores have of that time stays with them (docs/operations.md).
set -eu
cd "$(dirname "$0")/../.."

at=${AT:-}
timeline=${TIMELINE:-latest}
node=${NODE:-}
nodes='postgres-1 postgres-2 postgres-3'
# The queue is one of them: what points at rows is forgotten with it, and which rows are to be sent
# again, the outbox says.
clients='identity booking worker localstack'

step() { printf 'restore: %s\n' "$*"; }
# What the engine's client says is shown where it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }; }
# A container with a node's data and nothing of the node running.
beside() { # <node> <command …>
    node_of_data=$1
    shift
    docker compose run --rm --no-deps -T --entrypoint sh "$node_of_data" /etc/boxoffice/recover.sh "$@" </dev/null
}
up() {
    quietly docker compose up --detach --no-deps --no-build --no-recreate "$@" \
        && quietly deploy/engine/healthy.sh 300 "$@"
}

[ -n "$node" ] || node=$(deploy/postgres/leader.sh) || {
    step 'say which node led last, as in NODE=postgres-2'
    exit 1
}
case " $nodes " in *" $node "*) ;; *) step "no node of Postgres: $node"; exit 64 ;; esac
others=$(echo "$nodes" | tr ' ' '\n' | grep -vx "$node")
if [ -z "$at" ]; then
    step "say the moment in UTC, as in: make restore AT='$(date -u '+%Y-%m-%d %H:%M:%S')'"
    step 'it may be any moment after the first of these backups was complete (the end of its timestamps):'
    docker compose run --rm --no-deps -T --entrypoint pgbackrest "$node" info </dev/null
    exit 64
fi

# While the shop is open: what cannot be done fails here.
step "$node gets the newest backup before $at"
quietly beside "$node" fetch "$at" "$timeline" || exit 1

step "the shop closes, and $node replays the archive"
# The primary is last: it hands the end of its WAL to the archive, and no other takes its place.
# shellcheck disable=SC2086
{
    quietly docker compose stop $clients && quietly docker compose stop $others \
        && quietly docker compose stop "$node" && quietly beside "$node" replay
} || {
    step 'the nodes and the shop are started again as they were'
    # shellcheck disable=SC2086
    quietly docker compose start $nodes $clients
    exit 1
}
grep '^restore: ' "$log" || :
# By now the newest timeline is the one that this restore began: another try goes along the one it left.
left=$(sed -n 's/^restore: what was left is timeline \([0-9]*\).*/\1/p' "$log")
[ "$timeline" != latest ] || timeline=${left:-latest}

failed() {
    step "FAILED. The data of before is kept beside the new one (cluster.before-restore in each node's volume)."
    step "Mend the cause and restore again: make restore AT='$at' NODE=$node TIMELINE=$timeline"
    exit 1
}
for other in $others; do
    step "$other puts its data aside"
    quietly beside "$other" aside || failed
done

# What etcd has of the cluster is of the time after the moment: which nodes have every commit,
# and how far they were. A lease may last some seconds longer than its node.
step 'Patroni forgets the cluster'
tries=0
until printf 'boxoffice\nYes I am aware\n' \
    | docker compose run --rm --no-deps -T --entrypoint patronictl "$node" \
        -c /etc/boxoffice/patroni.yml remove boxoffice >"$log" 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 15 ] || { cat "$log" >&2; failed; }
    sleep 3
done

step "$node starts, and the others copy its data"
up "$node" || failed
# shellcheck disable=SC2086
up $others localstack || failed
step 'the shop opens'
# shellcheck disable=SC2086
up $clients || failed

step "Postgres is as it was at $at"
for each in $nodes; do quietly docker compose exec -T "$each" sh /etc/boxoffice/recover.sh settle; done
# A later restore begins with this one: the backups of the timeline that was left lead elsewhere.
step 'a backup is taken'
quietly docker compose exec -T "$node" sh /etc/boxoffice/backup.sh now || {
    step 'the backup FAILED: mend the cause, then make backup'
    exit 1
}
