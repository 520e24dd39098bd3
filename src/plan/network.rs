//! The network of a sandbox that is let out: what is made inside, so that whatever the command asks for arrives at
//! sbx, and by which rules sbx lets it out. What those rules mean is the gateway's affair.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Inputs, Redirection};
use crate::plan::way::{Deed, Doors, Published};
use crate::plan::{MapWriter, Op, Step};
use crate::spec::{Destination, HostPattern, IpBlock, Mount, Network, Ports, Protocol, Publish, RESOLVER, Rules, Spec};
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
    pub doors: Doors,
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
        doors: match inputs.facts.redirection {
            Redirection::There => Doors::One,
            Redirection::Missing(_) => Doors::Each(listed(rules)),
        },
        published,
        bridge,
    })
}

/// Returns what makes the way out, from inside: to be done when `lo` is up, with all capabilities.
#[must_use]
pub fn steps(inputs: Inputs<'_>) -> Vec<Step> {
    let (Some(way), Some(network)) = (way(inputs), &inputs.spec.network) else { return Vec::new() };
    let Way { families, doors, published, .. } = way;
    let led = match doors {
        Doors::One => Deed::Intercept {
            host: host_loopback(&way.rules),
            besides: way.bridge.iter().filter_map(|bridge| bridge.address).collect(),
        },
        Doors::Each(_) => Deed::SilencePings { families: families.clone() },
    };
    let deeds = [Deed::AnyAddress { families: families.clone() }, led, Deed::OpenInlets { families, doors, published }];
    deeds.into_iter().map(|deed| Step { op: Op::Way(deed), origin: network.origin }).collect()
}

/// How many ports can be listened at where all of them cannot be led to one: four sockets for each have to fit into
/// the 1024 files that a process may have open, and be under way at once.
const MOST_DOORS: usize = 128;

/// Where names are asked for.
const NAMES: u16 = 53;

/// Returns what is published at one of `doors`: who comes there would be taken for the sandbox, and let out by its
/// rules.
fn published_at<'r>(rules: &'r Rules, doors: &[u16]) -> Option<&'r Spanned<Publish>> {
    rules.publish.iter().find(|publish| doors.contains(&publish.value.inside))
}

/// Returns the ports that rules name, and that of names.
fn listed(rules: &Rules) -> Vec<u16> {
    let ranges = rules.allow.iter().filter_map(|rule| match &rule.value.ports {
        Ports::All => None,
        Ports::Some(ranges) => Some(ranges.iter().cloned()),
    });
    let ports: BTreeSet<u16> = ranges.flatten().flatten().chain([NAMES]).collect();
    ports.into_iter().collect()
}

/// Checks that the rules can be had of this kernel, and with what else the spec says.
///
/// # Errors
/// A rule, or another thing of the spec, for which the kernel would have to lead all ports to one; and what would be
/// published where sbx itself listens.
pub fn check(inputs: Inputs<'_>) -> Result<()> {
    let Some(way) = way(inputs) else { return Ok(()) };
    if let Some(publish) = published_at(&way.rules, &[PORT]) {
        let message = format!("the port {PORT} inside is sbx's own: what leaves the sandbox is taken there");
        return Err(Error::new(Kind::Spec, message).with_hint("choose another port inside").at(publish.origin));
    }
    let Redirection::Missing(errno) = inputs.facts.redirection else { return Ok(()) };
    let refused = |origin, what: String, instead: &str| {
        let message = format!("{what} needs nf_tables with TPROXY, which this kernel does not have");
        let hint = format!("as root: `modprobe -a nf_tables nft_tproxy`{instead}");
        Err(Error::new(Kind::Host, message).with_errno(errno).with_hint(hint).at(origin))
    };
    if let Some(bridge) = &way.bridge {
        return refused(bridge.origin, format!("the bridge `{}`", bridge.name), "");
    }
    if let Some(capability) = inputs.over_mounts() {
        let what = "a way out with the capability `SYS_ADMIN`".to_owned();
        return refused(capability.origin, what, ", or remove the capability");
    }
    if let Some(rule) = way.rules.allow.iter().find(|rule| rule.value.ports == Ports::All) {
        return refused(rule.origin, format!("`{}`, with all ports,", rule.value), ", or write the ports: `:80,443`");
    }
    if let Some(publish) = published_at(&way.rules, &listed(&way.rules)) {
        let port = publish.value.inside;
        let door = if port == NAMES { "sbx answers for names" } else { "a rule lets the sandbox out" };
        let what = format!("`publish` to the port {port} inside, at which {door},");
        return refused(publish.origin, what, ", or choose another port inside");
    }
    let count = way.doors.count();
    if count > MOST_DOORS {
        let origin = way.rules.allow.first().map_or(Origin::Default, |rule| rule.origin);
        return refused(origin, format!("a way out to {count} ports"), &format!(", or write {MOST_DOORS} at most"));
    }
    Ok(())
}

