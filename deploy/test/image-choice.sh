#!/bin/sh
# Which images are chosen where a registry answers, with Grafana and without:
# the choice is made in a copy of the scripts, by an engine's client that can
# pull what it is told and nothing else.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cat >"$work/bin/docker" <<'CLIENT'
#!/bin/sh
[ "$1" = pull ] || { echo "not to be asked: docker $*" >&2; exit 1; }
case "$3" in $CAN_BE_PULLED) exit 0 ;; *) exit 1 ;; esac
CLIENT
chmod +x "$work/bin/docker"

choose() { # <what can be pulled>
    rm -rf "$work/tree"
    mkdir "$work/tree"
    cp -r deploy "$work/tree/deploy"
    echo 'MINE=kept' >"$work/tree/.env"
    CAN_BE_PULLED=$1 PATH=$work/bin:$PATH "$work/tree/deploy/standin/images.sh"
}
fail() { echo "image-choice: $*" >&2; exit 1; }

choose '*' >"$work/said"
! grep -q 'GRAFANA\|_IMAGE=' "$work/tree/.env" || fail 'a registry answers for all, and something else was chosen'
grep -q '^MINE=kept$' "$work/tree/.env" || fail "the user's own settings are gone"
! grep -q 'left out' "$work/said" || fail 'Grafana is said to be left out'

choose 'debian:*' >"$work/said"
grep -q '^GRAFANA=off$' "$work/tree/.env" || fail 'Grafana cannot be pulled, and is not turned off'
! grep -q '_IMAGE=' "$work/tree/.env" || fail 'a stand-in was chosen although a registry answers'
[ "$(grep -c 'left out' "$work/said")" = 1 ] || fail 'it is not said in one line that Grafana is left out'
