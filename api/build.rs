//! Makes sure that the folder of the built page exists, so that the api compiles before the page was ever built.
//!
//! Owns: the empty folder. Never does: build the page (`./run` does). Talks to: the file system. Start reading at: `main`.

fn main() {
    println!("cargo::rerun-if-changed=../frontend/dist");
    if let Err(error) = std::fs::create_dir_all("../frontend/dist") {
        println!("cargo::warning=cannot create frontend/dist: {error}");
    }
}
