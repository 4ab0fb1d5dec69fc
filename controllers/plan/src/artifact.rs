//! Decisions for the kind artifact.
