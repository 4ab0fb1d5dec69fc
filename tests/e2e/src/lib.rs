//! What tests and benches of conversations share: a cluster without nodes, whose pods are processes of this machine. It is no test itself.

pub mod pods;
pub mod programs;
pub mod steady;
pub mod world;
