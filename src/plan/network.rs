//! The network of a sandbox that is let out: what is made inside, so that whatever the command asks for arrives at
//! sbx, and by which rules sbx lets it out. What those rules mean is the gateway's affair.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::Inputs;
use crate::plan::way::{Deed, Published};
use crate::plan::{MapWriter, Op, Step};
use crate::spec::RESOLVER;
use crate::spec::{HostPattern, Mount, Network, Ports, Protocol, Rules, Spec};
use crate::sys::net::Family;
use crate::units::{AbsPath, Origin, Spanned};

/// Where the inlets listen inside. Nothing else is there that could, and nobody without capabilities can.
pub const PORT: u16 = 1;

/// What sbx marks its own packets with, so that they are not led to sbx again.
pub const MARK: u32 = 0x0073_6278;

/// The way out of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The word of the language for it.
    pub mode: &'static str,
    pub rules: Rules,
    /// What the inlets were opened for.
    pub families: Vec<Family>,
    pub published: Published,
    pub bridge: Option<Bridge>,
}

/// A bridge that the sandbox is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// `None` is picked when the run starts.
    pub address: Option<(IpAddr, u8)>,
    /// The name by which the others find the sandbox.
    pub hostname: String,
    pub origin: Origin,
}

/// Returns the way out, if the spec has one.
#[must_use]
pub fn way(inputs: Inputs<'_>) -> Option<Way> {
    let network = &inputs.spec.network.as_ref()?.value;
    let rules = network.rules()?;
    let connections = rules.publish.iter().any(|it| it.value.protocol == Protocol::Tcp);
    let published = if connections { Published::Tcp } else { Published::Nothing };
    let bridge = bridge(inputs.spec);
    Some(Way {
        mode: network.as_str(),
        rules: rules.clone(),
        families: inputs.facts.families.clone(),
        published,
        bridge,
    })
}

/// Returns what makes the way out, from inside: to be done when `lo` is up, with all capabilities.
#[must_use]
pub fn steps(inputs: Inputs<'_>) -> Vec<Step> {
    let (Some(way), Some(network)) = (way(inputs), &inputs.spec.network) else { return Vec::new() };
    let step = |deed| Step { op: Op::Way(deed), origin: network.origin };
    vec![
        step(Deed::AnyAddress { families: way.families.clone() }),
        step(Deed::Intercept {
            host: host_loopback(&way.rules),
            besides: way.bridge.iter().filter_map(|bridge| bridge.address).collect(),
        }),
        step(Deed::OpenInlets { families: way.families, published: way.published }),
    ]
}

/// Returns what of the loopback's addresses the rules write out.
fn host_loopback(rules: &Rules) -> Vec<(IpAddr, u8, RangeInclusive<u16>)> {
    let mut found = Vec::new();
    for rule in &rules.allow {
        let HostPattern::Block(block) = &rule.value.host else { continue };
        if block.network().is_loopback() {
            let ranges = match &rule.value.ports {
                Ports::All => vec![1..=u16::MAX],
                Ports::Some(ranges) => ranges.clone(),
            };
            found.extend(ranges.into_iter().map(|ports| (block.network(), block.prefix(), ports)));
        }
    }
    found
}

/// Returns the step by which the command may ping; not where its network is made later, when the host is gone.
#[must_use]
pub fn pings(inputs: Inputs<'_>) -> Option<Step> {
    let network = inputs.spec.network.as_ref().filter(|network| network.value.rules().is_some())?;
    inputs.over_mounts().is_none().then_some(Step { op: Op::Way(Deed::AllowPings), origin: network.origin })
}

/// Returns the steps that make the interface to the bridge ready: when sbx has made it, which is before the child has
/// its ids.
///
/// # Errors
/// A bridge that this caller cannot have, or not with what else the spec says.
pub fn bridge_steps(inputs: Inputs<'_>) -> Result<Vec<Step>> {
    let Some(bridge) = bridge(inputs.spec) else { return Ok(Vec::new()) };
    let refused = |message: &str, hint: &str| Err(Error::new(Kind::Spec, message).with_hint(hint).at(bridge.origin));
    if !inputs.facts.host.caller.is_root() {
        return refused(
            "only root can connect a sandbox to a bridge",
            "run sbx as root, or write `network \"egress\"`",
        );
    }
    if inputs.identity.writer != MapWriter::Parent {
        return refused("a bridge needs the namespace `user`", "add `user` to `namespaces`");
    }
    if inputs.over_mounts().is_some() {
        let hint = "remove `SYS_ADMIN` from `capabilities`, or write `network \"egress\"`";
        return refused("a sandbox whose mounts are locked has a network that sbx cannot reach", hint);
    }
    Ok(vec![Step {
        op: Op::Way(Deed::JoinBridge { name: bridge.name, address: bridge.address }),
        origin: bridge.origin,
    }])
}

fn bridge(spec: &Spec) -> Option<Bridge> {
    let network = spec.network.as_ref()?;
    let Network::Bridge(bridge) = &network.value else { return None };
    Some(Bridge {
        name: bridge.name.clone(),
        address: bridge.address.as_ref().map(|it| it.value),
        hostname: spec.hostname.as_ref().map_or("sbx", |name| name.value.as_str()).to_ascii_lowercase(),
        origin: network.origin,
    })
}

/// Adds the files by which the command finds the resolver, before the mounts that the spec names: one of these may
/// lie over them. `resolv_conf` is where the system looks for the first, without a link on the way.
pub fn add_files(spec: &mut Spec, resolv_conf: AbsPath) -> Result<()> {
    let Some(network) = spec.network.as_ref().filter(|network| network.value.rules().is_some()) else { return Ok(()) };
    let origin = network.origin;
    let hosts = AbsPath::new("/etc/hosts").map_err(|_| Error::new(Kind::Bug, "a path that is none"))?;
    let name = spec.hostname.as_ref().map_or("sbx", |name| name.value.as_str());
    let files = [
        (resolv_conf, format!("nameserver {RESOLVER}\n")),
        (hosts, format!("127.0.0.1 localhost {name}\n::1 localhost ip6-localhost ip6-loopback\n")),
    ];
    let own = |path: &AbsPath| spec.mounts.iter().any(|mount| mount.value.destination() == path);
    let files: Vec<_> = files.into_iter().filter(|(path, _)| !own(path)).collect();
    let file = |(destination, text)| Spanned::new(Mount::File { destination, text, mode: Some(0o644) }, origin);
    spec.mounts.splice(0..0, files.into_iter().map(file));
    Ok(())
}
