//! Tests what several processes do to one vault, and what the system does to a process: signals, other users, networks, memory.

#[path = "../home/mod.rs"]
mod home;
#[path = "../../../tests/common/oidc.rs"]
#[allow(dead_code, unreachable_pub, reason = "each theme uses its own part")]
mod oidc;
#[path = "../../../tests/common/reference.rs"]
#[allow(dead_code, unreachable_pub, reason = "each theme uses its own part")]
mod reference;
#[path = "../../../tests/common/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "each theme uses its own part")]
mod tools;

mod at_once;
mod kills;
mod memory;
mod network;
mod root;
mod signals;
mod together;
