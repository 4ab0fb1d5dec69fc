//! The a8s API: the kinds of `a8s.dev/v1alpha1`, their conditions and reasons, labels and names. Shared by controller, webhook and console;
//! it has no client, no runtime and no opinion on what to do, only on what can be said.

// Columns of two kinds share types and names; clippy takes the arguments of the derive for attributes.
#![allow(clippy::duplicated_attributes)]

pub mod conditions;
pub mod definitions;
pub mod labels;
pub mod names;
pub mod schedule;
pub mod v1alpha1;

pub use v1alpha1::*;

/// API group of every kind.
pub const GROUP: &str = "a8s.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
