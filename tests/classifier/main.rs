//! Tests the classifier on real answers of token endpoints, and on generated ones.

mod answers;
mod properties;
