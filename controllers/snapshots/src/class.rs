//! Which VolumeSnapshotClass a claim is snapshotted with.
//!
//! In this order: the name given in the Snapshot; the claim's annotation, if that class is of the right driver; a class with Velero's
//! label; the cluster's default class; the only class of the driver. For label and default annotation Velero looks at the key only.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::VolumeSnapshotClass;

/// Annotation on a claim that names a class.
pub const CLAIM_ANNOTATION: &str = "velero.io/csi-volumesnapshot-class";
/// Label on the class to use for its driver.
pub const CLASS_LABEL: &str = "velero.io/csi-volumesnapshot-class";
/// Annotation on the default class of a driver.
pub const DEFAULT_ANNOTATION: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// Why there is no choice, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// The named class is not there.
    #[error("VolumeSnapshotClass {0} does not exist; create it, or leave spec.snapshotClassName out")]
    NotFound(String),
    /// The named class is of another driver.
    #[error(
        "VolumeSnapshotClass {name} is of driver {found}, but the volume is of {wanted}; name a class of {wanted}"
    )]
    WrongDriver {
        /// The class.
        name: String,
        /// Its driver.
        found: String,
        /// The volume's driver.
        wanted: String,
    },
    /// No class of the driver.
    #[error(
        "no VolumeSnapshotClass has driver {0}; create one, or use a StorageClass whose driver can take snapshots"
    )]
    None(String),
    /// Several, and nothing says which.
    #[error(
        "{count} VolumeSnapshotClasses have driver {driver}; put the label {CLASS_LABEL} on one, or set spec.snapshotClassName"
    )]
    Ambiguous {
        /// The driver.
        driver: String,
        /// How many.
        count: usize,
    },
}

/// Chooses among `classes` for a volume of `driver`; `named` is the Snapshot's own wish.
pub fn choose<'a>(
    classes: &'a [VolumeSnapshotClass],
    driver: &str,
    named: Option<&str>,
    claim_annotations: &BTreeMap<String, String>,
) -> Result<&'a VolumeSnapshotClass, ClassError> {
    let by_name = |name: &str| classes.iter().find(|c| c.name_any() == name);
    if let Some(name) = named {
        let class = by_name(name).ok_or_else(|| ClassError::NotFound(name.to_owned()))?;
        if class.driver != driver {
            return Err(ClassError::WrongDriver {
                name: name.to_owned(),
                found: class.driver.clone(),
                wanted: driver.to_owned(),
            });
        }
        return Ok(class);
    }
    let annotated = claim_annotations.get(CLAIM_ANNOTATION).and_then(|name| by_name(name));
    if let Some(class) = annotated.filter(|c| c.driver == driver) {
        return Ok(class);
    }
    let mut fitting: Vec<_> = classes.iter().filter(|c| c.driver == driver).collect();
    fitting.sort_by_key(|c| c.name_any());
    let labelled = fitting.iter().find(|c| c.labels().contains_key(CLASS_LABEL));
    let default = || fitting.iter().find(|c| c.annotations().contains_key(DEFAULT_ANNOTATION));
    if let Some(class) = labelled.or_else(default) {
        return Ok(class);
    }
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Err(ClassError::None(driver.to_owned())),
        several => Err(ClassError::Ambiguous { driver: driver.to_owned(), count: several.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, driver: &str, marks: &[&str]) -> VolumeSnapshotClass {
        let mut class = VolumeSnapshotClass {
            driver: driver.into(),
            deletion_policy: "Delete".into(),
            ..VolumeSnapshotClass::default()
        };
        class.metadata.name = Some(name.into());
        for mark in marks {
            match *mark {
                "label" => class.labels_mut().insert(CLASS_LABEL.into(), "anything".into()),
                "default" => class.annotations_mut().insert(DEFAULT_ANNOTATION.into(), "true".into()),
                other => panic!("{other}"),
            };
        }
        class
    }

    fn chosen(
        classes: &[VolumeSnapshotClass],
        named: Option<&str>,
        annotation: Option<&str>,
    ) -> Result<String, ClassError> {
        let annotations =
            annotation.map(|a| (CLAIM_ANNOTATION.to_owned(), a.to_owned())).into_iter().collect();
        choose(classes, "d", named, &annotations).map(ResourceExt::name_any)
    }

    #[test]
    fn a_class_is_chosen_in_the_order_of_velero() {
        // What it shows, the classes, the name given, the claim's annotation, the class chosen.
        type Row<'a> = (&'a str, &'a [VolumeSnapshotClass], Option<&'a str>, Option<&'a str>, &'a str);
        let all = [
            class("other", "e", &["label", "default"]),
            class("plain", "d", &[]),
            class("default", "d", &["default"]),
            class("labelled", "d", &["label"]),
        ];
        let table: [Row; 7] = [
            ("the named one comes first", &all, Some("plain"), Some("default"), "plain"),
            ("then the claim's annotation", &all, None, Some("plain"), "plain"),
            ("an annotation of another driver is passed over", &all, None, Some("other"), "labelled"),
            ("an annotation that names nothing is passed over", &all, None, Some("nothing"), "labelled"),
            ("then the label", &all, None, None, "labelled"),
            ("then the default", &all[..3], None, None, "default"),
            ("then the only one of the driver", &all[..2], None, None, "plain"),
        ];
        for (what, classes, named, annotation, expected) in table {
            assert_eq!(chosen(classes, named, annotation).as_deref(), Ok(expected), "{what}");
        }
    }

    #[test]
    fn without_a_choice_the_error_says_what_to_do() {
        let all = [class("a", "d", &[]), class("b", "d", &[]), class("c", "e", &["label"])];
        assert_eq!(chosen(&all, None, None), Err(ClassError::Ambiguous { driver: "d".into(), count: 2 }));
        assert_eq!(chosen(&all[2..], None, None), Err(ClassError::None("d".into())));
        assert_eq!(chosen(&all, Some("x"), None), Err(ClassError::NotFound("x".into())));
        assert!(matches!(chosen(&all, Some("c"), None), Err(ClassError::WrongDriver { .. })));
        assert!(chosen(&all, None, None).unwrap_err().to_string().contains(CLASS_LABEL));
    }

    #[test]
    fn kinds_are_read_as_the_snapshot_controller_writes_them() {
        let content: crate::VolumeSnapshotContent = serde_json::from_value(serde_json::json!({
            "apiVersion": crate::API_VERSION, "kind": "VolumeSnapshotContent", "metadata": {"name": "snapcontent-1"},
            "spec": {"deletionPolicy": "Delete", "driver": "d", "source": {"volumeHandle": "v"}, "sourceVolumeMode": "Filesystem",
                "volumeSnapshotRef": {"apiVersion": crate::API_VERSION, "kind": "VolumeSnapshot", "name": "s", "namespace": "n", "uid": "u"}},
            "status": {"creationTime": 1_700_000_000_000_000_000_i64, "readyToUse": true, "restoreSize": 1024, "snapshotHandle": "h"},
        }))
        .unwrap();
        assert_eq!(content.handle(), Some("h"));
        assert_eq!(content.taken_at().unwrap().as_second(), 1_700_000_000);
    }
}
