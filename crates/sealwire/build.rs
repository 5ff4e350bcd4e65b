//! Has the binary built again when the components it holds change, or come into being.

fn main() {
    println!("cargo::rerun-if-changed=../../target/components");
    println!("cargo::rerun-if-changed=../../target/test-components");
}
