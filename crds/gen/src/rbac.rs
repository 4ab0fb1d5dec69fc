//! ServiceAccounts, roles and bindings of the chart.

use std::fmt::Write;

use crate::{
    HEADER,
    rules::{ROLES, Role, Rule},
};

/// Accounts without any role: their processes never call the API as themselves.
const BARE_ACCOUNTS: [&str; 1] = ["a8s-console"];
const NAMESPACE: &str = "{{ .Release.Namespace }}";
const LABELS: &str = "{{- include \"a8s.labels\" . | nindent 4 }}";

/// The template.
pub fn render() -> String {
    let mut out = HEADER.to_owned();
    let mut accounts: Vec<&str> = ROLES.iter().filter(|r| r.bound).map(|r| r.name).collect();
    accounts.extend(BARE_ACCOUNTS);
    accounts.sort_unstable();
    accounts.dedup();
    for name in accounts {
        let token = name != "a8s-console";
        line(&mut out, "---\napiVersion: v1\nkind: ServiceAccount");
        metadata(&mut out, name, true, &[]);
        line(&mut out, &format!("automountServiceAccountToken: {token}"));
    }
    for role in ROLES {
        let kind = if role.system_only { "Role" } else { "ClusterRole" };
        line(&mut out, &format!("---\n# {}: {}.", role.name, role.why));
        line(&mut out, &format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}"));
        metadata(&mut out, role.name, role.system_only, role.aggregate);
        line(&mut out, "rules:");
        for rule in role.rules {
            self::rule(&mut out, rule);
        }
        if role.bound {
            binding(&mut out, role, kind);
        }
    }
    line(&mut out, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding");
    metadata(&mut out, "a8s-catalogue", false, &[]);
    line(&mut out, "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a8s-catalogue}");
    line(
        &mut out,
        "subjects:\n- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"system:authenticated\"}",
    );
    out
}

fn metadata(out: &mut String, name: &str, namespaced: bool, aggregate: &[&str]) {
    line(out, &format!("metadata:\n  name: {name}"));
    if namespaced {
        line(out, &format!("  namespace: {NAMESPACE}"));
    }
    line(out, &format!("  labels:\n    {LABELS}"));
    for role in aggregate {
        line(out, &format!("    rbac.authorization.k8s.io/aggregate-to-{role}: \"true\""));
    }
}

fn rule(out: &mut String, rule: &Rule) {
    line(out, &format!("- apiGroups: [\"{}\"]", rule.group));
    line(out, &format!("  resources: [{}]", rule.resources.join(", ")));
    if !rule.names.is_empty() {
        line(out, &format!("  resourceNames: [{}]", rule.names.join(", ")));
    }
    line(out, &format!("  verbs: [{}]", rule.verbs.join(", ")));
}

fn binding(out: &mut String, role: &Role, kind: &str) {
    line(out, &format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding"));
    metadata(out, role.name, role.system_only, &[]);
    let name = role.name;
    line(out, &format!("roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}"));
    line(out, &format!("subjects:\n- {{kind: ServiceAccount, name: {name}, namespace: {NAMESPACE}}}"));
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
