//! The page is embedded into the binary: a new page means a new binary.

fn main() {
    println!("cargo:rerun-if-changed=../../web/dist");
}
