//! The VNC proxy: a browser's WebSocket on one side, deskd's RFB on the other.
//!
//! A person's Kubernetes token is checked once, for a ticket; the ticket opens one stream. The proxy asks the API server who the person
//! is and what they may do (`get` or `update` on `workspaces/desktop`), again every 30 seconds, and filters what the browser sends by
//! that. deskd filters once more and knows who holds the control lease. The proxy writes nothing to Kubernetes, keeps no state that
//! matters over a restart, and never shows a browser what the desktop's server said about an error.

pub mod access;
pub mod close;
pub mod limits;
pub mod metrics;
pub mod options;
pub mod origin;
pub mod rates;
pub mod relay;
pub mod serve;
pub mod server;
pub mod socket;
pub mod stream;
pub mod ticket;
pub mod upstream;
