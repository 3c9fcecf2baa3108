#!/bin/sh
# Prints the options of cargo that compile our own crates as tests want them: at
# level 0, with the checks of a debug build. Dependencies keep the release profile.
set -eu

for manifest in crates/*/Cargo.toml services/*/Cargo.toml tests/*/Cargo.toml; do
    profile=profile.release.package.$(basename "$(dirname "$manifest")")
    echo "--config $profile.opt-level=0"
    echo "--config $profile.overflow-checks=true --config $profile.debug-assertions=true"
done
