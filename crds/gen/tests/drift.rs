//! What is committed is what the types say, and the definitions keep the promises that a server-side apply relies on.

use a8s_crds::definitions;
use a8s_gen::rules::ROLES;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

#[test]
fn generated_files_are_up_to_date() {
    let drift = a8s_gen::drift(&a8s_gen::repository()).unwrap();
    assert!(drift.is_empty(), "run `make gen`, these differ: {drift:#?}");
}

#[test]
fn every_list_says_how_two_writers_share_it_and_every_field_of_ours_is_explained() {
    let mut missing = Vec::new();
    for crd in definitions::all() {
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        walk(&crd.spec.names.kind, &schema, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn walk(path: &str, schema: &JSONSchemaProps, missing: &mut Vec<String>) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        if field.type_.as_deref() == Some("array") && field.x_kubernetes_list_type.is_none() {
            missing.push(format!("{path}: list type"));
        }
        let outer = ["spec", "status"].contains(&name.as_str());
        if !outer && field.description.as_deref().unwrap_or_default().is_empty() {
            missing.push(format!("{path}: description"));
        }
        walk(&path, field, missing);
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
            walk(&format!("{path}[]"), item, missing);
        }
    }
}

#[test]
fn a_fresh_object_is_not_taken_for_finished() {
    for crd in definitions::all() {
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        let status = &schema.properties.unwrap()["status"];
        assert_eq!(status.default.as_ref().unwrap().0["observedGeneration"], -1, "{}", crd.spec.names.kind);
    }
}

#[test]
fn at_most_eight_columns_are_shown_without_wide() {
    for crd in definitions::all() {
        let columns = crd.spec.versions[0].additional_printer_columns.clone().unwrap();
        let narrow = columns.iter().filter(|c| c.priority.unwrap_or(0) == 0).count();
        assert!(narrow <= 8, "{} shows {narrow} columns", crd.spec.names.kind);
    }
}

#[test]
fn no_role_has_a_wildcard_and_the_console_has_no_role() {
    for role in ROLES {
        assert_ne!(role.name, "a8s-console", "the console acts with the user's token only");
        for rule in role.rules {
            let words = [rule.resources, rule.verbs, rule.names, &[rule.group]].concat();
            assert!(words.iter().all(|w| !w.contains('*')), "{}: {rule:?}", role.name);
        }
    }
}

#[test]
fn a_viewer_changes_nothing_and_nobody_but_the_controller_makes_artifacts() {
    let verbs = |role: &str, resource: &str| -> Vec<&str> {
        let rules = ROLES.iter().filter(|r| r.name == role).flat_map(|r| r.rules);
        rules.filter(|r| r.resources.contains(&resource)).flat_map(|r| r.verbs.iter().copied()).collect()
    };
    let viewer = ROLES.iter().find(|r| r.name == "a8s-viewer").unwrap();
    assert!(viewer.rules.iter().flat_map(|r| r.verbs).all(|v| ["get", "list", "watch"].contains(v)));
    assert!(!verbs("a8s-user", "artifacts").contains(&"create"));
    assert!(verbs("a8s-controller", "artifacts").contains(&"create"));
    assert_eq!(verbs("a8s-viewer", "workspaces/desktop"), ["get"]);
}

#[test]
fn a_user_may_bring_the_data_of_a_session_and_name_it() {
    let user = ROLES.iter().find(|r| r.name == "a8s-user").unwrap();
    let may = |group: &str, resource: &str, verb: &str| {
        let rules = user.rules.iter().filter(|r| r.group == group && r.resources.contains(&resource));
        rules.flat_map(|r| r.verbs).any(|v| *v == verb)
    };
    // What the webhook asks of the creator before the controller uses what an object names.
    for (group, resource) in
        [("", "configmaps"), ("a8s.dev", "artifacts"), ("a8s.dev", "snapshots"), ("a8s.dev", "workspaces")]
    {
        assert!(may(group, resource, "get"), "{resource}");
    }
    assert!(may("", "configmaps", "create"));
    for verb in ["update", "patch", "delete"] {
        assert!(!may("", "configmaps", verb), "other people's ConfigMaps are none of its business: {verb}");
    }
}

#[test]
fn a_viewer_sees_all_that_a_read_only_console_shows() {
    let viewer = ROLES.iter().find(|r| r.name == "a8s-viewer").unwrap();
    let may = |resource: &str, verb: &str| {
        viewer.rules.iter().any(|r| r.resources.contains(&resource) && r.verbs.contains(&verb))
    };
    for kind in ["artifacts", "environments", "messages", "sessions", "snapshots", "workspaces"] {
        assert!(["get", "list", "watch"].iter().all(|verb| may(kind, verb)), "{kind}");
    }
    // A ticket for viewing, and a download.
    assert!(may("workspaces/desktop", "get") && may("artifacts/content", "get"));
}
