//! What another process holds in its memory.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

/// Returns how often a text is in what a process can write of its memory.
///
/// # Errors
/// The process is not one that this one may read.
pub fn times_in_memory(pid: u32, text: &str) -> io::Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut times = 0;
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let range = map.split(' ').next().and_then(|range| range.split_once('-'));
        let (from, to) = range.ok_or_else(|| io::Error::other("a map has no range"))?;
        let address = |hex| u64::from_str_radix(hex, 16).map_err(io::Error::other);
        let (from, to) = (address(from)?, address(to)?);
        let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        // What cannot be read (a guard page) holds nothing.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            times += bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        }
    }
    Ok(times)
}
