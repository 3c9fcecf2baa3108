#!/bin/sh
# Base backups beside the WAL archive, and the bound on the size of both.
#
#   backup.sh watch   takes a backup when one is due, and removes what is too old: the container's process
#   backup.sh now     takes one
#   backup.sh list    names those that there are, by the moment from which a restore can begin
#   backup.sh fresh   whether the newest is young enough: the health check
#
# A restore takes the newest backup before the moment in question and replays the archive up to
# it (restore.sh). So a backup bounds the time that a restore takes, and lets older WAL go.
set -eu

archive=/var/lib/postgresql/archive
hours=${BACKUP_HOURS:-24}
# So much WAL after a backup makes the next one due; a segment has 16 MB.
segments=$((${BACKUP_WAL_MB:-1024} / 16))
kept=2
# Where backups fail over and over, old WAL goes all the same: a full disk would stop the shop.
most=$((segments * 4))

say() { # <level> <message>
    line='{"level":"'$1'","service.name":"backup","message":"'$2'"}'
    { echo "$line" >&3; } 2>/dev/null || echo "$line"
}
backups() { find "$archive/base" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sort; }
newest() { backups | tail -n 1; }
is_younger() { # <backup> <hours>
    [ -n "$(find "$1/first-segment" -mmin -$((60 * $2)))" ]
}
segments_since() { # <backup>
    find "$archive/wal" -maxdepth 1 -name '????????????????????????' -newer "$1/first-segment" | wc -l
}

is_due() {
    last=$(newest)
    [ -n "$last" ] && is_younger "$last" "$hours" && [ "$(segments_since "$last")" -lt "$segments" ] && return 1
    return 0
}

now() {
    mkdir -p "$archive/base" "$archive/wal"
    # One at a time: by hand, and by the watch.
    exec 9>"$archive/base/.lock"
    flock -w 600 9
    made=$archive/base/.new
    rm -rf "$made"
    PGPASSWORD=$(cat /run/secrets/postgres/replicator_password) pg_basebackup \
        --dbname='host=haproxy user=replicator connect_timeout=5' --no-password --pgdata="$made" \
        --format=tar --wal-method=fetch --compress=client-gzip:1 --checkpoint=fast
    # The first segment that a restore of it reads.
    tar -xzOf "$made/base.tar.gz" backup_label \
        | sed -n 's/^START WAL LOCATION:.*(file \([0-9A-F]\{24\}\))$/\1/p' >"$made/first-segment"
    [ -s "$made/first-segment" ]
    find "$made" -type f -exec sync {} +
    mv -T "$made" "$archive/base/$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    sync "$archive/base"
    backups | head -n -"$kept" | while read -r old; do rm -rf "$old"; done
    # What the oldest backup does not read. Histories of timelines are small and stay.
    pg_archivecleanup -b "$archive/wal" "$(cat "$(backups | head -n 1)/first-segment")"
    find "$archive/wal" -maxdepth 1 -name '.*' -type f -mmin +60 -delete
    exec 9>&-
    say info "the backup $(basename "$(newest)") is complete"
}

prune() {
    find "$archive/wal" -maxdepth 1 -name '????????????????????????' -printf '%T@ %p\n' | sort -n \
        | head -n -"$most" | while read -r _ old; do
        say warn "too much WAL and no newer backup: $(basename "$old") goes"
        rm -f "$old"
    done
}

watch() {
    mkdir -p "$archive/base" "$archive/wal"
    # What runs beside this shell ends with the container.
    trap 'exit 0' TERM
    while :; do
        if is_due; then
            sh "$0" now &
            wait $! || say warn 'the backup failed and is tried again'
        fi
        prune
        # Soon where there is none at all, as after the first start.
        if [ -n "$(newest)" ]; then sleep 60 & else sleep 2 & fi
        wait $!
    done
}

case "${1:-}" in
watch | now) "$1" ;;
list) for backup in $(backups); do basename "$backup"; done ;;
fresh) [ -n "$(newest)" ] && is_younger "$(newest)" $((hours * 2)) ;;
*) echo "backup: watch, now, list or fresh, not ${1:-}" >&2; exit 64 ;;
esac
