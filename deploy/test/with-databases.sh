#!/bin/sh
# Runs a command that compiles, with databases that the migrations in the working
# directory have just made: each query is checked against them. It brings up a
# Postgres of its own, so it needs no stack: with-databases.sh <command …>
set -eu

work=$(mktemp -d)
chown postgres "$work"
tree=$PWD
PATH=/usr/lib/postgresql/17/bin:$PATH
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
finish() {
    status=$?
    trap - EXIT
    cd /
    as_postgres pg_ctl --silent --pgdata "$work/data" --mode immediate stop || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

cd /
as_postgres initdb --auth trust --no-sync --pgdata "$work/data" >/dev/null
as_postgres pg_ctl --silent --pgdata "$work/data" --log "$work/log" \
    --options "-c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories=" start >/dev/null \
    || { cat "$work/log" >&2; exit 1; }
cd "$tree"
server=postgres://postgres@127.0.0.1:5432
for owner in booking identity; do
    psql --quiet "$server/postgres" --command "CREATE DATABASE $owner"
    for migration in services/$owner/migrations/*.sql; do
        psql --quiet --set ON_ERROR_STOP=1 --file "$migration" "$server/$owner"
    done
done
cat services/bank/migrations/*.sql | python3 -c '
import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())' "$work/bank.sqlite"

SQLX_OFFLINE=false BOOKING_DATABASE_URL=$server/booking IDENTITY_DATABASE_URL=$server/identity \
    BANK_DATABASE_URL=sqlite://$work/bank.sqlite "$@"
