//! a8s-deskd
