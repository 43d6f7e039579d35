//! The ways to run lazaretto.

mod native;
pub mod process;
mod wasmtime;

use std::path::Path;

use serde_json::Value;

pub use process::{c, node, python, stock};

/// One way to run lazaretto.
pub trait Driver: Sync {
    /// On this vault, with these profiles, and with plain http to loopback.
    fn open(&self, vault: &Path, providers: &Path) -> Box<dyn Session>;

    /// The same in a process of its own.
    fn open_apart(&self, vault: &Path, providers: &Path) -> Box<dyn Session>;

    /// Whether its storage keeps a program out that takes the vault's own lock.
    fn excludes_foreign(&self) -> bool {
        true
    }
}

/// A process, or what stands for one.
pub trait Session {
    /// What a call comes to: `{"ok": ...}` or `{"error": {...}}`, or why there was no answer at all.
    fn call(&mut self, call: &Value) -> Result<Value, String>;

    /// The process that makes it, if it is not this one.
    fn process(&self) -> Option<u32> {
        None
    }

    /// It is needed no more.
    fn close(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}

pub fn native() -> Option<Box<dyn Driver>> {
    Some(Box::new(native::Native))
}

pub fn wasmtime() -> Option<Box<dyn Driver>> {
    Some(Box::new(wasmtime::Wasmtime))
}

/// A member of a call that is text, if it is there.
fn text(call: &Value, name: &str) -> Option<String> {
    call[name].as_str().map(str::to_owned)
}

/// Names and values.
fn headers(call: &Value) -> Vec<(String, String)> {
    serde_json::from_value(call["headers"].clone()).unwrap_or_default()
}
