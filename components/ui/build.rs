//! Has the component built again when the page it holds changes, or comes into being.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
}
