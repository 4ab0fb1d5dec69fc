//! What an Environment gives to its desktops and what it keeps from them: programs, limits, a runtime, the network; and what is said of one
//! that cannot be had.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case, MINUTE,
    common::{Desk, condition, is_true},
};

pub const CASES: &[Case] = &[
    ("each environment of the catalogue is ready and its desktop has what it promises", the_catalogue),
    ("limits hold in the containers and a request that no node can take is named", limits),
    (
        "an environment whose runtime is missing says so and its desktop starts once it is there",
        runtime_class,
    ),
    ("a desktop reaches what its environment allows and a person cannot open what is special", egress),
];

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
const SMALL: &str = "resources: {requests: {cpu: 1m, memory: 64Mi}, limits: {cpu: 1500m, memory: 768Mi}}";

fn workspace(desk: &Desk, name: &str, spec: &str) -> Result<()> {
    desk.apply(&format!("{HEAD}Workspace\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"))
}

fn ready(desk: &Desk, name: &str) -> Result<Value> {
    desk.until(&format!("Workspace {name} is ready"), 2 * MINUTE, |d| {
        d.get("workspace", name).filter(|w| is_true(w, "Ready"))
    })
}

fn shell(desk: &Desk, workspace: &str, container: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{workspace}-desktop"), "-c", container, "--", "sh", "-c", script])
}

fn delete(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    desk.kubectl(&["delete", kind, name, "--timeout=90s"]).map(drop)
}

/// Waits until the Workspace gives this reason, and returns what it says.
fn says(desk: &Desk, name: &str, reason: &str) -> Result<String> {
    desk.until(&format!("Workspace {name} says {reason}"), Duration::from_secs(20), |d| {
        let found = d.get("workspace", name)?;
        let all = found["status"]["conditions"].as_array()?;
        let said = all.iter().find(|c| c["reason"] == reason)?;
        Some(said["message"].as_str().unwrap_or_default().to_owned())
    })
}

fn the_catalogue(desk: &Desk) -> Result<()> {
    let programs: [(&str, &[&str]); 3] = [
        ("desktop", &["chromium", "python3"]),
        ("office", &["soffice", "qpdf", "pdftotext"]),
        ("code", &["git", "node", "python3", "geany"]),
    ];
    for (environment, programs) in programs {
        desk.until(&format!("Environment {environment} is ready"), MINUTE, |d| {
            d.get("environment", environment).filter(|e| is_true(e, "Ready")).map(drop)
        })?;
        let name = format!("has-{environment}");
        workspace(desk, &name, &format!("environment: {environment}, {SMALL}"))?;
        ready(desk, &name)?;
        for program in programs {
            let look = format!("command -v {program}");
            shell(desk, &name, "agent", &look).with_context(|| format!("{environment} has no {program}"))?;
        }
        desk.until("the Environment counts it", MINUTE, |d| {
            let counted = d.get("environment", environment)?["status"]["readyWorkspaces"].as_i64()?;
            (counted >= 1).then_some(())
        })?;
        delete(desk, "workspace", &name)?;
    }
    Ok(())
}

fn limits(desk: &Desk) -> Result<()> {
    workspace(desk, "bounds", &format!("environment: desktop, {SMALL}"))?;
    ready(desk, "bounds")?;
    // The second version of control groups, or the first.
    let group = "cd /sys/fs/cgroup; cat memory.max cpu.max 2>/dev/null \
        || cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us";
    for container in ["desktop", "agent"] {
        let found = shell(desk, "bounds", container, group)?;
        ensure!(
            found.split_whitespace().eq(["805306368", "150000", "100000"]),
            "{container} is held to its limits: {found}"
        );
    }
    let stays =
        shell(desk, "bounds", "desktop", "touch /usr/x 2>&1; id -u; cat /proc/1/status | grep NoNewPrivs")?;
    ensure!(stays.contains("Read-only") && stays.contains("\n1000\n") && stays.contains("\t1"), "{stays}");
    delete(desk, "workspace", "bounds")?;

    workspace(
        desk,
        "boundless",
        "environment: desktop, resources: {requests: {cpu: \"900\", memory: 64Mi}}",
    )?;
    let said = says(desk, "boundless", "Unschedulable")?;
    ensure!(said.contains("Insufficient cpu"), "{said}");
    delete(desk, "workspace", "boundless")
}

