//! A vault is somebody's file: it is read tolerantly, and of it only the values that must change are changed.

pub mod edit;
pub mod hermes;
