//! What the chat agent can look into: the Session's attachments, and the names of the namespace's Artifacts. Never a key, never a file that
//! the Session does not name.

use a8s_crds::{Artifact, Attachment, Connection, ConnectionSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};
use object_store::ObjectStoreExt;

use super::access::Creator;
use crate::{context::Context, errors::Error};

/// So many bytes of a file are shown without asking.
pub const PREVIEW: usize = 4_096;
/// So many if the model asks for the file.
const WHOLE: usize = 48_000;
/// So many results of a search.
const RESULTS: usize = 20;

/// An attachment as the chat agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// File name.
    pub name: String,
    /// What it is, in a few words.
    pub kind: String,
    /// Bytes, where that is known.
    pub size: Option<u64>,
    /// How it begins, or all of it, where it is text.
    pub text: Option<String>,
}

impl Material {
    /// A line for the list, and how it begins.
    pub fn described(&self) -> String {
        let size = self.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
        let text = self.text.as_ref().map(|text| format!("\n```\n{text}\n```")).unwrap_or_default();
        format!("- {} ({}{size}){text}", self.name, self.kind)
    }
}

/// What this attachment is, with at most `most` bytes of its text.
pub async fn look(
    ctx: &Context,
    namespace: &str,
    attachment: &Attachment,
    most: usize,
) -> Result<Material, Error> {
    let name = attachment.name.clone();
    if let Some(text) = &attachment.text {
        return Ok(Material {
            size: Some(text.len() as u64),
            text: beginning(text.as_bytes(), most),
            kind: "text".into(),
            name,
        });
    }
    if let Some(source) = &attachment.config_map {
        let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
        let found = api.get_opt(&source.name).await?;
        let bytes = found.and_then(|mut map| {
            let text = map.data.as_mut().and_then(|data| data.remove(&source.key)).map(String::into_bytes);
            text.or_else(|| map.binary_data.as_mut().and_then(|data| data.remove(&source.key)).map(|b| b.0))
        });
        let kind = if bytes.is_some() { "file" } else { "file that is not there yet" };
        let size = bytes.as_ref().map(|bytes| bytes.len() as u64);
        return Ok(Material { name, kind: kind.into(), size, text: bytes.and_then(|b| beginning(&b, most)) });
    }
    if let Some(source) = &attachment.connection {
        let found =
            Api::<Connection>::namespaced(ctx.client.clone(), namespace).get_opt(&source.name).await?;
        let kind = found.map_or("Connection that is not there yet", |found| kind_of(&found.spec));
        return Ok(Material {
            name,
            kind: format!("Connection {}: {kind}", source.name),
            size: None,
            text: None,
        });
    }
    let source = attachment.artifact.as_ref().map(|a| a.name.clone()).unwrap_or_default();
    let found = Api::<Artifact>::namespaced(ctx.client.clone(), namespace).get_opt(&source).await?;
    let Some(found) = found else {
        return Ok(Material { name, kind: "file that is not there yet".into(), size: None, text: None });
    };
    let media = &found.spec.media_type;
    let readable = media.starts_with("text/") || media.ends_with("json") || media.ends_with("xml");
    let size = u64::try_from(found.spec.size).unwrap_or_default();
    let mut text = None;
    if let Some(key) = found.status.as_ref().and_then(|s| s.key.as_deref()).filter(|_| readable && size > 0) {
        let end = size.min(most as u64);
        let path = object_store::path::Path::from(key);
        text = beginning(&ctx.store.get_range(&path, 0..end).await?, most);
    }
    Ok(Material { name, kind: format!("{}, {media}", found.spec.title), size: Some(size), text })
}

/// The text of an attachment, as much as a model can take.
pub async fn read(ctx: &Context, namespace: &str, attachment: &Attachment) -> Result<String, Error> {
    let found = look(ctx, namespace, attachment, WHOLE).await?;
    let cut = found.size.is_some_and(|size| size > WHOLE as u64);
    let end = if cut { "\n[cut off; the agent will have the whole file]" } else { "" };
    Ok(found.text.map_or_else(
        || format!("{} is no text ({}); the agent in the desktop can open it", found.name, found.kind),
        |text| text + end,
    ))
}

