#!/bin/sh
# Runs a command beside a Postgres of its own, as DATABASE_URL says, for what needs databases and
# no cluster: with-postgres.sh <command …>. All of it is gone with the command, so nothing in it
# waits for a disk.
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
# As the cluster's (deploy/postgres/patroni.yml).
as_postgres initdb --auth trust --no-sync --encoding UTF8 --locale-provider builtin --builtin-locale C.UTF-8 \
    --locale C.UTF-8 --pgdata "$work/data" >/dev/null
as_postgres pg_ctl --silent --pgdata "$work/data" --log "$work/log" \
    --options "-c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200" \
    start >/dev/null || { cat "$work/log" >&2; exit 1; }
cd "$tree"
export DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres
# Migrations grant it what it may do (deploy/postgres/roles.sql).
psql --quiet "$DATABASE_URL" --command 'CREATE ROLE worker'
# In the background, so that a signal ends it at once.
"$@" &
child=$!
trap 'kill "$child" 2>/dev/null; exit 143' INT TERM
wait "$child"