/// Returns what is not as it would be with a newer kernel.
#[must_use]
pub fn caution(inputs: Inputs<'_>) -> Option<String> {
    let Doors::Each(_) = way(inputs)?.doors else { return None };
    Some(
        "this kernel has no nf_tables with TPROXY: what goes to ports that no rule names is refused without a line in \
         the report, and the command cannot listen at ports that a rule names"
            .to_owned(),
    )
}

/// Returns what of the loopback's addresses the rules write out.
fn host_loopback(rules: &Rules) -> Vec<(IpAddr, u8, RangeInclusive<u16>)> {
    const ANY: RangeInclusive<u16> = 1..=u16::MAX;
    let mut found = Vec::new();
    for rule in &rules.allow {
        let HostPattern::Block(block) = &rule.value.host else { continue };
        if block.network().is_loopback() {
            let ranges = match &rule.value.ports {
                Ports::All => std::slice::from_ref(&ANY),
                Ports::Some(ranges) => ranges,
            };
            found.extend(ranges.iter().map(|ports| (block.network(), block.prefix(), ports.clone())));
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
        let message =
            "with the capability `SYS_ADMIN` a sandbox makes its network when sbx can no longer connect it to a bridge";
        return refused(message, hint);
    }
    let rules = inputs.spec.network.as_ref().and_then(|network| network.value.rules());
    rules.map_or(Ok(()), |rules| held(rules, &bridge, bridge.address))?;
    Ok(vec![Step {
        op: Op::Way(Deed::JoinBridge { name: bridge.name, address: bridge.address }),
        origin: bridge.origin,
    }])
}

/// The first 32 bits of the IPv6 addresses on all bridges.
pub const BESIDE: u32 = 0xfd73_6278;

/// Checks that all that `rules` deny goes through sbx: what goes from one sandbox on a bridge to another does not.
/// `address` is the place on the bridge, as far as it is known.
///
/// # Errors
/// A block with addresses of the bridge. Of IPv6, one of nothing but such addresses: they cannot be chosen, and a larger
/// one is about others.
pub fn held(rules: &Rules, bridge: &Bridge, address: Option<(IpAddr, u8)>) -> Result<()> {
    let beside = IpBlock::new(Ipv6Addr::from(u128::from(BESIDE) << 96).into(), 32);
    let own = address.map(|(address, prefix)| IpBlock::around(address, prefix));
    let in_vain = |rule: &&Spanned<Destination>| {
        let HostPattern::Block(block) = rule.value.host else { return false };
        let overlaps = |own: IpBlock| block.is_within(own) || own.is_within(block);
        own.is_some_and(overlaps) || beside.is_some_and(|beside| block.is_within(beside))
    };
    let Some(rule) = rules.deny.iter().find(in_vain) else { return Ok(()) };
    let name = &bridge.name;
    let message =
        format!("`deny` of `{}` cannot be held towards the other sandboxes on the bridge `{name}`", rule.value);
    let hint = "what they say to each other does not leave: put who must not be reached on another bridge, and for a \
                block of others give this one an `address` outside of it";
    Err(Error::new(Kind::Spec, message).with_hint(hint).at(rule.origin))
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
/// lie over them.
///
/// # Errors
/// None: the paths are such.
pub fn add_files(spec: &mut Spec) -> Result<()> {
    let Some(network) = spec.network.as_ref().filter(|network| network.value.rules().is_some()) else { return Ok(()) };
    let origin = network.origin;
    let name = spec.hostname.as_ref().map_or("sbx", |name| name.value.as_str());
    let texts = [
        format!("nameserver {RESOLVER}\n"),
        format!("127.0.0.1 localhost {name}\n::1 localhost ip6-localhost ip6-loopback\n"),
    ];
    let mut files = Vec::with_capacity(2);
    for (path, text) in FILES.into_iter().zip(texts) {
        let destination = AbsPath::new(path).map_err(|_| Error::new(Kind::Bug, "a path that is none"))?;
        if !spec.mounts.iter().any(|mount| *mount.value.destination() == destination) {
            files.push(Spanned::new(Mount::File { destination, text, mode: Some(0o644) }, origin));
        }
    }
    spec.mounts.splice(0..0, files);
    Ok(())
}

/// Returns which of the mounts [`add_files`] has added.
#[must_use]
pub fn files(spec: &Spec) -> Vec<usize> {
    let Some(network) = spec.network.as_ref().filter(|network| network.value.rules().is_some()) else {
        return Vec::new();
    };
    let added =
        |mount: &Spanned<Mount>| mount.origin == network.origin && FILES.contains(&mount.value.destination().as_str());
    (0..spec.mounts.len()).take(FILES.len()).filter(|number| added(&spec.mounts[*number])).collect()
}

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
