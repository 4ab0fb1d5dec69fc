//! Who may do what, as data. Every entry is a right that some code uses; there are no wildcards.

/// One rule of a Role or ClusterRole.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resources and subresources.
    pub resources: &'static [&'static str],
    /// Only objects of these names, if any are given.
    pub names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// A role and who gets it.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name, and that of the ServiceAccount that gets it.
    pub name: &'static str,
    /// Only in the system namespace.
    pub system_only: bool,
    /// What it is for.
    pub why: &'static str,
    /// Labels that add it to Kubernetes' own roles.
    pub aggregate: &'static [&'static str],
    /// Whether a ServiceAccount of the same name gets it.
    pub bound: bool,
    /// The rights.
    pub rules: &'static [Rule],
}

const A8S: &str = "a8s.dev";
const READ: &[&str] = &["get", "list", "watch"];
const CHILD: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

const fn rule(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { group, resources, names: &[], verbs }
}

const fn named(
    group: &'static str,
    resources: &'static [&'static str],
    names: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { group, resources, names, verbs }
}

/// Every role of the installation.
pub const ROLES: &[Role] = &[
    Role {
        name: "a8s-controller",
        system_only: false,
        why: "makes and follows what Sessions, Workspaces, Snapshots and Artifacts ask for",
        aggregate: &[],
        bound: true,
        rules: &[
            rule(A8S, &["environments"], &["get", "list", "patch", "update", "watch"]),
            // A Session is deleted when spec.lifecycle.deleteAfter is over, and never otherwise.
            rule(A8S, &["sessions"], &["delete", "get", "list", "patch", "update", "watch"]),
            rule(A8S, &["connections", "warmpools"], READ),
            // A Share is deleted some time after it has expired.
            rule(A8S, &["shares"], &["delete", "get", "list", "watch"]),
            // What a Share grants: nobody makes a Role with rights that he does not have, and this account may not either.
            rule(A8S, &["workspaces/desktop"], &["get", "update"]),
            rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], CHILD),
            rule(A8S, &["artifacts", "messages", "requests", "snapshots", "workspaces"], CHILD),
            rule(
                A8S,
                &[
                    "artifacts/status",
                    "connections/status",
                    "environments/status",
                    "messages/status",
                    "requests/status",
                    "sessions/status",
                    "shares/status",
                    "snapshots/status",
                    "warmpools/status",
                    "workspaces/status",
                ],
                &["get", "patch", "update"],
            ),
            rule(
                A8S,
                &[
                    "artifacts/finalizers",
                    "messages/finalizers",
                    "requests/finalizers",
                    "sessions/finalizers",
                    "shares/finalizers",
                    "snapshots/finalizers",
                    "warmpools/finalizers",
                    "workspaces/finalizers",
                ],
                &["update"],
            ),
            rule("", &["persistentvolumeclaims", "pods"], CHILD),
            rule("networking.k8s.io", &["networkpolicies"], CHILD),
            // No list and no watch: it knows the names of the Secrets that it makes, and of those that a Connection names.
            rule("", &["secrets"], &["create", "delete", "get", "patch", "update"]),
            rule("", &["configmaps"], READ),
            rule("", &["events"], READ),
            rule("", &["persistentvolumes"], READ),
            rule("", &["nodes"], READ),
            rule("node.k8s.io", &["runtimeclasses"], READ),
            // What the chat agent tells of is what the Session's creator may see.
            rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
            // Where the API server answers: no desktop reaches that as part of the internet.
            named("discovery.k8s.io", &["endpointslices"], &["kubernetes"], &["get"]),
            rule("storage.k8s.io", &["csinodes", "storageclasses"], READ),
            rule("snapshot.storage.k8s.io", &["volumesnapshots"], CHILD),
            rule("snapshot.storage.k8s.io", &["volumesnapshotcontents"], CHILD),
            rule("snapshot.storage.k8s.io", &["volumesnapshotclasses"], READ),
            rule("", &["events"], &["create", "patch"]),
            rule("events.k8s.io", &["events"], &["create", "get", "list", "patch", "watch"]),
        ],
    },
    Role {
        name: "a8s-controller",
        system_only: true,
        why: "is the only one at work, and publishes the certificate authority of desktops",
        aggregate: &[],
        bound: true,
        rules: &[
            rule("coordination.k8s.io", &["leases"], &["create", "get", "list", "patch", "update", "watch"]),
            rule("", &["configmaps"], &["create"]),
            named("", &["configmaps"], &["a8s-ca"], &["get", "patch", "update"]),
        ],
    },
    Role {
        name: "a8s-webhook",
        system_only: false,
        why: "asks whether the creator may use what an object refers to, and keeps its CA in its registrations",
        aggregate: &[],
        bound: true,
        rules: &[
            rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
            named(
                "admissionregistration.k8s.io",
                &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                &["a8s"],
                &["get", "patch", "update"],
            ),
        ],
    },
    Role {
        name: "a8s-webhook",
        system_only: true,
        why: "keeps its own certificate",
        aggregate: &[],
        bound: true,
        rules: &[
            rule("", &["secrets"], &["create"]),
            named("", &["secrets"], &["a8s-webhook-tls"], &["get", "patch", "update"]),
        ],
    },
    Role {
        name: "a8s-vnc-proxy",
        system_only: false,
        why: "finds out who asks for a desktop and whether they may see it",
        aggregate: &[],
        bound: true,
        rules: &[
            rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
            rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
            rule(A8S, &["workspaces"], &["get"]),
        ],
    },
    Role {
        name: "a8s-user",
        system_only: false,
        why: "works with a8s in the namespaces where it is bound",
        aggregate: &["edit"],
        bound: false,
        rules: &[
            rule(A8S, &["connections", "messages", "sessions", "snapshots", "workspaces"], CHILD),
            // A decision is made in the status; a policy sees to it that nothing else in there is written, and by nobody in another's name.
            rule(A8S, &["requests"], &["delete", "get", "list", "watch"]),
            rule(A8S, &["requests/status"], &["get", "patch", "update"]),
            // Whoever shares must have what is shared; a policy sees to it.
            rule(A8S, &["shares"], CHILD),
            // A pool costs what its desktops cost; the namespace's quota holds for it as for them.
            rule(A8S, &["warmpools"], CHILD),
            rule(A8S, &["warmpools/scale"], &["get", "patch", "update"]),
            // What is delivered is recorded by the controller alone.
            rule(A8S, &["artifacts"], &["delete", "get", "list", "watch"]),
            rule(A8S, &["environments"], READ),
            rule(A8S, &["workspaces/desktop"], &["get", "update"]),
            rule(A8S, &["artifacts/content"], &["get"]),
            // Attachments: the data of a Session comes along as a ConfigMap, and the webhook lets a Session name one only if its
            // creator may get it. The names of all are listed for a choice; changing and deleting is not part of it.
            rule("", &["configmaps"], &["create", "get", "list", "watch"]),
            rule("", &["events"], READ),
            rule("events.k8s.io", &["events"], READ),
        ],
    },
    Role {
        name: "a8s-snapshot-importer",
        system_only: false,
        why: "makes Snapshots of data that the storage backend has already, whoever it belongs to: for those who run the storage",
        aggregate: &[],
        bound: false,
        rules: &[rule(A8S, &["snapshots"], &["create", "import"])],
    },
    Role {
        name: "a8s-viewer",
        system_only: false,
        why: "watches without touching",
        aggregate: &["view"],
        bound: false,
        rules: &[
            rule(
                A8S,
                &[
                    "artifacts",
                    "connections",
                    "environments",
                    "messages",
                    "requests",
                    "sessions",
                    "shares",
                    "snapshots",
                    "warmpools",
                    "workspaces",
                ],
                READ,
            ),
            rule(A8S, &["workspaces/desktop"], &["get"]),
            rule(A8S, &["artifacts/content"], &["get"]),
        ],
    },
    Role {
        name: "a8s-catalogue",
        system_only: false,
        why: "lets everybody who is logged in choose an Environment",
        aggregate: &[],
        bound: false,
        rules: &[rule(A8S, &["environments"], READ)],
    },
];
