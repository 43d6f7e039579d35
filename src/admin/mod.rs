//! What a person does to a vault. Compiled to WebAssembly it is a component of its own, `lazaretto-admin.wasm`.

pub mod add;
pub mod doctor;
pub(crate) mod hand_over;
pub(crate) mod import;
pub mod login;
pub(crate) mod remove;
