//! A sandbox's place on a bridge that it shares with others. The bridge is in a network namespace in which nobody
//! runs, so that no frame of a sandbox reaches the host, and which is gone with the last sbx that holds it open. Who
//! is on it stands in files that each sbx holds a lock on: what nobody holds is left behind, and removed by the next.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::plan::network::Bridge;
use crate::run::links;
use crate::sys::process::{self, Pid};
use crate::sys::watch::{number, own, try_lock};
use crate::sys::{Errno, Sys, entry, net};

/// Where the bridges have their directories. Only root has bridges.
const PLACE: &str = "/run/sbx/bridge";

/// What the addresses of a bridge share if nobody has said one: the first sandbox decides.
const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 88, 0, 0), 24);

/// The bridge in its own network.
const NAME: &str = "bridge";

/// A place on a bridge.
#[derive(Debug)]
pub struct Member {
    pub address: (Ipv4Addr, u8),
    directory: PathBuf,
    entry: PathBuf,
    /// Held for the life of the run.
    _held: File,
    network: Network,
}

/// The network in which the bridge is.
#[derive(Debug)]
struct Network {
    namespace: File,
    /// To speak to its interfaces.
    socket: OwnedFd,
}

/// Another sandbox on the bridge.
#[derive(Debug)]
pub struct Neighbour {
    pub address: (Ipv4Addr, u8),
    pub name: String,
    /// Where its sbx has the network open: number of the process and of the descriptor.
    network: (u32, u32),
}

fn failed(what: &str, bridge: &str, source: &std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} the bridge `{bridge}`"), source).with_kind(Kind::Host)
}

impl Member {
    /// Takes a place: the address that the plan names, or a free one.
    ///
    /// # Errors
    /// An address that another sandbox has, or that is not of the bridge; what the kernel does not give.
    pub fn join(bridge: &Bridge) -> Result<Self> {
        let name = &bridge.name;
        let directory = Path::new(PLACE).join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| failed("keep a list of who is on", name, &source))?;
        let lock = File::open(&directory).map_err(|source| failed("look at", name, &source))?;
        lock.lock().map_err(|source| failed("lock", name, &source))?;
        let neighbours = neighbours(&directory);
        let address = choose(bridge, &neighbours)?;
        let network = match neighbours.iter().find_map(network_of) {
            Some(network) => network,
            None => new_network().map_err(|errno| failed("make", name, &errno.into()))?,
        };
        let entry = directory.join(format!("{}_{}", address.0, address.1));
        let held = written(&entry, &network.namespace, &bridge.hostname)
            .map_err(|source| failed("write down who is on", name, &source))?;
        Ok(Self { address, directory, entry, _held: held, network })
    }

    /// Connects the network of `child` to the bridge.
    ///
    /// # Errors
    /// The errno of the kernel.
    pub fn connect(&self, child: Pid) -> Sys<()> {
        let socket = number(&self.network.socket);
        let index = net::interface(socket, NAME)?;
        let port = format!("sbx{}", child.0);
        let messages = links::pair(&port, index, child.0.unsigned_abs());
        net::ask(socket, &messages.bytes)
    }

    /// Gives the place up; the kernel has removed the interfaces with the sandbox.
    pub fn leave(self) {
        std::fs::remove_file(&self.entry).ok();
        // Only the last one finds it empty.
        std::fs::remove_dir(&self.directory).ok();
    }

    /// Returns where the others are found.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Removes what killed runs left of bridges; returns the bridges that were nobody's.
#[must_use]
pub fn collect() -> Vec<PathBuf> {
    let places = std::fs::read_dir(PLACE).into_iter().flatten().flatten().map(|found| found.path());
    places.filter(|place| neighbours(place).is_empty() && std::fs::remove_dir(place).is_ok()).collect()
}

