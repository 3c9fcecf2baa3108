#!/bin/sh
# Starts Postgres: makes the cluster when there is none, brings roles,
# databases and passwords to what roles.sql says, then serves.
set -eu

secrets=/run/secrets/postgres
config=/etc/boxoffice/postgresql.conf
fresh=$PGDATA.new

# The cluster is made beside its place and then renamed, so that a kill in the
# middle of initdb leaves nothing half made behind.
if [ ! -d "$PGDATA" ]; then
    rm -rf "$fresh"
    initdb --pgdata="$fresh" --username=postgres --pwfile="$secrets/superuser_password" \
        --auth-local=peer --auth-host=scram-sha-256 --data-checksums \
        --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8
    mv "$fresh" "$PGDATA"
fi

# A pid file of a container that was killed names a process of this one.
rm -f "$PGDATA/postmaster.pid"

# Nobody from outside is let in until roles and passwords are right.
pg_ctl start --silent --wait --timeout=60 --pgdata="$PGDATA" \
    --options="-c config_file=$config -c listen_addresses=''"
for role in superuser identity booking worker exporter; do
    export "${role}_password=$(cat "$secrets/${role}_password")"
done
psql --no-psqlrc --quiet --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 \
    --file=/etc/boxoffice/roles.sql
for role in superuser identity booking worker exporter; do unset "${role}_password"; done
pg_ctl stop --silent --wait --mode=fast --pgdata="$PGDATA"

exec postgres -D "$PGDATA" -c "config_file=$config"
