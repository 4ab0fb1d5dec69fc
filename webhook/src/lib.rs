//! a8s-webhook
