//! deskd with a real Xvnc, window manager and terminal on this machine. Skipped tests do not exist: without these programs they fail.

mod agent;
mod control;
mod host;
mod http;
mod person;
mod view;
