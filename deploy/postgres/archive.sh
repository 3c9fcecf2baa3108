#!/bin/sh
# The commands that Postgres runs for its WAL archive (postgresql.conf). pgBackRest keeps the
# archive; this adds what it does not decide:
#
#   archive.sh push <path>         archive_command: keeps a file
#   archive.sh get <name> <path>   restore_command: returns a file
#   archive.sh claim               recovery_end_command: takes the number of the new timeline
set -eu

volume=/var/lib/pgbackrest
data=/var/lib/postgresql/data/cluster
# Below this the archive takes no WAL: the same disk has the data of the whole stack.
least_free_mb=512

# The histories of this cluster's timelines. A name here is taken once: `ln` is atomic and refuses
# a name that exists. pgBackRest has the histories too, but writes one over another.
timelines() {
    echo "$volume/timelines/$(pg_controldata "$data" | sed -n 's/^Database system identifier: *//p')"
}

# Whether the segment's timeline ended in it or before, by the newest history. The end of a lost
# primary's WAL can contain what no other node has, and Patroni archives it before it rewinds
# the node. A standby must not replay that.
is_past_the_end() { # <segment>
    history=$(find "$(timelines)" -name '????????.history' 2>/dev/null | sort | tail -n 1)
    [ -n "$history" ] || return 1
    number=$((0x$(echo "$1" | cut -c 1-8)))
    end=$(sed -n "s|^${number}[[:space:]]\{1,\}\([0-9A-F]*\)/\([0-9A-F]*\)[[:space:]].*|\1 \2|p" "$history")
    [ -n "$end" ] || return 1
    # A segment has 16 MB: its name has the upper half of the position, then the top byte of the lower.
    segment=$(((0x$(echo "$1" | cut -c 9-16) << 8) + 0x$(echo "$1" | cut -c 17-24)))
    [ "$segment" -ge $(((0x${end% *} << 8) + (0x${end#* } >> 24))) ]
}

push() { # <path>
    case "${1##*/}" in
    # A promotion cuts a segment short, and the new timeline begins with the same content. Two
    # promotions may cut one segment in two places.
    *.partial) return 0 ;;
    *.*) ;;
    *)
        if is_past_the_end "${1##*/}"; then
            echo "archive: WARN: ${1##*/} is past the end of its timeline, and is not archived"
            return 0
        fi
        # A gap ends how far back a restore can go, until the next backup. A full disk ends the shop.
        if [ "$(df -Pm "$volume" | awk 'NR == 2 { print $4 }')" -lt "$least_free_mb" ]; then
            echo "archive: WARN: less than $least_free_mb MB are free, and ${1##*/} is not archived"
            return 0
        fi
        ;;
    esac
    exec pgbackrest archive-push "$1"
}

get() { # <name> <path>
    case "$1" in
    *.history)
        kept=$(timelines)/$1
        [ ! -e "$kept" ] || {
            cp "$kept" "$2"
            return
        }
        ;;
    esac
    exec pgbackrest archive-get "$1" "$2"
}

# Postgres has written the history of its new timeline and takes no writes yet.
claim() {
    history=$(find "$data/pg_wal" -maxdepth 1 -name '????????.history' | sort | tail -n 1)
    [ -n "$history" ] || return 0
    kept=$(timelines)/${history##*/}
    mkdir -p "${kept%/*}"
    made=$(mktemp "${kept%/*}/.XXXXXX")
    # A name stands for a whole file that is on disk.
    cp "$history" "$made"
    sync "$made"
    ln -T "$made" "$kept" 2>/dev/null || :
    rm -f "$made"
    sync "${kept%/*}"
    # An archive that cannot be written keeps no node from leading.
    [ -e "$kept" ] || return 1
    # Taken by another node: from 126 on Postgres ends instead of going on.
    cmp -s "$history" "$kept" || exit 126
}

case "${1:-}" in
push | get | claim) "$@" ;;
*) echo "archive: push, get or claim, not ${1:-}" >&2; exit 64 ;;
esac
