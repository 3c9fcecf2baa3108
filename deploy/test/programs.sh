#!/bin/sh
# Compiles every test of the workspace into /tests, named <package> or
# <package>.<test>, and the programs that tests start into /programs.
set -eu

export SQLX_OFFLINE=true
programs='bank booking worker chaos bench'
bins=$(printf -- '--bin %s ' $programs)
deploy/service/compile.sh cargo build --release --locked --workspace $bins
mkdir /programs /tests
for program in $programs; do
    cp "target/release/$program" /programs/
done

# Our own crates are not optimised in tests, which takes a quarter of the time to
# compile; dependencies are compiled as for the services. Of the programs, only bench
# has tests of its own beside those of a library.
# shellcheck disable=SC2046
deploy/service/compile.sh sh -c 'cargo test --release --locked --workspace --lib --test "*" --bin bench "$@" \
    --no-run --message-format json-render-diagnostics >/tmp/compiled' - $(deploy/test/unoptimised.sh)
jq --raw-output '
    select(.reason == "compiler-artifact" and .profile.test and .executable != null)
    | (.package_id | sub(".*/"; "") | sub("#.*"; "")) as $package
    | .executable + " " + $package
      + if .target.kind == ["test"] and .target.name != $package then "." + .target.name else "" end
    ' /tmp/compiled >/tmp/tests
while read -r executable name; do
    [ ! -e "/tests/$name" ] || { echo "programs: two tests are named $name" >&2; exit 1; }
    cp "$executable" "/tests/$name"
done </tmp/tests
