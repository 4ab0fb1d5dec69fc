//! Decisions for the kind workspace.
