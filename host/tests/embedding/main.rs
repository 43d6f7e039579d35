//! Tests what an embedder decides: the clock, chance, and what a call may use up.

mod clock;
mod examples;
mod limits;