/// Artifacts of the namespace whose name or title has one of these words, as far as the creator may get them; one a line.
pub async fn search(
    ctx: &Context,
    namespace: &str,
    creator: Option<&Creator>,
    query: &str,
) -> Result<Vec<String>, Error> {
    let all = Api::<Artifact>::namespaced(ctx.client.clone(), namespace).list(&ListParams::default()).await?;
    let mut found = matching(all.iter(), query);
    // So many that a search among what others may not see ends.
    found.truncate(RESULTS * 2);
    if let Some(creator) = creator {
        let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        let visible = creator.visible(&ctx.client, "artifacts", names).await?;
        found.retain(|(name, _)| visible.contains(name));
    }
    found.truncate(RESULTS);
    Ok(found.into_iter().map(|(_, line)| line).collect())
}

/// Names and lines of what has one of the words, the best first.
fn matching<'a>(all: impl Iterator<Item = &'a Artifact>, query: &str) -> Vec<(String, String)> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let mut found: Vec<(usize, String, String)> = all
        .filter_map(|artifact| {
            let spec = &artifact.spec;
            let name = artifact.name_any();
            let whole = format!("{name} {} {}", spec.title, spec.file_name).to_lowercase();
            let hits = words.iter().filter(|word| whole.contains(word.as_str())).count();
            let line = format!(
                "Artifact {name}: {} ({}, {}, {} bytes)",
                spec.title, spec.file_name, spec.media_type, spec.size
            );
            (hits > 0 || words.is_empty()).then_some((hits, name, line))
        })
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    found.into_iter().map(|(_, name, line)| (name, line)).collect()
}

/// What a Connection is.
pub fn kind_of(spec: &ConnectionSpec) -> &'static str {
    if spec.model.is_some() {
        "model"
    } else if spec.mcp.is_some() {
        "MCP server, its tools become the agent's"
    } else if spec.http.is_some() {
        "HTTP API"
    } else if spec.secret.is_some() {
        "secret in a file"
    } else {
        "documents"
    }
}

/// At most so many bytes of a text; nothing if it is none.
fn beginning(bytes: &[u8], most: usize) -> Option<String> {
    let cut = &bytes[..bytes.len().min(most)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text,
        // Cut within a character: what is before it is good.
        Err(error) if cut.len() - error.valid_up_to() < 4 && bytes.len() > cut.len() => {
            std::str::from_utf8(&cut[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_preview_is_text_or_nothing_and_never_half_a_character() {
        assert_eq!(beginning("abc".as_bytes(), 2).as_deref(), Some("ab"));
        assert_eq!(beginning("aü".as_bytes(), 2).as_deref(), Some("a"));
        assert_eq!(beginning(&[0xff, 0xfe, 0, 1], 4), None);
        assert_eq!(beginning(b"a\0b", 3), None);
    }

    #[test]
    fn a_search_finds_by_name_title_and_file_and_the_best_comes_first() {
        let artifact = |name: &str, title: &str| {
            let spec = json!({"workspace": {"name": "w", "uid": "u"}, "name": name, "version": 1, "title": title,
                "fileName": "f.pdf", "mediaType": "application/pdf", "size": 3, "sha256": "0", "turn": 1});
            Artifact::new(name, from_value(spec).unwrap())
        };
        let all = [
            artifact("rain-v1", "Rain"),
            artifact("q3-v1", "Rain figures of Q3"),
            artifact("cats-v1", "Cats"),
        ];
        let found = matching(all.iter(), "rain Q3");
        assert_eq!(found.len(), 2);
        assert!(found[0].1.starts_with("Artifact q3-v1"), "{found:?}");
        assert_eq!(matching(all.iter(), " ").len(), 3);
    }
}
