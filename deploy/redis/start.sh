#!/bin/sh
# Serves as one of the nodes, as one of the sentinels, or as the cache, or, with
# `ping` after it, asks the process beside it whether it serves:
# start.sh node|sentinel|cache [ping]
#
# Passwords are passed by standard input, by environment, and by files that
# only this user reads, so that they show in no list of processes.
set -eu
umask 077

NODES_PORT=6379
SENTINELS_PORT=26379
# How many sentinels decide, and so how many have to say who is the primary.
QUORUM=2
# How long a node waits for that before it ends and is started again: as long as all
# other processes wait for their stores (crates/service/src/wait.rs).
WAIT_SECONDS=180

kind=$1
case "$kind" in
cache) password=$(cat /run/secrets/redis/cache_password) port=$NODES_PORT ;;
node) password=$(cat /run/secrets/redis/redis_password) port=$NODES_PORT self=$NETWORK.1$NUMBER ;;
sentinel) password=$(cat /run/secrets/redis/redis_password) port=$SENTINELS_PORT self=$NETWORK.2$NUMBER ;;
*) echo "start: node, sentinel or cache, not $kind" >&2; exit 64 ;;
esac

ask() { # <seconds> <address> <port> [<command …>]
    seconds=$1 host=$2 its_port=$3
    shift 3
    REDISCLI_AUTH=$password timeout "$seconds" redis-cli --no-auth-warning -h "$host" -p "$its_port" "$@"
}

# Prints the address of the primary: that of the newest configuration which the
# sentinels know, once enough of them answer and none is in the middle of a
# failover. One that was away during a failover knows an older one for a moment.
primary() {
    answers=0 newest=-1 named=
    for number in 1 2 3; do
        answer=$(ask 1 "$NETWORK.2$number" "$SENTINELS_PORT" 2>/dev/null <<'QUESTIONS'
sentinel get-master-addr-by-name boxoffice
sentinel master boxoffice
QUESTIONS
        ) || continue
        # First the address that is in force, then the names and values of all the rest.
        address=$(printf '%s\n' "$answer" | sed -n '1{/^[0-9.]*$/p;}')
        epoch=$(printf '%s\n' "$answer" | sed -n '/^config-epoch$/{n;p;q;}')
        flags=$(printf '%s\n' "$answer" | sed -n '/^flags$/{n;p;q;}')
        { [ -n "$address" ] && [ -n "$epoch" ]; } || continue
        case "$flags" in *failover_in_progress*) return 1 ;; esac
        answers=$((answers + 1))
        [ "$epoch" -le "$newest" ] || newest=$epoch named=$address
    done
    [ "$answers" -ge "$QUORUM" ] && printf '%s' "$named"
}

# Waits for the sentinels' word. A node never goes by what it was before it was
# stopped: it may have been the primary and replaced since, and would then take
# sign-ins that are thrown away, and know nothing of sign-outs. So without the
# sentinels it does not serve at all; without them nobody would find it anyway.
# At the very first start they name redis-1, because they were told so.
await_primary() {
    waited=0
    until primary; do
        [ "$waited" -lt "$WAIT_SECONDS" ] || {
            echo "ERROR: the sentinels do not say who is the primary" >&2
            return 1
        }
        [ $((waited % 10)) -ne 0 ] || echo "waiting for the sentinels' word on who is the primary" >&2
        sleep 1
        waited=$((waited + 1))
    done
}

# A node's configuration is made anew at each start: what it was told while it
# ran, the sentinels know.
configure_node() {
    named=$(await_primary)
    {
        echo "include /etc/boxoffice/redis.conf"
        echo "requirepass $password"
        echo "masterauth $password"
        [ "$named" = "$self" ] || echo "replicaof $named $NODES_PORT"
    } >/data/redis.conf
}

# A sentinel's configuration is made at its first start and kept: what it has
# learnt stands in it. Passwords are those of today, and so is the network.
configure_sentinel() {
    file=/data/sentinel.conf
    former=$(sed -n 's/^sentinel monitor boxoffice \(.*\)\.[0-9]* .*/\1/p' "$file" 2>/dev/null || :)
    if [ -z "$former" ]; then
        {
            cat /etc/boxoffice/sentinel.conf
            echo "sentinel announce-ip $self"
            echo "sentinel monitor boxoffice $NETWORK.11 $NODES_PORT $QUORUM"
            echo "sentinel down-after-milliseconds boxoffice 3000"
            # Twice this passes before a failover is tried again.
            echo "sentinel failover-timeout boxoffice 3000"
            echo "sentinel parallel-syncs boxoffice 1"
        } >"$file.new"
    else
        pattern=$(printf '%s' "$former" | sed 's/\./\\./g')
        # The rule for the default user is the old password once more.
        sed -e '/^requirepass /d' -e '/^user default /d' -e '/^sentinel auth-pass /d' \
            -e "s/\([ \"]\)$pattern\./\1$NETWORK./g" "$file" >"$file.new"
    fi
    # In one step, so that a start that is cut short leaves no half of it.
    printf 'requirepass %s\nsentinel auth-pass boxoffice %s\n' "$password" "$password" >>"$file.new"
    mv "$file.new" "$file"
}

if [ "${2:-}" = ping ]; then
    ask 4 127.0.0.1 "$port" ping | grep -q PONG
    exit
fi
case "$kind" in
node)
    configure_node
    exec redis-server /data/redis.conf
    ;;
sentinel)
    configure_sentinel
    exec redis-server /data/sentinel.conf --sentinel
    ;;
cache)
    exec redis-server - <<SETTINGS
include /etc/boxoffice/cache.conf
requirepass $password
SETTINGS
    ;;
esac
