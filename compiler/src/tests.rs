//! The compile as a whole: examples and refusals as golden files, behaviour as sentences, invariants as
//! properties.

mod behaviour;
mod examples;
mod properties;
mod refusals;
mod untyped;
mod urgent;
mod worlds;
