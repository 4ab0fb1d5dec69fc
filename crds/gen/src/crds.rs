//! CustomResourceDefinitions, plain and as templates of the chart.

use std::collections::BTreeMap;

use a8s_crds::definitions;
use anyhow::Result;

use crate::HEADER;

/// Adds both forms of every definition.
pub fn outputs(out: &mut BTreeMap<String, String>) -> Result<()> {
    for mut crd in definitions::all() {
        let plural = crd.spec.names.plural.clone();
        out.insert(format!("crds/yaml/{plural}.yaml"), format!("{HEADER}{}", yaml(&crd)?));
        // Objects of people must not go with the chart that once brought their definition.
        let keep = [("helm.sh/resource-policy".to_owned(), "keep".to_owned())];
        crd.metadata.annotations.get_or_insert_default().extend(keep);
        let body = yaml(&crd)?.replace("{{", "{{ \"{{\" }}");
        let text = format!("{HEADER}{{{{- if .Values.crds.enabled }}}}\n{body}{{{{- end }}}}\n");
        out.insert(format!("charts/a8s/templates/crds/{plural}.yaml"), text);
    }
    Ok(())
}

fn yaml(value: &impl serde::Serialize) -> Result<String> {
    // Through a JSON value, so that keys are in order whatever the type's field order. Sorted here, since other crates of one build may turn
    // on serde_json's `preserve_order`.
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    let mut text = serde_saphyr::to_string(&value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
