#!/bin/sh
# Watches whether this node follows the primary, and has Patroni copy the data anew
# where it cannot any more: the WAL that it would need is gone, or it has a record
# that no other node has and that pg_rewind does not see.
#
# Nothing acknowledged is lost by it: no commit rests on a standby that does not
# stream, and the copy is made only while a primary takes connections. It suits data
# that are copied in seconds. start.sh starts it; it ends with the container.
set -u

every=5
patience=6 # times in a row: a standby that is well follows within two or three

patroni() { curl -sf -m 2 "http://127.0.0.1:8008/$1"; }
primary() {
    PGCONNECT_TIMEOUT=2 timeout 5 \
        psql -XAtq -h haproxy -U postgres -d postgres -c "SET statement_timeout = '2s'" -c "$1"
}
say() { echo '{"level":"warn","service.name":"'"$NODE_NAME"'","message":"'"$1"'"}' >&3; }

is_stuck() {
    patroni replica >/dev/null && ! patroni quorum >/dev/null \
        && ! patroni patroni | grep -q '"replication_state": "streaming"' \
        && [ "$(primary 'SELECT pg_is_in_recovery()')" = f ]
}

times=0
while sleep "$every"; do
    if is_stuck; then times=$((times + 1)); else times=0; fi
    [ "$times" -ge "$patience" ] || continue
    times=0
    say 'copy-anew: this node does not follow the primary, its data are copied anew'
    # A slot whose WAL is gone serves nobody, and Patroni makes another.
    primary "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
        WHERE slot_name = '$(echo "$NODE_NAME" | tr - _)' AND wal_status = 'lost'" >/dev/null
    curl -sf -m 5 -X POST http://127.0.0.1:8008/reinitialize >/dev/null \
        || say 'copy-anew: Patroni does not do it now'
done
