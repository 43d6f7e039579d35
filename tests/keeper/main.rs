//! Tests the keeper end to end: most through the compiled component on files and a server on loopback, some natively on one
//! machine whose clock stands still.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/machine.rs"]
mod machine;

mod bytes;
mod consequences;
mod in_flight;
mod incidents;
mod landing;
mod layouts;
mod moving;
mod owners;
mod pool;
mod real_server;
mod reference;
mod rotation;
mod seed;
mod sendable;
mod steps;
