//! Tests what a person does to a vault: logging in and out, adding and removing entries, and the doctor.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/machine.rs"]
mod machine;

mod doctor;
mod entries;
mod login_steps;
mod real_server;
mod reference;
