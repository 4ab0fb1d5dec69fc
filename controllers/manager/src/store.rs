//! The artifact store: opens it, brings content in with its SHA-256 computed on the way, takes content out. Content under a key is
//! complete and verified, or not there; what does not have the announced digest never becomes visible.

use std::sync::Arc;

use a8s_plan::Target;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path,
};
use sha2::{Digest, Sha256};

use crate::{context::Context, errors::Error};

/// Part size; object stores want at least 5 MiB.
const PART: usize = 8 << 20;

/// Why content is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address cannot be used.
    #[error("artifact store {url}: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The content is not what was announced.
    #[error("the content has SHA-256 {found}, expected {expected}")]
    Mismatch {
        /// Announced.
        expected: String,
        /// Received.
        found: String,
    },
    /// The sender broke off.
    #[error("the content broke off: {0}")]
    Source(String),
    /// The store refused.
    #[error("artifact store: {0}")]
    Store(#[from] object_store::Error),
}

/// Opens the store at `url`: `file:///path`; the folder is made if it is not there.
pub fn open(url: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let failed = |why: String| StoreError::Address { url: url.to_owned(), why };
    let Some(path) = url.strip_prefix("file://") else {
        return Err(failed("only file:///path is known".into()));
    };
    if !path.starts_with('/') {
        return Err(failed("the path must be absolute: file:///path".into()));
    }
    std::fs::create_dir_all(path).map_err(|e| failed(format!("the folder cannot be made: {e}")))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|e| failed(e.to_string()))?;
    Ok(Arc::new(store.with_automatic_cleanup(true)))
}

/// Brings a stream into the store; returns the size. Doing it twice leaves the same content.
pub async fn store_stream<S, E>(
    store: &dyn ObjectStore,
    key: &str,
    expected: &str,
    stream: S,
) -> Result<u64, StoreError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::fmt::Display,
{
    let mut upload = store.put_multipart(&Path::from(key)).await?;
    match send(upload.as_mut(), expected, stream).await {
        Ok(size) => {
            upload.complete().await?;
            Ok(size)
        }
        Err(error) => {
            if let Err(left) = upload.abort().await {
                tracing::warn!(key, error = %left, "an unfinished upload could not be taken back");
            }
            Err(error)
        }
    }
}

async fn send<S, E>(upload: &mut dyn MultipartUpload, expected: &str, stream: S) -> Result<u64, StoreError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::fmt::Display,
{
    let mut stream = std::pin::pin!(stream);
    let (mut digest, mut size, mut part) = (Sha256::new(), 0_u64, BytesMut::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| StoreError::Source(e.to_string()))?;
        digest.update(&chunk);
        size += chunk.len() as u64;
        part.extend_from_slice(&chunk);
        while part.len() >= PART {
            upload.put_part(PutPayload::from(part.split_to(PART).freeze())).await?;
        }
    }
    // An empty file still is one part.
    if !part.is_empty() || size == 0 {
        upload.put_part(PutPayload::from(part.freeze())).await?;
    }
    let found = hex::encode(digest.finalize());
    if found != expected {
        return Err(StoreError::Mismatch { expected: expected.to_owned(), found });
    }
    Ok(size)
}

/// Whether the key holds content of this size and digest. It is read whole.
pub async fn holds(
    store: &dyn ObjectStore,
    key: &str,
    size: u64,
    sha256: &str,
) -> Result<bool, object_store::Error> {
    let found = match store.get(&Path::from(key)).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        other => other?,
    };
    if found.meta.size != size {
        return Ok(false);
    }
    let (mut digest, mut stream) = (Sha256::new(), found.into_stream());
    while let Some(chunk) = stream.next().await {
        digest.update(&chunk?);
    }
    Ok(hex::encode(digest.finalize()) == sha256)
}

