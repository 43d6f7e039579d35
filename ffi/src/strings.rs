//! A returned string is wiped when it is given back, and only then. It is written once, at its full
//! length, so that no copy of a secret is left behind by a buffer that grew.

use std::collections::HashMap;
use std::ffi::c_char;
use std::io::{self, Write};
use std::ptr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use zeroize::Zeroize;

/// What is with the caller, by its address.
static HANDED_OVER: LazyLock<Mutex<HashMap<usize, Box<[u8]>>>> = LazyLock::new(Mutex::default);

fn handed_over() -> MutexGuard<'static, HashMap<usize, Box<[u8]>>> {
    HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a value as JSON, for the caller. Null: it cannot be written, which no value of ours is.
pub(crate) fn hand_over(value: &impl Serialize) -> *mut c_char {
    let mut length = Length(0);
    if serde_json::to_writer(&mut length, value).is_err() {
        return ptr::null_mut();
    }
    let mut text = Vec::with_capacity(length.0 + 1);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => keep(text),
        Err(_) => ptr::null_mut(),
    }
}

/// Returns a text without a NUL in it, for the caller; with one, as far as that.
pub(crate) fn hand_over_text(text: &str) -> *mut c_char {
    let whole = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    let mut copy = Vec::with_capacity(whole + 1);
    copy.extend_from_slice(&text.as_bytes()[..whole]);
    keep(copy)
}

fn keep(mut text: Vec<u8>) -> *mut c_char {
    text.push(0);
    let mut text = text.into_boxed_slice();
    let start = text.as_mut_ptr();
    handed_over().insert(start.addr(), text);
    start.cast()
}

pub(crate) fn take_back(string: *mut c_char) {
    let text = handed_over().remove(&string.addr());
    if let Some(mut text) = text {
        text.zeroize();
    }
}

/// Counts what would be written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
