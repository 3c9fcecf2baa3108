#!/bin/sh
# The part of a restore that is done in a node's container, for restore.sh. All nodes are down.
#
#   recover.sh backup <moment>            names the backup that a restore to this moment begins with
#   recover.sh to <moment> [timeline]     brings this node's data to the moment
#   recover.sh forget                     removes this node's data: it copies those of the primary
set -eu

home=/var/lib/postgresql/data
data=$home/cluster
archive=/var/lib/postgresql/archive
# The longest time for a replay, in seconds.
longest=3600
fail() { echo "restore: $*" >&2; exit 1; }

# As Postgres and the names of backups write it. Without a zone it is UTC.
moment() { # <moment> <format>
    date -u -d "$1" "+$2" 2>/dev/null || fail "this is no moment: $1"
}

backup_before() { # <moment>
    at=$(moment "$1" %s)
    [ "$at" -le "$(date +%s)" ] || fail "this moment is still ahead: $1"
    found=
    for backup in $(find "$archive/base" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sort); do
        [ "$(date -u -d "$(basename "$backup")" +%s)" -ge "$at" ] || found=$backup
    done
    [ -n "$found" ] || fail "no backup is older than this moment: $1"
    echo "$found"
}

# As start.sh: whatever has the data holds this lock.
lock() {
    exec 9>"$home/.lock"
    flock -n 9 || fail "a container has this node's data: $(hostname)"
}

to() { # <moment> [timeline]
    timeline=${2:-latest}
    case "$timeline" in latest) ;; *[!0-9]* | '') fail "this is no timeline: $timeline" ;; esac
    at=$(moment "$1" '%Y-%m-%d %H:%M:%S.%6N+00')
    from=$(backup_before "$1")
    lock
    new=$home/restored
    rm -rf "$new"
    mkdir -m 0700 "$new"
    echo "restore: from the backup $(basename "$from") to $at"
    tar -xzf "$from/base.tar.gz" -C "$new"
    # What this node had and the archive has not: the segment that was being written, where the
    # primary was killed.
    [ ! -d "$data/pg_wal" ] || find "$data/pg_wal" -maxdepth 1 -type f -name '0*' \
        -exec cp --update=none {} "$new/pg_wal/" \;
    touch "$new/recovery.signal"
    rm -f "$new/standby.signal"
    left=$(find "$archive/wal" -maxdepth 1 -name '????????.history' | sort | tail -n 1)
    left=$(basename "${left:-00000001.history}" .history)
    echo "restore: the history that is left has the number $((0x$left)) (TIMELINE=)"
    # Reached by this container alone, and with no hot standby: it takes connections when it is done.
    pg_ctl --pgdata="$new" --wait --timeout=300 --silent --log=/tmp/recovery.log start -o "\
-c listen_addresses='' -c hot_standby=off -c synchronous_standby_names='' \
-c ident_file='$new/pg_ident.conf' -c recovery_target_time='$at' \
-c recovery_target_timeline='$timeline' -c recovery_target_action=promote" || :
    seconds=0
    until [ "$(psql -h /run/postgresql -qAtX -U postgres -d postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; do
        if ! pg_ctl --pgdata="$new" status >/dev/null || [ "$seconds" -ge "$longest" ]; then
            pg_ctl --pgdata="$new" --mode=immediate stop >/dev/null 2>&1 || :
            tail -n 20 /tmp/recovery.log >&2
            rm -rf "$new"
            fail "this moment was not reached, and nothing has been changed: $1"
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    # The end of a clean shutdown waits until the archive has what is complete.
    pg_ctl --pgdata="$new" --wait --timeout=300 --silent --mode=fast stop
    rm -rf "$data"
    mv -T "$new" "$data"
    sync "$home"
    # Later backups are on the history that was left: recovery along the new one cannot begin there.
    for backup in $(find "$archive/base" -mindepth 1 -maxdepth 1 -name '[0-9]*'); do
        [ "$(date -u -d "$(basename "$backup")" +%s)" -lt "$(moment "$1" %s)" ] || rm -rf "$backup"
    done
}

forget() {
    lock
    rm -rf "$data"
}

case "${1:-}" in
backup) backup_before "$2" ;;
to) to "$2" "${3:-latest}" ;;
forget) forget ;;
*) echo "recover: backup, to or forget, not ${1:-}" >&2; exit 64 ;;
esac