/// Deletes; that it is gone is success.
pub async fn delete(store: &dyn ObjectStore, key: &str) -> Result<(), object_store::Error> {
    match store.delete(&Path::from(key)).await {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// Why the content of an Artifact could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The runner could not be reached or refused.
    #[error(transparent)]
    Runner(#[from] Error),
    /// The content did not get into the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches the content of an Artifact from its runner into the store.
pub async fn fetch(
    ctx: &Context,
    artifact: &Target,
    workspace: &Target,
    sha256: &str,
    key: &str,
) -> Result<(), FetchError> {
    let at = crate::execute::address(ctx, workspace).await?;
    let response = ctx.pods.blob(&at, sha256).await.map_err(Error::from)?;
    let size = store_stream(ctx.store.as_ref(), key, sha256, response.bytes_stream()).await?;
    tracing::info!(artifact = artifact.name, namespace = artifact.namespace, size, "content stored");
    Ok(())
}

/// [`fetch`] as a step of a plan.
pub async fn store_content(
    ctx: &Context,
    artifact: &Target,
    workspace: &Target,
    sha256: &str,
    key: &str,
) -> Result<(), Error> {
    fetch(ctx, artifact, workspace, sha256, key).await.map_err(|error| match error {
        FetchError::Runner(error) => error,
        FetchError::Store(StoreError::Store(error)) => Error::Store(error),
        FetchError::Store(error) => Error::Other(error.to_string()),
    })
}

/// Deletes the content under a key.
pub async fn delete_content(ctx: &Context, key: &str) -> Result<(), Error> {
    Ok(delete(ctx.store.as_ref(), key).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(content: &[u8]) -> String {
        hex::encode(Sha256::digest(content))
    }

    fn chunks(content: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, String>> + use<> {
        futures::stream::iter(content.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect::<Vec<_>>())
    }

    fn folder() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&format!("file://{}/deep/store", dir.path().display())).unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn content_of_any_size_is_stored_verified_and_deleted() {
        let (_dir, store) = folder();
        for content in [Vec::new(), b"hello".to_vec(), vec![7; 2 * PART + 3]] {
            let digest = sha(&content);
            let stored =
                store_stream(store.as_ref(), "ns/uid/key", &digest, chunks(&content, 1 << 20)).await.unwrap();
            assert_eq!(stored, content.len() as u64);
            assert!(holds(store.as_ref(), "ns/uid/key", stored, &digest).await.unwrap());
            assert!(!holds(store.as_ref(), "ns/uid/key", stored + 1, &digest).await.unwrap());
            assert!(!holds(store.as_ref(), "ns/uid/key", stored, &sha(b"other")).await.unwrap());
        }
        delete(store.as_ref(), "ns/uid/key").await.unwrap();
        delete(store.as_ref(), "ns/uid/key").await.unwrap();
        assert!(!holds(store.as_ref(), "ns/uid/key", 0, &sha(b"")).await.unwrap());
    }

    #[tokio::test]
    async fn content_of_another_digest_never_becomes_visible() {
        let (_dir, store) = folder();
        let error =
            store_stream(store.as_ref(), "k", &sha(b"expected"), chunks(b"received", 3)).await.unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { found, .. } if found == sha(b"received")));
        assert!(matches!(store.head(&Path::from("k")).await, Err(object_store::Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_leaves_nothing() {
        let (_dir, store) = folder();
        let broken = futures::stream::iter([Ok(Bytes::from_static(b"half")), Err("connection reset")]);
        let error = store_stream(store.as_ref(), "k", &sha(b"half"), broken).await.unwrap_err();
        assert!(matches!(error, StoreError::Source(why) if why.contains("reset")));
        assert!(matches!(store.head(&Path::from("k")).await, Err(object_store::Error::NotFound { .. })));
    }

    #[test]
    fn an_unknown_address_is_refused_with_what_is_known() {
        for url in ["s3://bucket", "file://relative", "/plain"] {
            assert!(open(url).unwrap_err().to_string().contains("file:///path"), "{url}");
        }
    }
}
