#!/bin/sh
# Which images are chosen where a registry answers, with Grafana and without:
# the choice is made in a copy of the scripts, by an engine's client that can
# pull what it is told and nothing else.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
tree="$work/a tree"
cat >"$work/bin/docker" <<'CLIENT'
#!/bin/sh
[ "$1" = pull ] || { echo "not to be asked: docker $*" >&2; exit 1; }
case "$3" in $CAN_BE_PULLED) exit 0 ;; *) exit 1 ;; esac
CLIENT
chmod +x "$work/bin/docker"

choose() { # <what can be pulled>
    rm -rf "$tree"
    mkdir "$tree"
    cp -R deploy "$tree/deploy"
    echo 'MINE=kept' >"$tree/.env"
    CAN_BE_PULLED=$1 PATH=$work/bin:$PATH "$tree/deploy/standin/images.sh"
}
fail() { echo "image-choice: $*" >&2; exit 1; }

choose '*' >"$work/said"
! grep -q 'GRAFANA\|_IMAGE=' "$tree/.env" || fail 'a registry answers for all, and something else was chosen'
grep -q '^MINE=kept$' "$tree/.env" || fail "the user's own settings are gone"
! grep -q 'left out' "$work/said" || fail 'Grafana is said to be left out'

choose 'debian:*' >"$work/said"
grep -q '^GRAFANA=off$' "$tree/.env" || fail 'Grafana cannot be pulled, and is not turned off'
! grep -q '_IMAGE=' "$tree/.env" || fail 'a stand-in was chosen although a registry answers'
[ "$(grep -c 'left out' "$work/said")" = 1 ] || fail 'it is not said in one line that Grafana is left out'

# As on a system whose sed changes no file in place without a suffix.
cat >"$work/bin/sed" <<SED
#!/bin/sh
case " \$* " in *' -i '*) echo 'sed: -i needs a suffix' >&2; exit 1 ;; esac
exec $(command -v sed) "\$@"
SED
chmod +x "$work/bin/sed"
PATH=$work/bin:$PATH "$tree/deploy/standin/images.sh" forget
[ "$(cat "$tree/.env")" = MINE=kept ] || fail "the choice was not forgotten, or the user's own settings were"
