//! deskd: PID 1 of the desktop container and the only owner of its display.
//!
//! It starts the X server, the window manager and the panel, keeps them running, and stands between the display and everyone who wants
//! something from it: people come over HTTPS with a token and get RFB, the agent comes over a unix socket and gets MCP tools. Whoever
//! does not hold the control lease sends no input, on any channel. deskd holds no Kubernetes credential and decides no access itself:
//! the control plane signs tokens and sets the lease, deskd enforces both.

pub mod boot;
pub mod desk;
pub mod error;
pub mod evidence;
pub mod fake;
pub mod hands;
pub mod http;
pub mod lease;
pub mod mcp;
pub mod options;
pub mod picture;
pub mod record;
pub mod run;
pub mod screen;
pub mod seat;
pub mod selection;
pub mod typing;
pub mod windows;
