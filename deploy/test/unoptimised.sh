#!/bin/sh
# Prints the options of cargo that leave our own crates as they are, and optimise
# other people's as for the images.
set -eu

for manifest in crates/*/Cargo.toml services/*/Cargo.toml tests/*/Cargo.toml; do
    echo "--config profile.release.package.$(basename "$(dirname "$manifest")").opt-level=0"
done
