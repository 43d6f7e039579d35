//! Who holds a lock, as its holder wrote into the lock file: a hint for a person, which nothing is
//! decided by.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::super::Holder;

/// One line of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Hint {
    pid: u32,
    #[serde(default)]
    host: String,
    since_ms: Option<u64>,
    /// The fingerprint of the grant that the lock is held for: several share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

impl Hint {
    pub(super) fn of_this_process(grant: Option<&str>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Self {
            pid: std::process::id(),
            host: host_name().to_owned(),
            since_ms: since.and_then(|since| since.as_millis().try_into().ok()),
            grant: grant.map(str::to_owned),
        }
    }

    pub(super) fn write(&self, file: &File) {
        // A full disk is no reason not to hold a lock.
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            let _ = file.write_all_at(&line, 0);
            // The last holder may have died and left a longer one.
            if file.metadata().is_ok_and(|stat| stat.len() > line.len() as u64) {
                let _ = file.set_len(line.len() as u64);
            }
        }
    }

    /// So that there is a hint only while there is a holder.
    pub(super) fn clear(file: &File) {
        let _ = file.set_len(0);
    }

    /// None: nothing there that can be understood.
    pub(super) fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; 512];
        let length = file.read_at(&mut bytes, 0).ok()?;
        let line = bytes[..length].split(|byte| *byte == b'\n').next()?;
        let mut hint: Self = serde_json::from_slice(line).ok()?;
        // It is shown on a terminal, and anybody who can write the lock file wrote it.
        hint.host = printable(&hint.host);
        Some(hint)
    }

    /// Whether its writer holds the lock for this grant, or does not say what for.
    pub(super) fn may_be_for(&self, grant: Option<&str>) -> bool {
        self.grant.as_deref().zip(grant).is_none_or(|(held, asked)| held == asked)
    }

    /// Whether the process that wrote it is still there, on this machine.
    pub(super) fn is_of_a_living_process_here(&self) -> bool {
        self.host == host_name() && is_alive(self.pid)
    }
}

impl From<Hint> for Holder {
    fn from(hint: Hint) -> Self {
        let name = match hint.host.as_str() {
            "" => format!("pid {}", hint.pid),
            host => format!("pid {} on {host}", hint.pid),
        };
        Self { name, since_ms: hint.since_ms }
    }
}

/// Whether there is such a process on this machine. In doubt, yes.
pub(super) fn is_alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The name of this machine; empty if it cannot be told.
fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let told = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let told = told.or_else(|| std::env::var("HOSTNAME").ok());
        printable(told.as_deref().unwrap_or_default())
    })
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hint that is rubbish is no hint and a strange one is printable.
    #[test]
    fn a_bad_hint_is_ignored_and_a_strange_one_is_printable() {
        let file = tempfile::tempfile().expect("a file");
        for (written, name) in [
            ("", None),
            ("{\"pid\":", None),
            ("4711", None),
            ("{\"pid\":-1}", None),
            ("\u{fffd}\0\0", None),
            ("{\"pid\":7,\"host\":\"\\u001b[2Jbuild-3\"}\ntrailing", Some("pid 7 on [2Jbuild-3")),
            ("{\"pid\":7}", Some("pid 7")),
        ] {
            Hint::clear(&file);
            file.write_all_at(written.as_bytes(), 0).expect("written");
            let holder = Hint::read(&file).map(Holder::from);
            assert_eq!(holder.map(|holder| holder.name).as_deref(), name, "{written:?}");
        }
    }

    /// This process and the first one are alive and an impossible one counts as alive.
    #[test]
    fn liveness_of_this_the_first_and_an_impossible_process() {
        assert!(Hint::of_this_process(None).is_of_a_living_process_here());
        assert!(is_alive(1));
        assert!(is_alive(0) && is_alive(u32::MAX));
    }
}
