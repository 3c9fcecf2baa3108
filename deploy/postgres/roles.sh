#!/bin/sh
# Brings roles, databases and passwords to what roles.sql says, on the primary,
# and sees to it that a standby follows it soon and that there is an archive.
# Patroni calls it when the cluster was made, and whenever a node has started or
# changed its role: roles.sh on_role_change primary boxoffice
set -eu

psql() {
    command psql --no-psqlrc --quiet --host=/run/postgresql --username=postgres --dbname=postgres \
        --set=ON_ERROR_STOP=1 "$@"
}

# A change that changes nothing makes Patroni look at once at how things stand. curl finds
# the password for it in its own file (start.sh).
wake() { # <node …>
    for node in "$@"; do
        curl -s -m 1 -o /dev/null -X PATCH -d '{"wake":null}' "http://$node:8008/config" &
    done
}

# No commit is acknowledged before a standby follows and its name counts. Two things can hold
# that up until the next turn of Patroni's, which is up to 10 s away:
#
# - A standby that found itself behind while no node led was not told who leads now.
# - The name of the standby that follows does not count yet. Right after a promotion the new
#   primary keeps the names that it took over and gives their nodes one turn to come back. Where
#   these are only the lost primary's, all commits wait, although the other standby follows.
#
# To wake each node once at the promotion is too early for both. So it is looked until a
# standby counts. The primary is not woken before one follows: it would take it that none
# comes, and go on without any.
standing() {
    psql --tuples-only --no-align --command="
        SELECT CASE
            WHEN bool_or(sync_state IN ('quorum', 'sync')) THEN 'counts'
            WHEN count(*) > 0 THEN 'follows'
            ELSE 'none'
        END
        FROM pg_stat_replication
        WHERE NOT pg_is_in_recovery() AND state = 'streaming' AND application_name <> 'pg_basebackup'"
}
until_a_standby_counts() {
    tries=0
    while [ "$tries" -lt 60 ]; do
        case "$(standing 2>/dev/null)" in
        counts) return ;;
        follows) wake "$NODE_NAME" ;;
        *)
            for other in postgres-1 postgres-2 postgres-3; do
                [ "$other" = "$NODE_NAME" ] || wake "$other"
            done
            ;;
        esac
        tries=$((tries + 1))
        sleep 0.5
    done
}

# A node is called primary a moment before it takes writes.
until_it_takes_writes() {
    tries=0
    until [ "$(psql --tuples-only --no-align --command='SELECT pg_is_in_recovery()')" = f ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "roles: not a primary after 20 s" >&2; exit 1; }
        sleep 0.2
    done
}

# Completes the segment in which this node was promoted, and so the archive gets it. A standby that
# missed two promotions in one segment can have it from nowhere else: the middle timeline's part is
# on no node, because Postgres renames what a promotion cuts short (.partial).
complete_segment() {
    until_it_takes_writes
    psql --command='SELECT pg_switch_wal()' >/dev/null
}

# What the lost primary had completed and not yet archived, this node has received. A segment that
# is in the archive already is not written again.
complete_archive() {
    cd /var/lib/postgresql/data/cluster
    find pg_wal/archive_status -name '????????????????????????.done' | sort | while read -r status; do
        segment=pg_wal/$(basename "$status" .done)
        [ ! -e "$segment" ] || PGBACKREST_ARCHIVE_MODE_CHECK=n nice sh /etc/boxoffice/archive.sh push "$segment" || :
    done
}

# The archive of this cluster. It is there but for the first time, and where the volume has been
# that of another cluster.
open_archive() {
    tries=0
    until pgbackrest stanza-create || { pgbackrest stanza-upgrade && sh /etc/boxoffice/backup.sh now; }; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || {
            echo 'roles: ERROR: there is no archive of this cluster'
            return
        }
        sleep 5
    done
}

case "${1:-}:${2:-}" in
on_role_change:primary)
    {
        (complete_segment) || :
        until_a_standby_counts
        complete_archive
    } &
    ;;
on_*:primary) until_a_standby_counts & ;;
on_*) exit 0 ;;
esac

until_it_takes_writes

for role in superuser identity booking worker exporter replicator rewinder; do
    export "${role}_password=$(cat "/run/secrets/postgres/${role}_password")"
done
psql --file=/etc/boxoffice/roles.sql
open_archive &
