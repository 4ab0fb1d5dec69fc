//! Downloads. What an agent made is never trusted: it leaves as an attachment, in a sandbox of its own, under a media type that browsers
//! do not run, however it is called.

use std::{fmt::Write, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use object_store::ObjectStoreExt;

use crate::{
    errors::Refusal,
    login::User,
    objects::{Kind, named},
    server::Console,
};

/// Asks the API server whether the client's person may do `verb` on `resource/subresource`.
pub async fn may(
    client: &Client,
    verb: &str,
    (resource, subresource): (&str, &str),
    (namespace, name): (&str, &str),
) -> Result<bool, Refusal> {
    let attributes = ResourceAttributes {
        group: Some(a8s_crds::GROUP.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()),
        verb: Some(verb.into()),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status;
    Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}

/// `GET /api/namespaces/{ns}/artifacts/{a}/content`.
pub async fn download(
    State(console): State<Arc<Console>>,
    user: User,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    named(&[&namespace, &name])?;
    let artifact = Kind::Artifact.api(&user.client, &namespace).get(&name).await?;
    if !may(&user.client, "get", ("artifacts", "content"), (&namespace, &name)).await? {
        let text = format!("{} may not get artifacts/content {namespace}/{name}", user.name);
        return Err(Refusal::forbidden("Forbidden", text));
    }
    let missing = |text: &str| Refusal::new(StatusCode::NOT_FOUND, "NotStored", text);
    let key = artifact.data["status"]["key"].as_str();
    let key = key.ok_or_else(|| missing("the content is not stored yet; see the Artifact's conditions"))?;
    let spec = &artifact.data["spec"];
    // Status is the controller's to write; a key of another Artifact means that somebody else wrote it.
    let sha256 = spec["sha256"].as_str().unwrap_or_default();
    if key != format!("{namespace}/{}/{sha256}", artifact.uid().unwrap_or_default()) {
        tracing::warn!(namespace, name, "the key in the status of an Artifact is not its own");
        return Err(Refusal::forbidden(
            "ForeignKey",
            "the Artifact's status names content that is not its own",
        ));
    }
    let found =
        console.store.get(&object_store::path::Path::from(key)).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => missing("the content is gone from the artifact store"),
            error => {
                tracing::warn!(%error, "the artifact store does not answer");
                Refusal::unavailable("the artifact store does not answer; try again")
            }
        })?;
    let size = found.meta.size;
    let headers = [
        (header::CONTENT_TYPE, media_type(spec["mediaType"].as_str().unwrap_or_default()).to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_DISPOSITION, disposition(spec["fileName"].as_str().unwrap_or(&name))),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
        (header::ACCEPT_RANGES, "none".to_owned()),
    ];
    Ok((headers, Body::from_stream(found.into_stream())).into_response())
}

/// Types that no browser runs anything for; everything else is just bytes.
fn media_type(claimed: &str) -> &'static str {
    const HARMLESS: [&str; 8] = [
        "application/pdf",
        "application/zip",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
    ];
    let bare = claimed.split(';').next().unwrap_or_default().trim();
    HARMLESS.into_iter().find(|kind| kind.eq_ignore_ascii_case(bare)).unwrap_or("application/octet-stream")
}

/// RFC 6266 with an ASCII name for old programs and the true one as RFC 5987 wants it.
fn disposition(name: &str) -> String {
    // Characters that turn the direction of text make `fdp.exe` of `exe.pdf`.
    let hidden = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let name: String =
        name.chars().filter(|c| !hidden(c)).map(|c| if matches!(c, '/' | '\\') { '_' } else { c }).collect();
    let name = name.trim_start_matches('.').trim();
    let name = if name.is_empty() { "artifact" } else { name };
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let ascii: String = name.chars().map(|c| if simple(c) { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_quotes_or_its_folder() {
        for bad in
            ["a\"; filename=b.html", "a\r\nSet-Cookie: x", "../../etc/passwd", "..\\x", "", "\u{202e}fdp.exe"]
        {
            let text = disposition(bad);
            assert_eq!(text.matches('"').count(), 2, "{text}");
            assert!(!text.contains(['\r', '\n', '/', '\\', '\u{202e}']), "{text}");
            assert!(
                text.starts_with("attachment; filename=\"")
                    && !text.contains("\"..")
                    && !text.contains("\"\""),
                "{text}"
            );
        }
        let text = disposition("Bericht für Köln.pdf");
        assert_eq!(
            text,
            "attachment; filename=\"Bericht f_r K_ln.pdf\"; filename*=UTF-8''Bericht%20f%C3%BCr%20K%C3%B6ln.pdf"
        );
    }

    #[test]
    fn what_a_browser_could_run_is_just_bytes() {
        for kind in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/javascript",
            "",
            "text/xml; x=application/pdf",
        ] {
            assert_eq!(media_type(kind), "application/octet-stream", "{kind}");
        }
        assert_eq!(media_type("text/CSV; charset=utf-8"), "text/csv");
    }
}
