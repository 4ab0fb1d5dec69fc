//! Requests that change something, whose answers are not read but for the resource version. An answer is the whole object otherwise: the API
//! server would write it and this process read it, for nothing.

use http::header::{ACCEPT, HeaderValue};
use kube::{
    Api, Error, Resource,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, PartialObjectMeta, Request},
};
use serde::Serialize;

use crate::{
    context::Context,
    stores::{Lean, version},
};

/// Metadata only: <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Where objects of a kind are.
pub struct Place {
    /// The kind.
    pub resource: ApiResource,
    /// Nothing for cluster-scoped kinds.
    pub namespace: Option<String>,
}

impl Place {
    /// Where this one is.
    pub fn of(target: &a8s_plan::Target) -> Self {
        let resource = crate::execute::resource(&target.api_version, &target.kind);
        Self { resource, namespace: Some(target.namespace.clone()).filter(|n| !n.is_empty()) }
    }

    /// All of them.
    pub fn api(&self, ctx: &Context) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(ctx.client.clone(), namespace, &self.resource),
            None => Api::all_with(ctx.client.clone(), &self.resource),
        }
    }

    /// Makes one; its resource version.
    ///
    /// # Errors
    ///
    /// As [`Api::create`].
    pub async fn create(
        &self,
        ctx: &Context,
        params: &PostParams,
        object: &impl Serialize,
    ) -> Result<u64, Error> {
        let body = serde_json::to_vec(object).map_err(Error::SerdeError)?;
        send(ctx, self.request().create(params, body)).await
    }

    /// Changes one; its resource version.
    ///
    /// # Errors
    ///
    /// As [`Api::patch`].
    pub async fn patch<P: Serialize>(
        &self,
        ctx: &Context,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<u64, Error> {
        send(ctx, self.request().patch(name, params, patch)).await
    }

    /// Changes the status of one; its resource version.
    ///
    /// # Errors
    ///
    /// As [`Api::patch_status`].
    pub async fn patch_status<P: Serialize>(
        &self,
        ctx: &Context,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<u64, Error> {
        send(ctx, self.request().patch_subresource("status", name, params, patch)).await
    }

    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&self.resource, self.namespace.as_deref()))
    }
}

async fn send(
    ctx: &Context,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<u64, Error> {
    let mut request = request.map_err(Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA);
    let answer: Lean<PartialObjectMeta<DynamicObject>> = ctx.client.request(request).await?;
    Ok(version(&answer.0))
}
