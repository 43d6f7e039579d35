//! The committed header is what cbindgen makes of the source.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_header_is_that_of_the_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut made = Vec::new();
    cbindgen::Builder::new()
        .with_src(here.join("src/lib.rs"))
        .with_config(config)
        .generate()
        .expect("it is parsed")
        .write(&mut made);
    let made = without_safety(&String::from_utf8(made).expect("text"));
    let header = here.join("include/lazaretto.h");
    if env::var_os("BLESS").is_some() {
        fs::write(&header, &made).expect("written");
    }
    let committed = fs::read_to_string(&header).unwrap_or_default();
    assert!(
        committed == made,
        "include/lazaretto.h is not that of src/lib.rs: BLESS=1 cargo test -p lazaretto-ffi --test header"
    );
    for word in ["# Safety", "#[", "Keeper,"] {
        assert!(!made.contains(word), "{word} is for Rust's readers");
    }
}

/// Rust's conditions of safety are what a C programmer takes for granted, and the header says at
/// its top.
fn without_safety(header: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_left_out = false;
    for line in header.lines() {
        is_left_out = line != " */" && (is_left_out || line == " # Safety");
        if is_left_out && kept.last() == Some(&"") {
            kept.pop();
        }
        if !is_left_out {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}
