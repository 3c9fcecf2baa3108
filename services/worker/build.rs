//! Builds the tests anew when a migration is added.

fn main() {
    println!("cargo:rerun-if-changed=../booking/migrations");
}
