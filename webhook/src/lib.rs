//! a8s-webhook: admission. It stamps who wrote a Message, who created a Session and who took the mouse, and it checks that the
//! *creator* may use what an object refers to, because the controller later reads it with its own rights. It holds no rule that the
//! CRDs' CEL can hold, keeps no state but its certificates, and changes nothing that a person can choose.

pub mod access;
pub mod admission;
pub mod decide;
pub mod metrics;
pub mod mutate;
pub mod options;
pub mod publish;
pub mod server;
pub mod tls;
pub mod validate;
