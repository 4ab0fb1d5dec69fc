//! Which tools the agent was granted. What it was not granted is not on its list, and is refused if it is called all the same. The tools
//! with which it speaks to people and hands over its work are always its own.

use super::remote::full_name;

/// Stands for all tools of the desktop.
const DESKTOP: &str = "computer";
/// Stands for all tools of a connection.
const ALL: &str = "*";

/// The tools that the settings name; `None`: whatever there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted(Option<Vec<String>>);

impl Granted {
    /// As the settings say.
    pub fn new(tools: Option<Vec<String>>) -> Self {
        Self(tools)
    }

    /// Whether it has this tool of the desktop.
    pub fn desktop(&self, tool: &str) -> bool {
        self.0.as_ref().is_none_or(|all| all.iter().any(|name| name == DESKTOP || name == tool))
    }

    /// Whether it has this tool of a connection.
    pub fn remote(&self, connection: &str, tool: &str) -> bool {
        let Some(all) = &self.0 else { return true };
        let whole = full_name(connection, tool);
        all.iter().any(|name| match name.split_once("__") {
            Some((granted, ALL)) => granted == connection,
            Some((granted, rest)) => granted == connection && full_name(granted, rest) == whole,
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_granted_and_without_names_everything() {
        let granted = Granted::new(Some(vec!["computer".into(), "crm__find.user".into(), "wiki__*".into()]));
        assert!(
            granted.desktop("launch") && granted.remote("crm", "find.user") && granted.remote("wiki", "x")
        );
        assert!(!granted.remote("crm", "delete") && !granted.remote("other", "find.user"));
        let shell = Granted::new(Some(vec!["shell".into(), "clipboard".into()]));
        assert!(!shell.desktop("computer") && shell.desktop("clipboard") && !shell.remote("crm", "find"));
        let all = Granted::default();
        assert!(all.desktop("computer") && all.remote("crm", "delete"));
    }
}
