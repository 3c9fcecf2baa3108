#!/bin/sh
# Compiles what the negative controls run: for each patch the programs that its
# first line names, from a copy of the tree in which it takes out the guards of one
# promise, into /controls/<name>. Queries are checked against the patched
# migrations, for .sqlx does not have what they answer.
#
# Cargo identifies a workspace's crate by name and version, not by its path. With a
# version of its own each copy shares the compiled dependencies with the tree, and no
# crate of ours.
set -eu

for patch in tests/controls/patches/*.patch; do
    name=$(basename "$patch" .patch)
    programs=$(sed -n '1s/^Programs: //p' "$patch")
    copy=/copies/$name
    mkdir -p "$copy" "/controls/$name"
    cp -a Cargo.toml Cargo.lock .sqlx crates services tests "$copy/"
    git -C "$copy" apply --whitespace=nowarn "$PWD/$patch"
    sed -i "s/^version = \"\(.*\)\"$/version = \"\1-without-$name\"/" "$copy/Cargo.toml"
    (
        cd "$copy"
        # shellcheck disable=SC2046
        CARGO_TARGET_DIR=/src/target /src/deploy/service/compile.sh \
            /src/deploy/test/with-postgres.sh /src/deploy/test/with-databases.sh \
            cargo build --release --offline --workspace $(/src/deploy/test/unoptimised.sh) \
            $(printf -- '--bin %s ' $programs)
    )
    for program in $programs; do
        cp "target/release/$program" "/controls/$name/"
    done
    rm -r "$copy"
done
