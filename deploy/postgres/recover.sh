#!/bin/sh
# The parts of a restore that are done in a container with a node's data, for restore.sh:
#
#   recover.sh fetch <moment> <timeline>   gets the newest backup before the moment, beside the node's data
#   recover.sh replay                      puts it in their place, and replays the archive up to the moment
#   recover.sh aside                       puts the node's data aside: it copies those of the primary
#   recover.sh settle                      removes what was put aside
#
# The node is down for `replay` and `aside`.
set -eu

home=/var/lib/postgresql/data
data=$home/cluster
fetched=$home/restored
former=$home/cluster.before-restore
# The longest time for a replay, in seconds.
longest=3600
fail() { echo "restore: $*" >&2; exit 1; }

fetch() {
    # As pgBackRest and Postgres read it. Without a zone it is UTC.
    at=$(date -u -d "$1" '+%Y-%m-%d %H:%M:%S.%6N+00' 2>/dev/null) || fail "this is no moment: $1"
    [ "$(date -u -d "$1" +%s)" -le "$(date +%s)" ] || fail "this moment is still ahead: $1"
    case "$2" in latest) ;; *[!0-9]* | '') fail "this is no timeline: $2" ;; esac
    rm -rf "$fetched"
    mkdir -m 0700 "$fetched"
    PGBACKREST_PG1_PATH=$fetched pgbackrest restore --type=time --target="$at" --target-action=promote \
        --target-timeline="$2" --recovery-option='restore_command=sh /etc/boxoffice/archive.sh get "%f" "%p"' \
        || { rm -rf "$fetched"; fail 'nothing has been changed'; }
}

# As start.sh: whatever has the data holds this lock.
lock() {
    exec 9>"$home/.lock"
    flock -n 9 || fail 'another container has the data of this node'
}

aside() {
    # What an earlier restore put aside is what the cluster was before it, and stays.
    if [ -e "$former" ]; then rm -rf "$data"; elif [ -e "$data" ]; then mv -T "$data" "$former"; fi
}

is_done() {
    [ "$(psql -h /run/postgresql -qAtX -U postgres -d postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]
}
# Reached by this container alone, and with no hot standby: it takes connections when it is done.
# Nothing of it is archived before it has succeeded: no node could start on the data of before if
# the archive had another history of it.
recover() {
    pg_ctl --pgdata="$data" --wait --timeout=60 --silent --log=/tmp/recovery.log start \
        -o "-c listen_addresses='' -c hot_standby=off -c synchronous_standby_names='' \
            -c archive_mode=off -c recovery_end_command=''" || :
    seconds=0
    until is_done; do
        pg_ctl --pgdata="$data" status >/dev/null && [ "$seconds" -lt "$longest" ] || return 1
        sleep 1
        seconds=$((seconds + 1))
    done
    for setting in restore_command recovery_target_time recovery_target_action recovery_target_timeline; do
        psql -h /run/postgresql -qAtX -U postgres -d postgres -c "ALTER SYSTEM RESET $setting" || return 1
    done
    pg_ctl --pgdata="$data" --wait --timeout=300 --silent --mode=fast stop || return 1
    sh /etc/boxoffice/archive.sh claim || return 1
    sh /etc/boxoffice/archive.sh push "$(find "$data/pg_wal" -maxdepth 1 -name '????????.history' | sort | tail -n 1)"
}

replay() {
    [ -d "$fetched" ] || fail 'there is no backup to begin with'
    lock
    aside
    mv -T "$fetched" "$data"
    # What this node had and the archive has not: the segment that was being written, where the
    # primary was killed.
    [ ! -d "$former/pg_wal" ] || find "$former/pg_wal" -maxdepth 1 -type f -name '0*' -exec cp -t "$data/pg_wal" {} +
    recover || {
        pg_ctl --pgdata="$data" --mode=immediate stop >/dev/null 2>&1 || :
        tail -n 20 /tmp/recovery.log >&2
        rm -rf "$data"
        [ ! -e "$former" ] || mv -T "$former" "$data"
        fail 'this moment was not reached, and the data is as it was'
    }
    sync "$home"
    left=$(pg_controldata "$former" 2>/dev/null | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
    echo "restore: what was left is timeline ${left:-unknown} (TIMELINE=)"
}

case "${1:-}" in
fetch) fetch "$2" "$3" ;;
replay) replay ;;
aside) lock; aside ;;
settle) rm -rf "$former" "$fetched" ;;
*) echo "recover: fetch, replay, aside or settle, not ${1:-}" >&2; exit 64 ;;
esac
