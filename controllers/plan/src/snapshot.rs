//! Decisions for the kind snapshot.