fn runtime_class(desk: &Desk) -> Result<()> {
    let kubectl = desk.cluster().kubectl();
    let mut own: Value =
        serde_json::from_str(&kubectl.run(&["get", "environment", "desktop", "-o", "json"])?)?;
    own["metadata"] = json!({"name": "contained"});
    own.as_object_mut().map(|o| o.remove("status"));
    own["spec"]["match"] = Value::Null;
    own["spec"]["pod"]["runtimeClassName"] = "sturdy".into();
    kubectl.apply(&own.to_string())?;
    desk.until("the Environment names what is missing", Duration::from_secs(20), |d| {
        let found = d.get("environment", "contained")?;
        let said = condition(&found, "Ready")? == ("False".into(), "RuntimeClassNotFound".into());
        (said && found["status"]["conditions"].to_string().contains("sturdy")).then_some(())
    })?;
    workspace(desk, "contained", &format!("environment: contained, {SMALL}"))?;
    let said = says(desk, "contained", "RuntimeClassNotFound")?;
    ensure!(said.contains("sturdy"), "{said}");
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sturdy"}, "handler": "runc"});
    kubectl.apply(&class.to_string())?;
    ready(desk, "contained")?;
    let pod = desk.get("pod", "contained-desktop").context("the pod")?;
    ensure!(pod["spec"]["runtimeClassName"] == "sturdy", "{}", pod["spec"]);
    desk.until("the Environment is ready", MINUTE, |d| {
        d.get("environment", "contained").filter(|e| is_true(e, "Ready")).map(drop)
    })?;
    delete(desk, "workspace", "contained")?;
    kubectl.run(&["delete", "environment/contained", "runtimeclass/sturdy"]).map(drop)
}

/// The rules are objects; who enforces them is the cluster's network.
fn egress(desk: &Desk) -> Result<()> {
    let kubectl = desk.cluster().kubectl();
    let mut own: Value =
        serde_json::from_str(&kubectl.run(&["get", "environment", "desktop", "-o", "json"])?)?;
    own["metadata"] = json!({"name": "walled"});
    own.as_object_mut().map(|o| o.remove("status"));
    own["spec"]["match"] = Value::Null;
    own["spec"]["egress"] = json!({"allow": [{"cidr": "10.20.0.0/16", "ports": [443]}]});
    kubectl.apply(&own.to_string())?;
    workspace(
        desk,
        "walled",
        &format!("environment: walled, {SMALL}, egress: {{allow: [{{cidr: 9.9.9.9/32, ports: [853]}}]}}"),
    )?;
    ready(desk, "walled")?;
    let policies = desk.list("networkpolicies");
    let policy = policies
        .iter()
        .find(|p| p["metadata"]["ownerReferences"][0]["name"] == "walled")
        .context("a NetworkPolicy")?;
    let spec = &policy["spec"];
    ensure!(spec["policyTypes"] == json!(["Ingress", "Egress"]), "{spec}");
    let out = spec["egress"].as_array().context("rules")?;
    let blocks: Vec<_> = out.iter().filter_map(|rule| rule["to"][0]["ipBlock"]["cidr"].as_str()).collect();
    ensure!(blocks == ["10.20.0.0/16", "9.9.9.9/32"] && out.len() == 3, "DNS and what is allowed: {spec}");
    ensure!(
        out[0]["ports"].as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|p| p["port"] == 53)),
        "the first is DNS: {spec}"
    );
    let from = &spec["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"];
    ensure!(from["kubernetes.io/metadata.name"] == "a8s-system", "only the control plane gets in: {spec}");

    // The metadata service of a cloud, and the API server by its own address, although the internet is open.
    let server = kubectl.run(&[
        "get",
        "endpointslices",
        "-n",
        "default",
        "-l",
        "kubernetes.io/service-name=kubernetes",
        "-o",
        "jsonpath={.items[0].endpoints[0].addresses[0]}",
    ])?;
    for (name, address) in [("sneaks", "169.254.169.254"), ("knocks", server.trim())] {
        workspace(
            desk,
            name,
            &format!("environment: walled, {SMALL}, egress: {{allow: [{{cidr: {address}/32}}]}}"),
        )?;
        let said = says(desk, name, "InvalidSpec")?;
        ensure!(said.contains(address) && said.contains("only an administrator may allow"), "{said}");
        ensure!(
            desk.get("pod", &format!("{name}-desktop")).is_none(),
            "no desktop with such a rule is started"
        );
        delete(desk, "workspace", name)?;
    }
    delete(desk, "workspace", "walled")?;
    kubectl.run(&["delete", "environment/walled"]).map(drop)
}
