//! RFB (RFC 6143 and the community extensions), without IO: what a client may say to the desktop, and the little of the other
//! direction that deskd needs for its own picture.
//!
//! [`Filter`] turns an untrusted stream of client bytes into whole messages that a role may send; both the VNC proxy and deskd run it,
//! so that a mistake in one does not open the other. [`Decoder`] keeps a [`Framebuffer`] up to date from a server that was asked for
//! plain encodings. This crate never opens a socket, never spawns, and never panics on what a peer sends.

pub mod clipboard;
pub mod counts;
pub mod decoder;
pub mod encode;
pub mod encodings;
pub mod filter;
pub mod keysym;
pub mod message;
pub mod pressed;
pub mod rules;
pub mod size;

pub use counts::Counts;
pub use decoder::{DecodeError, Decoder, Framebuffer, ServerEvent, ServerInit};
pub use filter::Filter;
pub use message::{Kind, Violation};
pub use pressed::Pressed;
pub use rules::{Policy, Reason, Role};

/// The only protocol version spoken, as it is written on the wire.
pub const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// Security type "None": access was decided before the first RFB byte.
pub const SECURITY_NONE: u8 = 1;
