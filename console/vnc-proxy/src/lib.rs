//! a8s-vnc-proxy
