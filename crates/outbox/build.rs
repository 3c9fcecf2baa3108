//! Builds the tests anew when a migration is added.

fn main() {
    println!("cargo:rerun-if-changed=../../services/booking/migrations");
}
