#!/bin/sh
# Watches whether this node follows the primary, and has Patroni copy the data anew
# where it cannot any more: the WAL that it would need is gone, or it has a record
# that no other node has and that pg_rewind does not see.
#
# Patroni deletes before it copies. No commit waits for a standby that does not
# stream; what was committed before is on the primary, and it is looked first that
# it would give a copy and gives none to the other. It suits data that are copied in
# seconds. start.sh starts this; it ends with the container.
set -u

every=5
# So often more than it was well. A standby that is well follows within two or three,
# and one whose slot is lost streams for a moment each second.
patience=6

patroni() { curl -sf -m 2 "http://127.0.0.1:8008/$1"; }
primary() {
    PGCONNECT_TIMEOUT=2 timeout 5 \
        psql -XAtq -h haproxy -U postgres -d postgres -c "SET statement_timeout = '2s'" -c "$1"
}
say() { echo '{"level":"warn","service.name":"'"$NODE_NAME"'","message":"'"$1"'"}' >&3; }

is_stuck() {
    patroni replica >/dev/null && ! patroni quorum >/dev/null || return 1
    ! patroni patroni | grep -q -e '"replication_state": "streaming"' -e '"pause": true'
}

would_be_copied() {
    free="SELECT NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_progress_basebackup)"
    [ "$(primary "$free")" = t ] || return 1
    PGPASSWORD=$(cat /run/secrets/postgres/replicator_password) PGCONNECT_TIMEOUT=2 timeout 5 \
        psql -XAtq "host=haproxy user=replicator replication=true" -c IDENTIFY_SYSTEM >/dev/null
}

times=0
while sleep "$every"; do
    if ! is_stuck; then
        times=$((times > 0 ? times - 1 : 0))
        continue
    fi
    would_be_copied || continue
    times=$((times + 1))
    [ "$times" -ge "$patience" ] || continue
    times=0
    say 'copy-anew: this node does not follow the primary, its data are copied anew'
    # A slot whose WAL is gone serves nobody, and Patroni makes another.
    primary "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
        WHERE slot_name = '$(echo "$NODE_NAME" | tr - _)' AND wal_status = 'lost'" >/dev/null
    curl -sf -m 5 -X POST http://127.0.0.1:8008/reinitialize >/dev/null \
        || say 'copy-anew: Patroni does not do it now'
done
