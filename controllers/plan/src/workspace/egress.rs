//! What a desktop may reach, as rules of a NetworkPolicy: nothing but the cluster's DNS, what the Environment allows, and what the
//! Workspace allows besides.
//!
//! An administrator's Environment may name any address. A person's Workspace may not name what is special: the cluster's own
//! endpoint, metadata services, shared, private-use-by-a-provider and translated addresses, by which a desktop would become a way
//! into what surrounds it.

use a8s_crds::{Egress, EgressRule};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

/// Addresses that are not the public internet (IANA special-purpose registries, RFC 6890) or that a cloud answers on.
const SPECIAL: [&str; 31] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    // The metadata services of most clouds.
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // Azure's own resolver, agent and metadata.
    "168.63.129.16/32",
    // Unspecified, loopback and everything that embeds IPv4 without saying so.
    "::/8",
    // NAT64: any IPv4 address in other clothes.
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    // Teredo and protocol assignments.
    "2001::/23",
    "2001:db8::/32",
    // 6to4.
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // Metadata of AWS and GCP by IPv6, were they ever taken out of the ranges above.
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
];

/// Why a rule of a Workspace is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub String);

/// The `egress` of the NetworkPolicy. `protected` are addresses of the cluster itself, its API endpoint before all.
pub(crate) fn rules(
    environment: Option<&Egress>,
    workspace: Option<&Egress>,
    protected: &[IpNet],
) -> Result<Vec<Value>, Refused> {
    let mut rules = vec![dns()];
    let special: Vec<IpNet> =
        SPECIAL.iter().filter_map(|net| net.parse().ok()).chain(protected.iter().copied()).collect();
    if [environment, workspace].into_iter().flatten().any(|egress| egress.internet) {
        rules.push(json!({"to": [
            block(IpNet::V4(Ipv4Net::default()), &special),
            block(IpNet::V6(Ipv6Net::default()), &special),
        ]}));
    }
    for rule in environment.into_iter().flat_map(|egress| &egress.allow) {
        rules.push(allowed(rule, parse(rule)?, &[]));
    }
    for rule in workspace.into_iter().flat_map(|egress| &egress.allow) {
        let net = parse(rule)?;
        if let Some(reserved) = special.iter().find(|reserved| reserved.contains(&net)) {
            return Err(Refused(format!(
                "spec.egress.allow: {} is within {reserved}, which only an administrator may allow, in the Environment.",
                rule.cidr
            )));
        }
        rules.push(allowed(rule, net, &special));
    }
    Ok(rules)
}

fn parse(rule: &EgressRule) -> Result<IpNet, Refused> {
    let net: IpNet = rule.cidr.parse().map_err(|_| {
        Refused(format!("egress.allow: {} is not a CIDR such as 203.0.113.0/24 or 2001:db8::/64.", rule.cidr))
    })?;
    // What a rule is compared with must be what the network plugin makes of it.
    Ok(net.trunc())
}

fn allowed(rule: &EgressRule, net: IpNet, special: &[IpNet]) -> Value {
    let mut out = json!({"to": [block(net, special)]});
    if !rule.ports.is_empty() {
        out["ports"] = rule.ports.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
    }
    out
}

/// `net` without what of `special` lies in it.
fn block(net: IpNet, special: &[IpNet]) -> Value {
    let mut except: Vec<IpNet> =
        special.iter().filter(|other| net.contains(*other) && **other != net).copied().collect();
    // One that lies in another says nothing, and some plugins refuse it.
    let all = except.clone();
    except.retain(|one| !all.iter().any(|other| other != one && other.contains(one)));
    except.sort();
    except.dedup();
    let mut out = json!({"ipBlock": {"cidr": net.to_string()}});
    if !except.is_empty() {
        out["ipBlock"]["except"] = except.iter().map(ToString::to_string).collect();
    }
    out
}

