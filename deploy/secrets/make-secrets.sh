#!/bin/sh
# Makes every password and key of the stack at first start.
#
# A directory per process under /run/secrets, owned by that process's user and
# closed to all others; a value that two processes need is written twice. What
# is there is never changed; what is missing is added. It also gives the data
# volumes to their users where the part's image cannot do so by itself.
set -eu
umask 077
cd /run/secrets

# Gives a value to a process: give <process> <user id> <file> <value>
give() {
    mkdir -p "$1"
    [ -s "$1/$3" ] || {
        printf '%s' "$4" >"$1/.$3.new"
        chmod 0400 "$1/.$3.new"
        chown "$2:$2" "$1/.$3.new"
        mv "$1/.$3.new" "$1/$3"
    }
    chmod 0500 "$1"
    chown "$2:$2" "$1"
}

# Prints the value that one of the given files has already, or a new random one.
value() {
    for file in "$@"; do
        if [ -s "$file" ]; then cat "$file"; return; fi
    done
    openssl rand -hex 24
}

# A password of a Postgres role: with Postgres and with the one who uses it.
role_password() { # <role> <process> <user id>
    password=$(value "postgres/$1_password" "$2/database_password")
    give postgres 999 "$1_password" "$password"
    give "$2" "$3" database_password "$password"
}

# The key by which one process is known to another, with both. Each pair has its own, so that
# who is called cannot pass for its caller anywhere else (crates/service/src/callers.rs).
caller_key() { # <caller> <user id> <called> <user id>
    key=$(value "$1/$3_key" "$3/$1_key")
    give "$1" "$2" "$3_key" "$key"
    give "$3" "$4" "$1_key" "$key"
}

caller_key nginx 101 identity 10001
caller_key nginx 101 catalog 10002
caller_key nginx 101 booking 10003
caller_key nginx 101 worker 10004
caller_key catalog 10002 booking 10003
caller_key crowd 10006 booking 10003

for role in superuser replicator rewinder patroni; do
    give postgres 999 "${role}_password" "$(value "postgres/${role}_password")"
done
role_password identity identity 10001
role_password booking booking 10003
role_password worker worker 10004
role_password exporter postgres-exporter 10020

redis=$(value redis/redis_password identity/redis_password catalog/redis_password)
give redis 10011 redis_password "$redis"
give identity 10001 redis_password "$redis"
give catalog 10002 redis_password "$redis"

cache=$(value redis/cache_password catalog/cache_password)
give redis 10011 cache_password "$cache"
give catalog 10002 cache_password "$cache"
nodes=
for number in 1 2 3; do
    nodes="$nodes\"redis://redis-$number:6379\": \"$redis\", \"redis://sentinel-$number:26379\": \"$redis\", "
done
give redis-exporter 10021 nodes.json "{$nodes\"redis://cache:6379\": \"$cache\"}"

bank=$(value bank/api_key worker/bank_key crowd/bank_key)
give bank 10005 api_key "$bank"
give worker 10004 bank_key "$bank"
give crowd 10006 bank_key "$bank"

# Tickets are signed with Ed25519: the seed signs, the public key verifies. In
# the fixed DER forms of both keys, the last 32 bytes are the key itself.
hex() { od -An -v -tx1 | tr -d ' \n'; }
seed=$(value worker/ticket_signing_key)
[ "${#seed}" -eq 64 ] || seed=$(openssl rand -hex 32)
give worker 10004 ticket_signing_key "$seed"
public=$(printf '302e020100300506032b657004220420%s' "$seed" \
    | sed 's/../\\x&/g' | xargs -0 printf '%b' \
    | openssl pkey -inform DER -pubout -outform DER | tail -c 32 | hex)
[ "${#public}" -eq 64 ] || { echo "secrets: the ticket key could not be derived" >&2; exit 1; }
give booking 10003 ticket_public_key "$public"

for number in 1 2 3; do
    chown 10011:10011 "/volumes/redis-$number" "/volumes/sentinel-$number"
done
chown 1000:1000 /volumes/dynamodb
echo '{"level":"info","service.name":"secrets","message":"passwords and keys are in place"}'
