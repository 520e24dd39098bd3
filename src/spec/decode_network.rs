//! Turns the node `network` into types. What the machine can do, and whether a name exists, is not its question.

use crate::spec::destination::{self, Destination};
use crate::spec::diagnostic::Finding;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::shaping::{self, Bandwidth, Loss};
use crate::spec::tree::Entry;
use crate::spec::value_network::{self, form};
use crate::spec::{Bridge, MOST_RESOLVERS, Network, Protocol, Publish, Rules};
use crate::units::{Origin, Spanned};

const CHILDREN: [&str; 7] = ["allow", "deny", "publish", "bandwidth", "latency", "loss", "dns"];

/// The children that come once.
const SINGLE: [&str; 3] = ["bandwidth", "latency", "loss"];

#[derive(Debug, Clone, Copy)]
enum Mode {
    None,
    Host,
    Egress,
    Bridge,
}

/// Returns what the node says, and whether somebody has read its block.
pub(crate) fn network(reader: &mut Reader<'_, '_>) -> (Option<Network>, Children) {
    let modes = [("none", Mode::None), ("host", Mode::Host), ("egress", Mode::Egress), ("bridge", Mode::Bridge)];
    let mode = reader.argument("`none`, `host`, `egress` or `bridge`").and_then(|it| reader.choice(it, &modes));
    match mode {
        None => {
            // What stands in the block belongs to a mode that is not known.
            reader.disregard();
            (None, Children::Read)
        }
        Some(Mode::None) => (Some(Network::None), Children::None),
        Some(Mode::Host) => (Some(Network::Host), Children::None),
        Some(Mode::Egress) => (Some(Network::Egress(rules(reader))), Children::Read),
        Some(Mode::Bridge) => {
            let name = reader.argument_read("a name", value_network::bridge, form::BRIDGE);
            let address = reader.property_read("address", value_network::address, form::ADDRESS);
            let rules = rules(reader);
            (name.map(|name| Network::Bridge(Bridge { name, address, rules })), Children::Read)
        }
    }
}

fn rules(reader: &mut Reader<'_, '_>) -> Rules {
    let mut rules = Rules::default();
    let mut seen: Vec<&str> = Vec::new();
    for node in reader.node.children.iter().flatten() {
        let name = node.name.as_ref();
        if reader.out.is_full() {
            break;
        }
        if !CHILDREN.contains(&name) {
            let message = format!("`network` has no child `{}`", shorten(name));
            reader.out.push(unknown(node.name_span, message, name, CHILDREN.into_iter()));
            continue;
        }
        if seen.contains(&name) && SINGLE.contains(&name) {
            reader
                .out
                .push(Finding::new(node.name_span, format!("the node `{name}` comes twice")).label("the second one"));
            continue;
        }
        seen.push(name);
        let mut inner = Reader::new(node, reader.out);
        child(&mut inner, &mut rules);
        inner.finish(Children::None);
    }
    rules
}

fn child(reader: &mut Reader<'_, '_>, rules: &mut Rules) {
    match reader.node.name.as_ref() {
        "allow" => destinations(reader, &mut rules.allow),
        "deny" => destinations(reader, &mut rules.deny),
        "publish" => {
            if let Some(publish) = publish(reader, &rules.publish) {
                rules.publish.push(reader.spanned(publish));
            }
        }
        "bandwidth" => {
            let rate = reader.argument_read("a bandwidth", Bandwidth::parse, shaping::BANDWIDTH);
            rules.bandwidth = rate.map(|it| reader.spanned(it));
        }
        "latency" => {
            let time = reader.argument_read("a time", shaping::latency, shaping::LATENCY);
            rules.latency = time.map(|it| reader.spanned(it));
        }
        "loss" => {
            let share = reader.argument_read("a share", Loss::parse, shaping::LOSS);
            rules.loss = share.map(|it| reader.spanned(it));
        }
        _ => {
            for entry in reader.arguments("the address of a resolver") {
                let address = reader.read(entry, value_network::resolver, form::RESOLVER);
                rules.dns.extend(address.map(|it| Spanned::new(it, Origin::Spec(entry.span))));
                // One for all that follow.
                if rules.dns.len() == MOST_RESOLVERS + 1 {
                    let message = format!("`dns` takes {MOST_RESOLVERS} addresses at most");
                    reader.out.push(Finding::new(entry.span, message).label("one too many: it would never be asked"));
                }
            }
        }
    }
}

fn destinations(reader: &mut Reader<'_, '_>, list: &mut Vec<Spanned<Destination>>) {
    for entry in reader.arguments("a destination") {
        let Some(found) = destination(reader, entry) else { continue };
        if list.iter().any(|it| it.value == found) {
            let finding = Finding::new(entry.span, format!("this `{}` comes twice", reader.node.name));
            reader.out.push(finding.label("the second one"));
        }
        list.push(Spanned::new(found, Origin::Spec(entry.span)));
    }
}

fn destination(reader: &mut Reader<'_, '_>, entry: &Entry<'_>) -> Option<Destination> {
    let text = reader.text(entry)?;
    match Destination::parse(text) {
        Ok(found) => Some(found),
        Err(wrong) => {
            let finding = Finding::new(entry.value_span, wrong.message);
            reader.out.push(if wrong.hint == destination::FORM {
                finding.label("no destination").help(wrong.hint)
            } else {
                finding.label(wrong.hint)
            });
            None
        }
    }
}

fn publish(reader: &mut Reader<'_, '_>, others: &[Spanned<Publish>]) -> Option<Publish> {
    let entry = reader.argument("an address of the host")?;
    let outside = match &entry.value {
        crate::spec::literal::Value::Integer(number) => {
            let result = value_network::outside(&number.to_string());
            reader.result(entry, result, form::OUTSIDE)
        }
        _ => reader.read(entry, value_network::outside, form::OUTSIDE),
    };
    let inside = reader.argument("a port inside").and_then(|it| reader.number(it, 1..=u64::from(u16::MAX)));
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocol = reader.property_choice("protocol", &protocols).map_or(Protocol::Tcp, |it| it.value);
    let publish = Publish { outside: outside?, inside: u16::try_from(inside?).ok()?, protocol };
    if others.iter().any(|it| (it.value.outside, it.value.protocol) == (publish.outside, protocol)) {
        let finding = Finding::new(entry.span, format!("`{}` is published twice", publish.outside));
        reader.out.push(finding.label("the second one"));
    }
    Some(publish)
}
