//! Tests what an embedder decides: the clock, chance, and what a call may use up.

mod examples;
mod limits;
mod sources;
