//! Decisions for the kind session.
