//! The pod itself.

use super::*;

fn made() -> Value {
    serde_json::to_value(with_pod().pod).unwrap()
}

fn mounts(container: &Value) -> Vec<(&str, &str)> {
    let all = container["volumeMounts"].as_array().unwrap().iter();
    all.map(|m| (m["name"].as_str().unwrap(), m["mountPath"].as_str().unwrap())).collect()
}

#[test]
fn the_pod_fits_pod_security_restricted() {
    let pod = made();
    let spec = &pod["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        assert!(spec[field].is_null(), "{field}");
    }
    for volume in spec["volumes"].as_array().unwrap() {
        let kinds: Vec<_> = volume.as_object().unwrap().keys().filter(|k| *k != "name").collect();
        assert!(matches!(kinds[0].as_str(), "emptyDir" | "secret" | "persistentVolumeClaim"), "{kinds:?}");
    }
    for container in spec["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert!(security["privileged"].is_null());
        assert!(container["ports"].as_array().is_none_or(|p| p.iter().all(|p| p["hostPort"].is_null())));
    }
}

#[test]
fn nothing_in_the_pod_can_speak_to_the_api_server() {
    let pod = made();
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
    assert!(pod["spec"]["serviceAccountName"].is_null());
}

#[test]
fn the_agent_sees_neither_the_desktop_nor_a_key() {
    let pod = made();
    let [desktop, agent, runner] = [0, 1, 2].map(|i| &pod["spec"]["containers"][i]);
    assert_eq!(mounts(agent), [("volume", "/home/agent"), ("acp", "/run/a8s/acp"), ("agent-tmp", "/tmp")]);
    assert!(mounts(desktop).contains(&("desk", "/run/a8s/desk")));
    assert!(!mounts(desktop).contains(&("acp", "/run/a8s/acp")));
    assert!(mounts(runner).contains(&("volume", "/state")));
    assert!(!mounts(desktop).contains(&("volume", "/state")));
    assert_eq!(runner["securityContext"]["runAsUser"], 1001);
    assert_eq!(runner["securityContext"]["runAsGroup"], 1000);
}

#[test]
fn every_volume_is_mounted_and_every_mount_has_a_volume() {
    let pod = made();
    let mut volumes: Vec<_> =
        pod["spec"]["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let mut mounted: Vec<_> = containers.iter().flat_map(mounts).map(|(name, _)| name).collect();
    volumes.sort_unstable();
    mounted.sort_unstable();
    mounted.dedup();
    assert_eq!(volumes, mounted);
}

#[test]
fn the_harness_of_the_environment_is_run_and_the_built_in_one_without_it() {
    let command = |environment: Environment| {
        let mut observed = fresh(json!({}));
        (observed.binding, observed.environment) = (Binding::WaitForFirstConsumer, Some(environment));
        pass(&mut observed, 0);
        serde_json::to_value(observed.pod).unwrap()["spec"]["containers"][1]["command"].clone()
    };
    let shim = "/usr/libexec/a8s/shim";
    assert_eq!(command(environment()), json!([shim, "serve", "--", "/usr/libexec/a8s/agent"]));
    let mut other = environment();
    let harnesses =
        json!([{"name": "a", "command": ["/a"]}, {"name": "b", "default": true, "command": ["/b", "--acp"]}]);
    other.spec.harnesses = serde_json::from_value(harnesses).unwrap();
    assert_eq!(command(other), json!([shim, "serve", "--", "/b", "--acp"]));
}

#[test]
fn the_session_that_owns_the_workspace_is_known_in_the_pod() {
    let mut observed = fresh(json!({"desktop": {"width": 1024, "height": 768}}));
    observed.binding = Binding::WaitForFirstConsumer;
    let session = json!([{"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "talk", "uid": "s", "controller": true}]);
    observed.workspace.metadata.owner_references = serde_json::from_value(session).unwrap();
    pass(&mut observed, 0);
    let pod = serde_json::to_value(observed.pod).unwrap();
    for container in pod["spec"]["containers"].as_array().unwrap() {
        let variables = container["env"].as_array().unwrap();
        assert!(variables.contains(&json!({"name": "A8S_SESSION", "value": "talk"})));
        assert!(variables.contains(&json!({"name": "A8S_DESKTOP_GEOMETRY", "value": "1024x768"})));
        assert!(variables.contains(&json!({"name": "A8S_WORKSPACE_UID", "value": UID})));
        assert!(variables.contains(&json!({"name": "A8S_EPOCH", "value": "0"})));
    }
    assert_eq!(pod["metadata"]["labels"]["a8s.dev/session"], "talk");
}

#[test]
fn the_environment_says_which_way_the_clipboard_goes_and_only_the_desktop_hears_of_it() {
    for (rule, expected) in
        [(None, None), (Some("Both"), None), (Some("In"), Some("In")), (Some("None"), Some("None"))]
    {
        let mut observed = fresh(json!({}));
        observed.binding = Binding::WaitForFirstConsumer;
        if let Some(rule) = rule {
            observed.environment.as_mut().unwrap().spec.clipboard =
                serde_json::from_value(json!(rule)).unwrap();
        }
        pass(&mut observed, 0);
        let pod = serde_json::to_value(observed.pod).unwrap();
        for container in pod["spec"]["containers"].as_array().unwrap() {
            let variables = container["env"].as_array().unwrap();
            let said = variables.iter().find(|variable| variable["name"] == "A8S_DESKTOP_CLIPBOARD");
            let said = said.and_then(|variable| variable["value"].as_str());
            assert_eq!(said, expected.filter(|_| container["name"] == "desktop"), "{rule:?}");
        }
    }
}

#[test]
fn the_environment_says_on_which_nodes_and_under_which_runtime_it_runs() {
    let mut observed = fresh(json!({}));
    observed.binding = Binding::WaitForFirstConsumer;
    let settings =
        json!({"runtimeClassName": "gvisor", "userNamespace": true, "nodeSelector": {"desktops": "yes"}});
    observed.environment.as_mut().unwrap().spec.pod = Some(serde_json::from_value(settings).unwrap());
    pass(&mut observed, 0);
    let spec = &serde_json::to_value(observed.pod).unwrap()["spec"];
    assert_eq!(spec["runtimeClassName"], "gvisor");
    assert_eq!(spec["hostUsers"], false);
    assert_eq!(spec["nodeSelector"], json!({"desktops": "yes"}));
}

#[test]
fn egress_that_a_person_may_not_open_keeps_the_pod_from_being_made_and_is_named() {
    let mut observed = fresh(json!({"egress": {"allow": [{"cidr": "169.254.169.254/32"}]}}));
    observed.binding = Binding::WaitForFirstConsumer;
    pass(&mut observed, 0);
    assert!(observed.pod.is_none());
    assert_eq!(reason(&observed, ConditionType::Ready), "InvalidSpec");
    let conditions = &status(&observed).conditions;
    assert!(conditions.iter().any(|c| c.type_ == "Stalled" && c.message.contains("169.254.169.254/32")));
}

#[test]
fn a_desktop_keeps_what_it_may_reach_when_its_environment_is_gone() {
    let mut observed = fresh(json!({}));
    let internet = a8s_crds::Egress { internet: true, allow: Vec::new() };
    observed.environment.as_mut().unwrap().spec.egress = Some(internet);
    pass(&mut observed, 0);
    let before = observed.network_policy.clone();
    assert!(serde_json::to_string(&before).unwrap().contains("169.254.0.0/16"));
    observed.environment = None;
    pass(&mut observed, 1);
    assert_eq!(observed.network_policy, before);
}
