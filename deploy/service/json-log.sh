#!/bin/sh
# Runs a program that logs plain text, and makes each of its lines one JSON
# object on the container's output: json-log.sh [--json] <service> <command …>
#
# The names are those of all logs (crates/telemetry/src/log.rs), but there is no
# `time`: it would cost a process a line, and the engine keeps it anyway
# (`docker logs --timestamps`). What the program writes to descriptor 3 goes out
# past this script; with --json, so do lines that are JSON with a level already.
# That is for programs whose lines nobody else has a say in: whoever can make one
# say a whole line could speak in another's name.
#
# This shell stays the container's first process, so that what a program says
# last is still read: signals are passed on to the program, and its exit code is
# the container's.
set -eu

as_it_is=
if [ "$1" = --json ]; then
    as_it_is='/^{"level":".*}$/b'
    shift
fi
service=$1
shift
lines=/tmp/log-lines.$$
rm -f "$lines"
mkfifo -m 0600 "$lines"

# Bytes are bytes: a line that is no UTF-8 must not stop it.
LC_ALL=C sed -u \
    -e '/^[[:space:]]*$/d' \
    -e "$as_it_is" \
    -e 's/[\\"]/\\&/g; s/	/\\t/g; s/[[:cntrl:]]//g' \
    -e 's/.*/"service.name":"'"$service"'","message":"&"}/' \
    -e '/[^A-Za-z]\(ERROR\|FATAL\|PANIC\|CRITICAL\|\[error\]\|\[crit\]\|\[alert\]\|\[emerg\]\)/{s/^/{"level":"error",/;b' -e '}' \
    -e '/[^A-Za-z]\(WARN\|WARNING\|\[warn\]\)/{s/^/{"level":"warn",/;b' -e '}' \
    -e 's/^/{"level":"info",/' \
    <"$lines" &
reader=$!

program=
asked_for=
pass_on() {
    asked_for=$1
    [ -z "$program" ] || kill -s "$1" "$program" 2>/dev/null || :
}
for signal in TERM INT QUIT HUP USR1; do
    # shellcheck disable=SC2064
    trap "pass_on $signal" "$signal"
done

# A shell starts what runs beside it with INT and QUIT ignored. Postgres stops
# by the one and Nginx by the other; both hear them all the same, because they
# set up their own handling.
"$@" 3>&1 >"$lines" 2>&1 &
program=$!
# A signal that came before there was anybody to hear it.
[ -z "$asked_for" ] || kill -s "$asked_for" "$program" 2>/dev/null || :

# A signal ends `wait` before the program ends. That a program ended by one, the
# shell would say as plain text.
while
    asked_for=
    status=0
    wait "$program" 2>/dev/null || status=$?
    [ -n "$asked_for" ]
do :; done

# The reader ends when nobody can write any more. Who was left behind by the
# program does not keep it for longer than a second.
{ sleep 1; kill "$reader"; } >/dev/null 2>&1 &
wait "$reader" 2>/dev/null || :
rm -f "$lines"
exit "$status"
