//! What PID 1 does: a clean home, the X server, the desktop's own programs, and an orderly end.

pub mod children;
pub mod home;
pub mod pulse;
pub mod repair;
pub mod services;
pub mod shutdown;
pub mod xvnc;
