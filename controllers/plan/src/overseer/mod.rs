//! The overseer: which Environment, tools and Connections a Session gets, and why. Rules decide, and they are the same for the first
//! desktop and for what the agent asks for later. A model may propose; what it proposes is held against the same catalogue and the same
//! policy, and the rules decide where it does not hold. Nothing here makes a pod or reads a key.

mod capabilities;
mod grants;
mod later;
mod matching;
mod proposal;
mod tools;

pub use capabilities::{of_attachments, of_file};
pub use grants::{Asked, Grants, allowed_tools, connection_of_tool, grants, named};
pub use later::{decide, policy};
pub use matching::{Choice, Demand, best};
pub use proposal::{Proposed, held_against};
pub use tools::agent_tools;
