//! Addresses of the cluster itself. A desktop that may use the internet must not reach them by it: on many clouds the API server
//! answers on a public address.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};

/// Where the API server says that it answers, and `more` that an administrator named.
///
/// It is read once at start: a cluster whose API server moves restarts what talks to it.
pub async fn addresses(client: &Client, more: &[IpNet]) -> Vec<IpNet> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let mut all = more.to_vec();
    match slices.get("kubernetes").await {
        Ok(slice) => all.extend(endpoints(&slice)),
        Err(error) => {
            tracing::warn!(%error, "the API server's own addresses are not known; name them in networkPolicies.protect");
        }
    }
    all.sort();
    all.dedup();
    all
}

fn endpoints(slice: &EndpointSlice) -> Vec<IpNet> {
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    addresses.filter_map(|address| address.parse::<IpAddr>().ok()).map(IpNet::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_the_api_server_is_one_host() {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "endpoints": [{"addresses": ["34.1.2.3"]}, {"addresses": ["34.1.2.4", "not one"]}],
        }))
        .unwrap();
        let found: Vec<String> = endpoints(&slice).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["34.1.2.3/32", "34.1.2.4/32"]);
    }
}
