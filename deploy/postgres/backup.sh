#!/bin/sh
# Base backups, which pgBackRest takes on the primary, and the bound on the size of the repository.
#
#   backup.sh watch   takes a backup when one is due, and keeps the size; on each node, as long as it runs
#   backup.sh now     takes one
#   backup.sh prune   keeps the size
#
# pgBackRest keeps what a restore to any moment of the last days needs (BACKUP_KEEP_DAYS).
set -eu

repository=/var/lib/pgbackrest/repository
hours=24
most_mb=${BACKUP_MAX_MB:-2048}
longest_seconds=3600

sql() { psql -h /run/postgresql -qAtX -U postgres -d postgres -c "$1"; }
is_primary() { [ "$(sql 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; }
# The manifests of complete backups, the oldest first. pgBackRest names a backup by its time.
backups() { # [conditions of find]
    find "$repository/backup/boxoffice" -mindepth 2 -maxdepth 2 -path '*F/backup.manifest' "$@" 2>/dev/null | sort
}

is_due() {
    # Before that there is no archive.
    [ -e "$repository/archive/boxoffice/archive.info" ] || return 1
    newest=$(backups | tail -n 1)
    [ -n "$newest" ] && [ -n "$(backups -mmin -$((60 * hours)))" ] || return 0
    # A quarter of the repository's size in WAL: then older backups can go without a gap.
    kilobytes=$(find "$repository/archive" -type f -newer "$newest" -printf '%k\n' | awk '{ sum += $1 } END { print sum + 0 }')
    [ "$kilobytes" -ge $((most_mb * 1024 / 4)) ]
}

now() {
    is_primary || {
        echo 'backup: this node is not the primary' >&2
        exit 1
    }
    # Until its first checkpoint a promoted node has the number of its former timeline on disk,
    # and pgBackRest refuses the backup.
    sql CHECKPOINT
    repositories=1
    ! grep -q '^repo2-' /etc/pgbackrest/conf.d/repo2.conf || repositories='1 2'
    for number in $repositories; do
        tries=0
        until timeout "$longest_seconds" pgbackrest backup --repo="$number" --type=full --log-level-console=info; do
            # 50: another command has the lock of the repository.
            [ "$?" = 50 ] && [ "$tries" -lt 30 ] || exit 1
            tries=$((tries + 1))
            sleep 10
        done
    done
}

# The oldest backup goes with its WAL; the newest always stays. By count, because pgBackRest keeps
# all WAL until the time of `repo1-retention-full` has passed.
prune() {
    kept=$(($(backups | wc -l) - 1))
    while [ "$kept" -ge 1 ] && [ "$(du -sm "$repository" 2>/dev/null | cut -f 1)" -gt "$most_mb" ]; do
        echo "backup: WARN: the repository has more than $most_mb MB: $kept backups are kept"
        pgbackrest expire --repo=1 --repo1-retention-full-type=count --repo1-retention-full="$kept" || return 1
        kept=$((kept - 1))
    done
}

watch() {
    while sleep 20; do
        if is_due && is_primary; then
            sh "$0" now || { echo 'backup: ERROR: the backup failed'; sleep 60; }
        fi
        ! is_primary || prune || sleep 60
    done
}

case "${1:-}" in
watch | now | prune) "$1" ;;
*) echo "backup: watch, now or prune, not ${1:-}" >&2; exit 64 ;;
esac
