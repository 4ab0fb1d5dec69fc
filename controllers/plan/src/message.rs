//! Decisions for the kind message.
