#!/bin/sh
# The archive: a folder that all nodes share, with every segment of WAL and the history of
# every timeline. Postgres calls this in its data directory (postgresql.conf):
#
#   archive.sh put <path> <name>   archive_command: keeps a file
#   archive.sh get <name> <path>   restore_command: gives a file back
#   archive.sh claim               recovery_end_command: takes the number of the new timeline
#
# A name is written once. `ln` is atomic and refuses a name that is taken, so of two nodes
# that promote themselves to one number only one succeeds. The same content under the same
# name is a success: each node archives what it has, so that a segment which the primary took
# with it is there too.
set -eu
archive=/var/lib/postgresql/archive/wal

put() { # <path> <name>
    # What a promotion cut short begins the first segment of the new timeline as well, and
    # nothing reads it. Two promotions may cut the same one in two places.
    case "$2" in *.partial) return 0 ;; esac
    if [ ! -e "$archive/$2" ]; then
        made=$(mktemp "$archive/.$2.XXXXXX")
        # A name stands for a whole file that is on disk.
        cp "$1" "$made" && chmod 0600 "$made" && sync "$made" || { rm -f "$made"; return 1; }
        ln -T "$made" "$archive/$2" 2>/dev/null || :
        rm -f "$made"
        sync "$archive"
    fi
    cmp -s "$1" "$archive/$2"
}

get() { # <name> <path>
    [ -e "$archive/$1" ] && cp "$archive/$1" "$2"
}

# Postgres has written the history of its new timeline and takes no writes yet.
claim() {
    path=$(find pg_wal -maxdepth 1 -name '????????.history' | sort | tail -n 1)
    [ -n "$path" ] || return 0
    put "$path" "$(basename "$path")" && return
    # Taken by another node: from 126 on Postgres ends instead of going on. An archive
    # that cannot be written keeps no node from leading.
    [ ! -e "$archive/$(basename "$path")" ] || exit 126
    return 1
}

case "$1" in
put | get | claim) "$@" ;;
*) echo "archive: put, get or claim, not $1" >&2; exit 64 ;;
esac