/// Returns who is there. An entry that nobody holds is removed.
#[must_use]
pub fn neighbours(directory: &Path) -> Vec<Neighbour> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(file) = File::open(entry.path()) else { continue };
        if try_lock(entry::number(&file)).is_ok() {
            std::fs::remove_file(entry.path()).ok();
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        found.extend(neighbour(&entry.file_name().to_string_lossy(), &text));
    }
    found
}

/// Reads `10.88.0.2_24` and `PID FD NAME`.
fn neighbour(file: &str, text: &str) -> Option<Neighbour> {
    let (address, prefix) = file.split_once('_')?;
    let mut words = text.split_whitespace();
    let network = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Neighbour { address: (address.parse().ok()?, prefix.parse().ok()?), name: words.next()?.to_owned(), network })
}

fn written(entry: &Path, network: &File, hostname: &str) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(entry)?;
    file.try_lock()?;
    writeln!(file, "{} {} {hostname}", process::own_pid().0, entry::number(network).0)?;
    Ok(file)
}

fn choose(bridge: &Bridge, neighbours: &[Neighbour]) -> Result<(Ipv4Addr, u8)> {
    let block = |(address, prefix): (Ipv4Addr, u8)| u32::from(address) & !(u32::MAX >> prefix);
    let taken = |address: Ipv4Addr| neighbours.iter().any(|neighbour| neighbour.address.0 == address);
    let wrong = |message: String, hint: &str| Err(Error::new(Kind::Spec, message).with_hint(hint).at(bridge.origin));
    let there = neighbours.first().map(|neighbour| neighbour.address);
    let Some((IpAddr::V4(address), prefix)) = bridge.address else {
        let (first, prefix) = there.unwrap_or(DEFAULT);
        let first = block((first, prefix));
        let free = (1..u32::MAX >> prefix).map(|host| Ipv4Addr::from(first | host)).find(|address| !taken(*address));
        return match free {
            Some(address) => Ok((address, prefix)),
            None => wrong(format!("no address of the bridge `{}` is free", bridge.name), "use another bridge"),
        };
    };
    if taken(address) {
        let message = format!("`{address}` is the address of another sandbox on the bridge `{}`", bridge.name);
        return wrong(message, "leave `address` out, and a free one is picked");
    }
    match there {
        Some(there) if there.1 != prefix || block(there) != block((address, prefix)) => wrong(
            format!(
                "`{address}/{prefix}` is not of the bridge `{}`, on which there is `{}/{}`",
                bridge.name, there.0, there.1
            ),
            "leave `address` out, and a free one is picked",
        ),
        _ => Ok((address, prefix)),
    }
}

/// Opens the network in which a neighbour has the bridge.
fn network_of(neighbour: &Neighbour) -> Option<Network> {
    let (process, descriptor) = neighbour.network;
    let namespace = File::open(format!("/proc/{process}/fd/{descriptor}")).ok()?;
    let socket = within(&namespace, socket).ok()?;
    // The number of a process may be another's by now: this is asked of the kernel, not believed.
    net::interface(number(&socket), NAME).ok()?;
    Some(Network { namespace, socket })
}

/// Returns a new network with a bridge in it.
fn new_network() -> Sys<Network> {
    let own_network = File::open(OWN).map_err(|_| Errno::ENOENT)?;
    process::unshare(libc::CLONE_NEWNET.unsigned_abs().into())?;
    let made = socket().and_then(|socket| {
        net::ask(number(&socket), &links::bridge(NAME).bytes)?;
        Ok(Network { namespace: File::open(OWN).map_err(|_| Errno::ENOENT)?, socket })
    });
    entry::enter(&own_network)?;
    made
}

fn socket() -> Sys<OwnedFd> {
    net::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map(own)
}

/// Does `work` in another network, and comes back.
fn within<T>(namespace: &File, work: fn() -> Sys<T>) -> Sys<T> {
    let own_network = File::open(OWN).map_err(|_| Errno::ENOENT)?;
    entry::enter(namespace)?;
    let done = work();
    entry::enter(&own_network)?;
    done
}

const OWN: &str = "/proc/self/ns/net";
