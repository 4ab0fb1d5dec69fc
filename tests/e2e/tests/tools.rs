//! Files for other tools: what k9s and Argo CD get has the shape that they read, and names only fields that exist.

use std::{collections::BTreeSet, path::Path};

use a8s_crds::definitions;
use serde_json::Value;

fn read(path: &str) -> String {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .to_path_buf();
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn k9s_shows_every_kind_with_columns_that_exist() {
    let views = yaml("config/k9s/views.yaml");
    assert_eq!(keys(&views), BTreeSet::from(["views"]));
    for crd in definitions::all() {
        let plural = &crd.spec.names.plural;
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("a schema");
        let view = &views["views"][format!("a8s.dev/v1alpha1/{plural}")];
        assert!(keys(view).is_subset(&BTreeSet::from(["columns", "sortColumn"])), "{plural}");
        let columns: Vec<&str> =
            view["columns"].as_array().expect("columns").iter().filter_map(Value::as_str).collect();
        let narrow =
            columns.iter().filter(|c| !c.rsplit_once('|').is_some_and(|(_, a)| a.contains('W'))).count();
        assert!(narrow <= 8, "{plural} shows {narrow} columns");
        let sort = view["sortColumn"].as_str().and_then(|s| s.split(':').next()).expect("a sort column");
        assert!(
            columns.iter().any(|c| c.split(['|', ':']).next() == Some(sort)),
            "{plural} has no column {sort}"
        );
        for path in
            columns.iter().filter_map(|c| c.split_once(":.")).map(|(_, p)| p.split('|').next().unwrap_or(p))
        {
            let mut at = &schema["openAPIV3Schema"];
            for step in path.split('.').take_while(|s| !s.contains('[')) {
                at = &at["properties"][step];
                assert!(!at.is_null(), "{plural} has no field {path}");
            }
        }
    }
}

#[test]
fn k9s_plugins_have_known_keys_and_what_changes_something_is_marked_dangerous() {
    let known = BTreeSet::from([
        "args",
        "background",
        "command",
        "confirm",
        "dangerous",
        "description",
        "inputs",
        "override",
        "overwriteOutput",
        "scopes",
        "shortCut",
    ]);
    let plugins = yaml("config/k9s/plugins.yaml");
    assert_eq!(keys(&plugins), BTreeSet::from(["plugins"]));
    let mut used = BTreeSet::new();
    for (name, plugin) in plugins["plugins"].as_object().expect("plugins") {
        assert!(keys(plugin).is_subset(&known), "{name}: {:?}", keys(plugin));
        for required in ["shortCut", "description", "scopes", "command"] {
            assert!(!plugin[required].is_null(), "{name} has no {required}");
        }
        let text = plugin["args"].to_string();
        let changes = ["patch", "create", "delete", "annotate"].iter().any(|verb| text.contains(verb));
        assert_eq!(plugin["dangerous"] == true, changes, "{name}");
        for scope in plugin["scopes"].as_array().expect("scopes") {
            assert!(
                used.insert((scope.to_string(), plugin["shortCut"].to_string())),
                "{name}: the key is taken"
            );
        }
    }
}

#[test]
fn argo_cd_knows_the_health_of_every_kind_and_has_the_same_scripts_as_the_folder() {
    let patch = yaml("config/argocd/argocd-cm.yaml");
    for crd in definitions::all() {
        let kind = &crd.spec.names.kind;
        let script = patch["data"][format!("resource.customizations.health.a8s.dev_{kind}")].as_str();
        assert_eq!(
            script.map(str::trim_end),
            Some(read(&format!("config/argocd/health/{kind}.lua")).trim_end()),
            "{kind}"
        );
    }
    assert_eq!(keys(&patch["data"]).len(), definitions::all().len());
    let application = yaml("config/argocd/application.yaml");
    assert_eq!(application["spec"]["source"]["path"], "charts/a8s");
}

#[test]
fn the_samples_data_fits_a_client_side_apply_and_is_attached() {
    let text = read("config/samples/seattle-report.yaml");
    assert!(text.len() < 200 * 1024, "kubectl writes it into an annotation of at most 256 KiB");
    let documents = serde_saphyr::from_multiple::<Value>(&text).expect("YAML");
    let rows = documents[0]["data"]["weather.csv"].as_str().expect("data").lines().count();
    assert_eq!(rows, 1 + 366 + 365 * 3, "a head and every day of 2012 to 2015");
    let attachment = &documents[1]["spec"]["attachments"][0];
    assert_eq!(attachment["configMap"]["name"], documents[0]["metadata"]["name"]);
    assert_eq!(attachment["configMap"]["key"], "weather.csv");
    assert_eq!(attachment["name"], "seattle-weather.csv");
}

#[test]
fn the_page_on_tests_names_tests_that_exist() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .to_path_buf();
    let mut sources = String::new();
    for folder in ["console", "controllers", "crds", "environments", "tests", "webhook"] {
        collect(&root.join(folder), &mut sources);
    }
    let page = read("docs/testing.md");
    let cells = page.lines().filter(|l| l.starts_with("| ")).filter_map(|l| l.split('|').nth(2));
    // Between every other pair of backticks.
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 50, "the tables are read: {}", names.len());
    for name in names {
        let (function, sentence) = (format!("fn {name}("), format!("\"{name}\""));
        assert!(sources.contains(&function) || sources.contains(&sentence), "there is no test {name}");
    }
}

fn collect(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "mjs") {
            into.push_str(&std::fs::read_to_string(&path).expect("a source"));
        }
    }
}