/// The cluster's own resolver; another one would be a way out for data.
fn dns() -> Value {
    json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// Whether a network plugin that follows the specification would let a packet to `address` out.
    fn passes(rules: &[Value], address: &str, port: u16) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let holds = |net: &Value| net.as_str().unwrap().parse::<IpNet>().unwrap().contains(&address);
        rules.iter().any(|rule| {
            let ports = rule["ports"].as_array();
            let port = ports.is_none_or(|all| all.iter().any(|p| p["port"] == port));
            let to = rule["to"].as_array().unwrap().iter().any(|peer| {
                let block = &peer["ipBlock"];
                block.is_object()
                    && holds(&block["cidr"])
                    && !block["except"].as_array().into_iter().flatten().any(holds)
            });
            port && to
        })
    }

    fn internet() -> Egress {
        Egress { internet: true, allow: Vec::new() }
    }

    fn allow(cidr: &str, ports: &[i32]) -> Egress {
        Egress { internet: false, allow: vec![EgressRule { cidr: cidr.into(), ports: ports.into() }] }
    }

    #[test]
    fn without_a_word_nothing_but_dns_is_reached() {
        let rules = rules(None, None, &[]).unwrap();
        assert_eq!(rules.len(), 1);
        assert!(!passes(&rules, "8.8.8.8", 53) && !passes(&rules, "93.184.216.34", 443));
    }

    #[test]
    fn the_internet_is_public_addresses_only() {
        let api: IpNet = "34.120.7.7/32".parse().unwrap();
        let rules = rules(Some(&internet()), None, &[api]).unwrap();
        for public in
            ["1.1.1.1", "93.184.216.34", "168.63.129.17", "34.120.7.8", "2606:4700::1111", "100.128.0.1"]
        {
            assert!(passes(&rules, public, 443), "{public}");
        }
        let never = [
            "0.0.0.1",
            "10.0.0.1",
            "10.96.0.1",
            "100.64.0.1",
            "100.127.255.254",
            "127.0.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.20.10",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.251",
            "255.255.255.255",
            "168.63.129.16",
            "34.120.7.7",
            "::1",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a9fe:a9fe::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        assert!(never.len() >= 30);
        for special in never {
            assert!(!passes(&rules, special, 443), "{special}");
        }
    }

    #[test]
    fn an_administrator_may_allow_what_a_person_may_not() {
        let private = allow("10.1.2.3/32", &[5432]);
        let rules_of_admin = rules(Some(&private), None, &[]).unwrap();
        assert!(passes(&rules_of_admin, "10.1.2.3", 5432) && !passes(&rules_of_admin, "10.1.2.3", 22));
        let Refused(text) = rules(None, Some(&private), &[]).unwrap_err();
        assert!(text.contains("10.1.2.3/32") && text.contains("10.0.0.0/8"), "{text}");
        let Refused(text) = rules(None, Some(&allow("169.254.169.254/32", &[])), &[]).unwrap_err();
        assert!(text.contains("administrator"), "{text}");
    }

    #[test]
    fn a_wide_rule_of_a_person_has_holes_where_it_would_reach_what_is_special() {
        for wide in ["0.0.0.0/0", "128.0.0.0/1", "160.0.0.0/3", "0.0.0.0/1"] {
            let rules = rules(None, Some(&allow(wide, &[])), &[]).unwrap();
            for special in ["169.254.169.254", "168.63.129.16", "10.0.0.1", "127.0.0.1", "192.168.0.1"] {
                assert!(!passes(&rules, special, 80), "{wide} {special}");
            }
        }
    }

    #[test]
    fn host_bits_do_not_hide_what_a_rule_means() {
        let Refused(text) = rules(None, Some(&allow("169.254.169.254/20", &[])), &[]).unwrap_err();
        assert!(text.contains("169.254.0.0/16"), "{text}");
        assert!(rules(None, Some(&allow("300.1.1.1/8", &[])), &[]).is_err());
    }

    #[test]
    fn no_exception_lies_in_another() {
        let rules = rules(Some(&internet()), None, &[]).unwrap();
        for peer in rules[1]["to"].as_array().unwrap() {
            let nets: Vec<IpNet> = peer["ipBlock"]["except"]
                .as_array()
                .unwrap()
                .iter()
                .map(|net| net.as_str().unwrap().parse().unwrap())
                .collect();
            for one in &nets {
                assert!(!nets.iter().any(|other| other != one && other.contains(one)), "{one}");
            }
        }
    }
}
