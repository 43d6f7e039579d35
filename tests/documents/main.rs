//! Tests that the components keep the contract, and that every test which the documentation names exists.

mod contract;
mod proof;
